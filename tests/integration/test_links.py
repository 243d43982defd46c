"""A folder from a stranger with links in it: no command writes or deletes through any of them."""

import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from clipaudit.errors import InputError
from clipaudit.features.database import StoreUnavailable
from clipaudit.features.store import FeatureStore, clear, default_path
from clipaudit.inferrers.base import Inferrer
from clipaudit.inferrers.library import save
from clipaudit.inferrers.threshold import MeanRule
from clipaudit.lab.results import read_results, write_results
from clipaudit.reports.formats import write
from clipaudit.verdicts import calibration_files as calibration_store
from tests.made.audits import INFERRERS, kept, realistic, run
from tests.made.inferrers import card
from tests.made.outcomes import results
from tests.services.server import World

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")

SET = ("build-eval", "-k", "otter", "-s", "folder:pictures", "--per-keyword", "2", "-o", "set")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A working folder with pictures, and a set made of them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "pictures" / "otter").mkdir(parents=True)
    for picture in World().pictures("otter")[:8]:
        (folder / "pictures" / "otter" / f"{picture.rank}.jpg").write_bytes(picture.jpeg())
    done = called(folder, *SET)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def work(made, tmp_path):
    """A copy of that folder, with a build that is to be gone on with."""
    folder = shutil.copytree(made, tmp_path / "work")
    (folder / "set" / "manifest.parquet").unlink()
    return folder


@pytest.fixture
def mine(tmp_path):
    """A folder with things that nobody may touch."""
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "holiday.png")
    (folder / ".bashrc").write_text("mine")
    (folder / "results.json").write_text("mine")
    return folder


def called(folder, *arguments):
    command = [sys.executable, "-m", "clipaudit", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=folder, check=False
    )


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def plant(place, target):
    """Put a link where a file or a folder of ours was, or will be."""
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def assert_refused(done, code, *words):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr
    for word in ("is a link", *words):
        assert word in done.stderr


# --- sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["members", "nonmembers", "sources/originals"])
def test_pictures_behind_a_folder_of_a_set_are_left_alone(work, mine, name):
    plant(work / "set" / name, mine)
    before = snapshot(mine)
    assert_refused(called(work, *SET), 3, name)
    assert snapshot(mine) == before


@pytest.mark.parametrize("name", ["ATTRIBUTION.md", "README.md", "sources/downloads.jsonl"])
def test_files_behind_a_file_of_a_set_are_left_alone(work, mine, name):
    plant(work / "set" / name, mine / ".bashrc")
    before = snapshot(mine)
    assert_refused(called(work, *SET), 3, name)
    assert snapshot(mine) == before


def test_a_picture_of_the_users_own_within_a_set_is_left_alone(work, mine):
    shutil.copy(mine / "holiday.png", work / "set" / "members")
    done = called(work, *SET)
    assert done.returncode == 3
    assert "holiday.png" in done.stderr
    assert (work / "set" / "members" / "holiday.png").exists()
    (work / "set" / "members" / "holiday.png").unlink()
    assert called(work, *SET).returncode == 0


# --- reports --------------------------------------------------------------------------------------


def test_report_never_writes_through_a_link_beside_the_results(tmp_path, mine):
    write(realistic(5), tmp_path / "results.json")
    page = tmp_path / "results.html"
    page.symlink_to(mine / ".bashrc")
    before = snapshot(mine)
    assert_refused(called(tmp_path, "report", "results.json"), 2, "results.html", "--force")
    assert page.is_symlink()
    done = called(tmp_path, "report", "results.json", "--force")
    assert done.returncode == 0, done.stderr
    assert not page.is_symlink()
    assert page.read_text().lstrip().startswith("<!doctype html>")
    assert snapshot(mine) == before


@pytest.mark.parametrize("target", [".bashrc", "new"])
@pytest.mark.parametrize(
    "command",
    [
        ("report", "results.json", "-o", "link.json"),
        ("score", "pictures", "-o", "link.json"),
        ("evaluate", "set", "-o", "link.json"),
        ("lookup", "pictures", "-m", "list.parquet", "-o", "link.json"),
    ],
    ids=lambda command: command[0],
)
def test_a_link_that_is_named_is_asked_about_first(tmp_path, mine, command, target):
    write(realistic(5), tmp_path / "results.json")
    (tmp_path / "link.json").symlink_to(mine / target)
    before = snapshot(mine)
    assert_refused(called(tmp_path, *command), 2, "link.json", "--force")
    assert snapshot(mine) == before


