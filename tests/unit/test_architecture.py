"""Imports point one way, and the command line leaves the heavy libraries alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clipaudit

PACKAGE = Path(clipaudit.__file__).parent
CRAWLERS = PACKAGE.parent / "crawlers" / "clipaudit_crawlers"

LAYERS = (
    ("_version", "errors", "seeding", "cache_dir", "files", "telemetry"),
    (
        *("images", "decode_worker", "decoding", "views", "encoders", "similarity", "inferrers"),
        *("metrics", "calibration", "decisions", "rank_tests", "comparison", "blind", "verdicts"),
        *("store", "shadow", "near_duplicates", "evidence", "judging", "against_control"),
        *("calibration_store", "evaluation", "listings"),
    ),
    ("pipelines", "reports", "evalset"),
    ("lab",),
    ("doctor", "__init__"),
    ("cli",),
    ("__main__",),
)
"""A module imports from its own layer and from those above it in this list, never from below."""

APART = {("pipelines", "reports"), ("reports", "pipelines")}

ORDER = ("images", "views", "encoders", "similarity", "inferrers", "verdicts")
"""The stages, in the order in which data flows; none imports a later one."""


def unit(file):
    """The top-level module or package that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file):
    """The top-level modules of clipaudit that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [node.module]
            if node.module == "clipaudit":
                names = [f"clipaudit.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "clipaudit" and rest:  # the package itself is imported by any import
                yield rest.partition(".")[0]


def edges():
    files = sorted(PACKAGE.rglob("*.py"))
    return [(file, unit(file), name) for file in files for name in imported(file)]


def test_every_module_has_its_layer():
    known = {name for layer in LAYERS for name in layer}
    assert {unit(file) for file in PACKAGE.rglob("*.py")} <= known


def test_imports_point_one_way():
    rank = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {theirs}"
        for file, ours, theirs in edges()
        if rank[theirs] > rank[ours] or (ours, theirs) in APART
    ]
    assert not wrong


def test_no_stage_imports_a_later_one():
    rank = {name: index for index, name in enumerate(ORDER)}
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {theirs}"
        for file, ours, theirs in edges()
        if ours in rank and theirs in rank and rank[theirs] > rank[ours]
    ]
    assert not wrong


def test_the_crawlers_import_the_errors_and_nothing_else_of_ours():
    for file in CRAWLERS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            ours = {name for name in names if name.partition(".")[0] == "clipaudit"}
            assert ours <= {"clipaudit.errors"}, file


def test_nothing_imports_the_tests_or_the_benchmarks():
    for file in (*PACKAGE.rglob("*.py"), *CRAWLERS.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.partition(".")[0] for name in names}
            assert not roots & {"tests", "benchmarks", "crawlers"}, file


HEAVY = (
    *("torch", "torchvision", "sklearn", "open_clip", "timm", "onnxruntime", "onnx", "lightly"),
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
