"""Without the extras scoring works, and all else names the command that brings what it needs."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from clipaudit.errors import EXTRAS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in HIDDEN:
            return self.finder.find_spec(name, path, target)

    def find_distributions(self, context):
        found = getattr(self.finder, "find_distributions", lambda context: ())(context)
        return (one for one in found if one.name.replace("-", "_") not in HIDDEN)

HIDDEN = {*sys.argv.pop(1).split(","), "onnxruntime_gpu"}
sys.meta_path[:] = map(Without, sys.meta_path)
"""
COMMAND = "from clipaudit.cli.app import main; main(sys.argv[1:])"
EVERY = ",".join(module for modules in EXTRAS.values() for module in modules)


@pytest.fixture
def without(tmp_path, monkeypatch):
    """Run a program, or a command, where some modules are not installed."""
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Image.new("RGB", (40, 40), (60 * number, 90, 200)).save(
            tmp_path / "pictures" / f"{number}.png"
        )

    def run(hidden, *words, program=COMMAND):
        return subprocess.run(
            [sys.executable, "-c", WITHOUT + program, hidden, *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def encoder(tmp_path):
    from clipaudit.encoders.base import InputSpec
    from clipaudit.shadow.architectures import build
    from clipaudit.shadow.encoder import save

    spec = InputSpec(16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bicubic")
    save(build("resnet-tiny", 16, 0), tmp_path / "encoder", "resnet-tiny", spec)
    return f"shadow:{tmp_path / 'encoder'}"


def test_pictures_are_scored_and_reported_without_any_extra(without, encoder, tmp_path):
    how = ("--encoder", encoder, "--workers", "0", "-o", "a.json")
    done = without(EVERY, "score", "pictures", *how)
    assert done.returncode == 0, done.stderr
    for file in ("a.html", "a.parquet"):
        done = without(EVERY, "report", "a.json", "-o", file)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / file).stat().st_size


def test_the_demo_runs_without_any_extra(without):
    done = without(EVERY, "demo", "--pictures", "10", "--epochs", "1")
    assert done.returncode == 0, done.stderr


def test_doctor_notes_what_is_missing_and_how_to_get_it(without):
    done = without(EVERY, "doctor")
    assert "problem" not in done.stdout
    for extra in ("crawl", "heif", "onnx", "remote", "train"):
        assert f"pip install '.[{extra}]' in the checkout" in done.stdout


NEEDING = [
    ("crawl", ("build-eval", "-k", "otter", "--dry-run"), "clipaudit build-eval"),
    ("onnx", ("score", "pictures", "--encoder", "onnx:a.onnx"), "An ONNX encoder"),
    (
        "transformers",
        ("score", "pictures", "--encoder", "transformers:pictures"),
        "transformers:pictures",
    ),
    ("ray", ("score", "pictures", "--engine", "ray"), "--engine ray"),
    ("remote", ("score", "https://127.0.0.1/a.png"), "Reading https://"),
    ("remote", ("score", "s3://bucket"), "Reading s3://"),
    ("remote", ("score", "gs://bucket"), "Reading gs://"),
    ("train", ("evaluate", "set", "--figures", "drawn"), "--figures"),
    ("train", ("lab", "show", str(ROOT / "docs" / "lab-cpu")), "Drawing figures"),
]


@pytest.mark.parametrize(("extra", "words", "purpose"), NEEDING, ids=lambda value: str(value)[:20])
def test_what_needs_an_extra_says_how_to_get_it(
    without, tmp_path, monkeypatch, extra, words, purpose
):
    if extra == "remote":  # which is not even asked for offline
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    (tmp_path / "a.json").write_text(
        '{"input_size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], '
        '"interpolation": "bicubic", "output": "embedding"}'
    )
    done = without(",".join(EXTRAS[extra]), *words)
    assert done.returncode == 4, done.stderr
    assert re.search(rf"^error: {purpose} needs \w+, which is not installed$", done.stderr, re.M)
    assert f"hint:  pip install '.[{extra}]' in the checkout adds it." in done.stderr
    assert "Traceback" not in done.stderr


def test_insisting_on_onnxruntime_says_how_to_get_it(without):
    program = """
from types import SimpleNamespace

from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.onnx_export import encoder
from clipaudit.errors import MissingExtraError

try:
    info = SimpleNamespace(fingerprint="0" * 64, spec="a")
    encoder(None, info, None, EncoderOptions(backend="onnx"), auto=False)
except MissingExtraError as error:
    print(error, error.hint)
"""
    done = without(",".join(EXTRAS["onnx"]), program=program)
    assert "--backend onnx needs onnxscript, which is not installed" in done.stdout, done.stderr
    assert "--backend torch does without." in done.stdout


def test_a_data_frame_says_that_it_needs_pandas(without):
    program = """
from clipaudit.errors import MissingExtraError
from clipaudit.results.audit import Audit

try:
    Audit.to_pandas(None)
except MissingExtraError as error:
    print(error, error.hint)
"""
    done = without("pandas", program=program)
    assert "A data frame needs pandas" in done.stdout
    assert "pip install '.[pandas]'" in done.stdout


def test_a_heic_picture_is_skipped_with_how_to_read_it(without):
    program = """
from clipaudit.pictures.formats import readable_formats, unidentified

assert "HEIF" not in readable_formats()
print(unidentified(bytes.fromhex("00000018") + b"ftypheic" + bytes(4) + b"heicmif1"))
"""
    done = without(",".join(EXTRAS["heif"]), program=program)
    assert "pip install '.[heif]' in the checkout adds it" in done.stdout, done.stderr


# --- what is declared ----------------------------------------------------------------------------


def names(requirements):
    return {canonicalize_name(Requirement(one).name) for one in requirements}


def distributions_of(modules):
    found = packages_distributions()
    return {canonicalize_name(name) for module in modules for name in found.get(module, ())}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_the_modules_that_are_known_for_it(extra):
    declared = names(PROJECT["optional-dependencies"][extra])
    assert distributions_of(EXTRAS[extra]) <= declared
    assert not declared & names(PROJECT["dependencies"])


def test_all_is_every_extra_of_users_on_one_machine():
    extras = set(PROJECT["optional-dependencies"]) - {"all", "test", "docs"}
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert Requirement(everything).extras == extras - {"ray"}
    assert set(EXTRAS) <= extras


def test_every_library_that_is_imported_is_declared():
    imported = set()
    for package in (ROOT / "clipaudit", ROOT / "crawlers" / "clipaudit_crawlers"):
        for file in package.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.partition(".")[0])
    imported -= {"clipaudit", "clipaudit_crawlers", "typing_extensions"}  # the last for types alone
    declared = names(PROJECT["dependencies"])
    for extra in set(PROJECT["optional-dependencies"]) - {"all", "test", "docs"}:
        declared |= names(PROJECT["optional-dependencies"][extra])
    libraries = imported - sys.stdlib_module_names
    assert distributions_of(libraries) <= declared
