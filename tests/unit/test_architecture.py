"""Modules stay small, and the command line leaves the heavy libraries alone.

Which module may import which is in `[tool.importlinter]` of pyproject.toml: run `lint-imports`.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clipaudit

PACKAGE = Path(clipaudit.__file__).parent
CRAWLERS = PACKAGE.parent / "crawlers" / "clipaudit_crawlers"
FILES = sorted(file for package in (PACKAGE, CRAWLERS) for file in package.rglob("*.py"))

MOST_LINES_OF_A_MODULE = 450
MOST_LINES_OF_A_FUNCTION = 80
LONGER_FUNCTIONS: set[str] = set()


def named(file):
    return file.relative_to((PACKAGE if PACKAGE in file.parents else CRAWLERS).parent).as_posix()


def lines_of_body(function, lines):
    """Lines of code of a function, without its parameters, its docstring and comments."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    code = (line.strip() for line in lines[body[0].lineno - 1 : function.end_lineno])
    return sum(bool(line) and not line.startswith("#") for line in code)


def test_no_module_is_long():
    lengths = {named(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_MODULE} == {}


def test_no_function_is_long():
    long = set()
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if lines_of_body(node, text.splitlines()) > MOST_LINES_OF_A_FUNCTION:
                long.add(f"{named(file)}: {node.name}")
    assert long == LONGER_FUNCTIONS


def test_few_files_stand_beside_the_packages():
    assert len(list(PACKAGE.glob("*.py"))) <= 9


HEAVY = (
    *("torch", "torchvision", "sklearn", "open_clip", "timm", "onnxruntime", "onnx", "onnxscript"),
    *("matplotlib", "duckdb"),
)


def loaded_after(program):
    code = f"import sys\n{program}\nprint(*(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize(
    "module",
    [
        "clipaudit",
        "clipaudit.api",
        "clipaudit.cli",
        "clipaudit.cli.app",
        "clipaudit.cli.score",
        "clipaudit.cli.lookup",
        "clipaudit.cli.build_eval",
        "clipaudit.cli.calibrate",
        "clipaudit.cli.calibrations",
        "clipaudit.cli.evaluate",
        "clipaudit.cli.train",
        "clipaudit.cli.report",
        "clipaudit.cli.demo",
        "clipaudit.cli.encoders",
        "clipaudit.cli.cache",
        "clipaudit.cli.inferrers",
        "clipaudit.cli.doctor",
        "clipaudit.cli.lab",
        "clipaudit.lab.matrix",
        "clipaudit.lab.tables",
        "clipaudit.results.evaluation",
        "clipaudit.features.store",
        "clipaudit.reports",
        "clipaudit.results.audit",
        "clipaudit.pictures.decoding",
        "clipaudit.inferrers",
    ],
)
def test_importing_leaves_heavy_libraries_out(module):
    assert loaded_after(f"import {module}") == []


def test_help_leaves_everything_out_but_what_prints_it():
    program = (
        "from clipaudit.cli.app import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'scipy', 'PIL', 'pandas', 'pyarrow'} & set(sys.modules)"
    )
    assert loaded_after(program) == []
