"""What is in the wheel and in the source distribution is what a fresh machine gets."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CARDS = sorted(path.parent.name for path in ROOT.glob("pretrained_inferrers/*/inferrer.json"))
FILES = ("inferrer.json", "weights.safetensors", "card.md")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel that was built from the sdist beside it."""
    folder = tmp_path_factory.mktemp("dist")
    # No isolation: the build backend is a test dependency, so nothing is downloaded.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def names_in_wheel(built: Path) -> set[str]:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_checkout_has_inferrers_to_ship():
    assert CARDS, "pretrained_inferrers/ holds no card"


def test_the_wheel_holds_every_inferrer_and_the_mark_of_types(built: Path):
    names = names_in_wheel(built)
    assert {"clipaudit/py.typed", "clipaudit_crawlers/py.typed"} <= names
    assert "clipaudit/lab/matrices/encodermi.toml" in names
    for template in ("page.html", "picture.html", "plot.html", "page.css"):
        assert f"clipaudit/reports/templates/{template}" in names
    for card in CARDS:
        for file in FILES:
            assert f"clipaudit/pretrained_inferrers/{card}/{file}" in names


def test_the_wheel_holds_every_module_and_nothing_beside_the_packages(built: Path):
    names = names_in_wheel(built)
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("clipaudit/**/*.py")}
    crawlers = ROOT / "crawlers"
    modules |= {str(path.relative_to(crawlers)) for path in crawlers.glob("**/*.py")}
    assert modules <= names
    tops = {name.split("/")[0] for name in names}
    ours = {"clipaudit", "clipaudit_crawlers"}
    assert {top for top in tops if not top.endswith(".dist-info")} == ours


def test_the_source_distribution_holds_what_the_wheel_is_made_from(built: Path):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for card in CARDS:
        assert f"pretrained_inferrers/{card}/weights.safetensors" in names
    assert {"README.md", "LICENSE", "CHANGELOG.md"} <= names


def test_an_unpacked_wheel_finds_its_inferrers(built: Path, tmp_path: Path):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "from clipaudit.inferrers.library import list_inferrers, shipped_folder;"
        "print(shipped_folder()); print(*(card.name for card in list_inferrers()))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert Path(answer[0]) == tmp_path / "clipaudit" / "pretrained_inferrers"
    assert answer[1].split() == CARDS