# --- training, lab and caches ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("encoder", "checkpoints", "inferrers", "reference-1", "encoder/weights.safetensors"),
        *("pretrain.jsonl", "train.json", "checkpoints/state.json"),
    ],
)
def test_training_does_not_go_on_in_a_folder_with_a_link(work, mine, name):
    plant(work / "run" / name, mine)
    before = snapshot(mine)
    done = called(work, "train", "pictures", "-o", "run", "--epochs", "1", "--device", "cpu")
    assert_refused(done, 3, name)
    assert snapshot(mine) == before


@pytest.mark.parametrize("name", [".lock", "results", "units", "units/0123/worker.log", "splits"])
def test_a_lab_does_not_go_on_in_a_folder_with_a_link(work, mine, name):
    plant(work / "lab" / name, mine / ".bashrc")
    before = snapshot(mine)
    done = called(work, "lab", "run", "encodermi", "-o", "lab", "--data", "cifar10=pictures")
    assert_refused(done, 3, name)
    assert snapshot(mine) == before


def test_figures_of_a_lab_go_through_no_link(work, mine):
    file = write_results(work / "lab", results())
    plant(work / "lab" / "figures", mine)
    before = snapshot(mine)
    assert_refused(called(work, "lab", "show", "lab"), 3, "figures")
    assert snapshot(mine) == before
    (work / "lab" / "figures").unlink()
    (work / "lab" / "figures").mkdir()
    found = read_results(file)
    names = [f"{found.matrix}-{found.scale}-{one}.png" for one in found.experiments]
    for name in names:
        plant(work / "lab" / "figures" / name, mine / "holiday.png")
    assert called(work, "lab", "show", "lab").returncode == 0
    assert not any((work / "lab" / "figures" / name).is_symlink() for name in names)
    assert snapshot(mine) == before


@pytest.mark.parametrize("field", ["matrix", "scale"])
def test_results_of_a_lab_cannot_name_figures_elsewhere(work, field):
    file = write_results(work / "lab", results())
    text = file.read_text()
    value = getattr(results(), field)
    file.write_text(text.replace(f'"{field}": "{value}"', f'"{field}": "../../up/{value}"'))
    assert file.read_text() != text
    (work / "up").mkdir()
    done = called(work, "lab", "show", "lab")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert not list((work / "up").iterdir())


def test_an_inferrer_is_saved_through_no_link(tmp_path, mine):
    (tmp_path / "made").symlink_to(mine)
    before = snapshot(mine)
    with pytest.raises(InputError, match="is a link"):
        save(Inferrer(card("T"), MeanRule()), tmp_path / "made")
    assert snapshot(mine) == before


def test_a_calibration_is_kept_through_no_link(mine):
    made = kept(run(), INFERRERS[0], [0.1, 0.2])
    place = calibration_store.folder() / f"{made.name}.json"
    plant(place, mine / "results.json")
    before = snapshot(mine)
    assert calibration_store.load(calibration_store.save(made)) == made
    assert not place.is_symlink()
    plant(place, mine / "results.json")
    calibration_store.remove(made.name)
    shutil.rmtree(place.parent)
    plant(place.parent, mine)
    with pytest.raises(InputError, match="is a link"):
        calibration_store.save(made)
    assert snapshot(mine) == before


@pytest.mark.parametrize("end", ["", "-wal", "-journal", "-shm"])
@pytest.mark.parametrize("target", [".bashrc", "new"])
def test_the_store_is_opened_and_cleared_through_no_link(mine, end, target):
    plant(default_path().with_name(default_path().name + end), mine / target)
    before = snapshot(mine)
    with pytest.raises(StoreUnavailable, match="is a link") as caught:
        FeatureStore()
    assert "CLIPAUDIT_CACHE_DIR" in caught.value.hint
    if end == "":
        clear()
        assert not os.path.lexists(default_path())
    assert snapshot(mine) == before
