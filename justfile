# A word for each thing that a contributor does; `just` alone lists them.
set windows-shell := ["powershell.exe", "-NoLogo", "-Command"]

_list:
    @just --list --unsorted

# Install the checkout, with all that the checks, the tests and the site need.
setup:
    python -m pip install -e ".[test,docs]"

# Style, types and the order of imports: what CI asks before the tests.
check:
    ruff check .
    ruff format --check .
    mypy
    lint-imports

# Tests: all of them, or a part: `just test tests/unit/text`.
test *what:
    python -m pytest {{ what }}

# The tests that call every library, on the lowest versions that are admitted.
lowest:
    .ci/lowest

# Write docs/cli.md anew, and build the site into site/.
docs:
    python docs/make_cli.py
    mkdocs build --strict

# Build sdist and wheel into dist/, and look inside.
release:
    python -m build
    python -m pytest tests/integration/test_packaging.py
