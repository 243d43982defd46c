"""What the pages for contributors promise: one word a job, examples in style, one import order."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from clipaudit._version import __version__
from tests.made.examples import PAGES, example

ROOT = Path(__file__).parents[2]
RECIPE = re.compile(r"^([a-z]+)(?: \*\w+)?:\n((?:    .*\n)+)", re.MULTILINE)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def recipes():
    return {name: lines.split("\n") for name, lines in RECIPE.findall(read("justfile"))}


def test_every_word_is_a_recipe_that_the_page_explains():
    assert set(recipes()) == set(re.findall(r"^\| `just (\w+)`", read("CONTRIBUTING.md"), re.M))


def test_ci_checks_what_the_word_checks():
    lines = {line.strip() for line in recipes()["check"]} - {""}
    assert lines <= set(read(".ci/run").splitlines())


def test_the_workflow_runs_what_ci_runs_on_three_systems_and_three_pythons():
    job = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["run"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert {len(values) for values in job["strategy"]["matrix"].values()} == {3}


@pytest.mark.parametrize("page", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_the_pages_of_the_host_can_be_read(page):
    assert isinstance(yaml.safe_load(page.read_text(encoding="utf-8")), dict)


def test_the_hooks_run_programs_of_the_checks_or_of_the_checkout():
    (local,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    programs = {hook["entry"].split()[0] for hook in local["hooks"]}
    assert programs <= {"ruff", "lint-imports", "python"}


def test_what_is_cited_is_this_version():
    assert yaml.safe_load(read("CITATION.cff"))["version"] == __version__


def test_the_order_of_imports_on_the_page_is_the_one_that_is_checked():
    (order,) = re.findall(r"^```text\n(.*?)^```$", read("docs/architecture.md"), re.M | re.S)
    flow, *_ = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    assert order.splitlines() == flow["layers"]


def test_every_box_of_the_picture_is_a_package():
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```$", read("docs/architecture.md"), re.M | re.S)
    drums = set(re.findall(r"(\w+)\[\(", picture))
    boxes = set(re.findall(r"^    (\w+)|(\w+)$", picture, re.M))
    named = {word for pair in boxes for word in pair if word} - drums - {"LR"}
    assert named
    assert all((ROOT / "clipaudit" / name).is_dir() for name in named), named


@pytest.mark.parametrize("page", sorted(path.stem for path in PAGES.glob("*.md")))
def test_an_example_is_written_as_the_rest_is(page):
    found = example(page)
    for how in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *how, "--quiet", "--stdin-filename", found.file]
        done = subprocess.run(
            [*command, "-"], input=found.text, capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_table_that_takes_a_line_has_a_page():
    pages = {path.stem for path in PAGES.glob("*.md")}
    assert pages == {"encoder", "experiment", "inferrer", "report", "source"}
    for page in pages:
        assert f"(docs/contributing/{page}.md)" in read("CONTRIBUTING.md")


def test_every_page_of_the_site_is_there_and_every_page_is_on_the_site():
    nav = re.findall(r"^ +- [^:]+: (\S+\.md)$", read("mkdocs.yml"), re.M)
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(nav) == pages
    assert len(nav) == len(pages)
