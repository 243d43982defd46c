"""A picture is opened, read and decoded once in a run, and not decoded again in the next.

Seen from outside: strace counts who opens a file, and Pillow, in every process that has our
`sitecustomize` on its path, notes whose pixels it loads.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from hashlib import sha256

import pytest

from tests.made.score_runs import draw_pictures

STRACE = ("strace", "--seccomp-bpf", "-f", "-qq", "-s", "4096", "-e", "trace=open,openat")

COUNT_DECODES = """
import hashlib, os
import PIL.Image, PIL.ImageFile

opened, load = PIL.Image.open, PIL.ImageFile.ImageFile.load

def open_and_remember(file, *args, **kwargs):
    picture = opened(file, *args, **kwargs)
    picture.sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    return picture

def load_and_note(picture):
    if picture.tile and not hasattr(picture, "noted"):
        picture.noted = True
        with open(os.environ["DECODES"], "a") as log:
            log.write(picture.sha256 + "\\n")
    return load(picture)

PIL.Image.open, PIL.ImageFile.ImageFile.load = open_and_remember, load_and_note
"""


@pytest.fixture(scope="module", autouse=True)
def _strace(tmp_path_factory):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = tmp_path_factory.mktemp("strace") / "log"
    command = [*STRACE, "-o", log, sys.executable, "-c", ""]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not watch here: {tried.stderr.strip()[:200]}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """24 members, 24 non-members, a copy, and a file that gives no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    first, *_, last = draw_pictures(folder / "members", 24)
    draw_pictures(folder / "nonmembers", 24, first=100)
    (folder / "members" / "copy.png").write_bytes(first.read_bytes())
    (folder / "members" / "broken.png").write_bytes(last.read_bytes()[:-400])
    return folder


@pytest.fixture
def counted(world, folder, tmp_path):
    """Run `clipaudit`: how often it opened each file, and decoded each content."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(COUNT_DECODES)
    files = {str(path): path for path in folder.rglob("*.png")}

    def call(*arguments):
        log, decodes = tmp_path / "opens", tmp_path / "decodes"
        decodes.write_text("")
        environment = os.environ | {
            "CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"),
            "DECODES": str(decodes),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join([str(site), world.pythonpath]),
        }
        command = [*STRACE, "-o", log, sys.executable, "-P", "-m", "clipaudit"]
        done = subprocess.run(
            [*command, *map(str, arguments), *world.arguments("v", "t"), "--workers=2"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        calls = log.read_text(errors="replace")
        named = re.findall(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)"', calls)
        opens = Counter(path for path in named if path in files)
        return opens, Counter(decodes.read_text().split())

    return call


def content(*paths):
    return {sha256(path.read_bytes()).hexdigest() for path in paths}


def require_once(counts, files):
    """Each file is opened once, and each content decoded once."""
    opens, decodes = counts
    assert opens == Counter(map(str, files))
    assert decodes == Counter(content(*files))


def test_scores_a_control_a_report_and_a_calibration_take_one_decoding(counted, folder, tmp_path):
    files = [*folder.rglob("*.png")]
    others = [*(folder / "nonmembers").iterdir()]
    broken = Counter(content(folder / "members" / "broken.png"))
    score = ("score", folder / "members", "--control", folder / "nonmembers")
    report = tmp_path / "report.html"

    require_once(counted(*score, "-o", report), files)
    shown = re.findall(r"data:image/webp;base64,[^\"]*", report.read_text())
    assert len(shown) > 24

    opens, decodes = counted(*score, "-o", report)
    assert (opens, decodes) == (Counter(map(str, files)), broken)
    assert re.findall(r"data:image/webp;base64,[^\"]*", report.read_text()) == shown

    opens, decodes = counted("calibrate", "--nonmembers", folder / "nonmembers")
    assert (opens, decodes) == (Counter(map(str, others)), Counter())


def test_a_report_of_scored_pictures_and_a_new_control_take_one_more_decoding(
    counted, folder, tmp_path
):
    files = [*folder.rglob("*.png")]
    members = [*(folder / "members").iterdir()]
    require_once(counted("score", folder / "members"), members)
    score = ("score", folder / "members", "--control", folder / "nonmembers")
    require_once(counted(*score, "-o", tmp_path / "report.html"), files)


def test_without_a_store_one_decoding_does_too(counted, folder, tmp_path):
    score = ("score", folder / "members", "--control", folder / "nonmembers", "--no-cache")
    require_once(counted(*score, "-o", tmp_path / "report.html"), [*folder.rglob("*.png")])


def test_an_evaluation_takes_one_decoding_and_the_next_one_none(counted, folder):
    files = [*folder.rglob("*.png")]
    require_once(counted("evaluate", folder), files)
    opens, decodes = counted("evaluate", folder)
    broken = Counter(content(folder / "members" / "broken.png"))
    assert (opens, decodes) == (Counter(map(str, files)), broken)
