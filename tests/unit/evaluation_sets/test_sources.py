"""The tables of sources, and those that other packages add to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clipaudit_crawlers import SOURCES

from clipaudit.errors import SourceError, UsageError
from clipaudit.evaluation_sets.sources import LOCAL, source_names, source_type

ROOT = Path(__file__).parents[3]

OURS = (*SOURCES, *LOCAL)

MODULE = """
class Museum:
    name = "museum"
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package that names sources, as pip leaves it behind."""

    def install(package, points, module=MODULE):
        folder = tmp_path / package
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[clipaudit.sources]\n{points}\n")
        (folder / f"{package}_source.py").write_text(module)
        monkeypatch.syspath_prepend(folder)

    return install


def test_every_line_of_the_table_leads_to_a_source_of_that_name():
    for name in OURS:
        kind = source_type(name)
        assert kind.name == name
        assert callable(kind.open)
        assert callable(kind.search)
        assert kind.facts({}).title


def test_the_default_comes_first():
    assert source_names()[0] == "openverse"
    assert set(OURS) <= set(source_names())


def test_a_module_is_imported_when_it_is_asked_for_and_not_before():
    code = (
        "import sys\n"
        "import clipaudit.evaluation_sets.sources as c\n"
        "c.source_names()\n"
        "ours = lambda: {m for m in sys.modules if m.startswith('clipaudit_crawlers.sources.')}\n"
        "assert not ours(), ours()\n"
        "c.source_type('folder')\n"
        "assert 'clipaudit_crawlers.sources.brave' not in ours()\n"
        "heavy = {'PIL', 'pyarrow', 'numpy', 'torch'}\n"
        "for name in (*c.SOURCES, *c.LOCAL): c.source_type(name).facts({})\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "crawlers")])},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("openvers", "openverse"), ("Wikimedia", "wikimedia"), ("FOLDER", "folder"), ("url", "urls")],
)
def test_an_unknown_name_suggests_the_nearest(typed, meant):
    with pytest.raises(UsageError, match=typed) as caught:
        source_type(typed)
    assert f"Did you mean {meant}?" in caught.value.hint


def test_a_name_that_is_near_to_none_lists_them_all():
    with pytest.raises(UsageError) as caught:
        source_type("bing-image-search")
    for name in OURS:
        assert name in caught.value.hint


def test_another_package_adds_its_own(installed):
    installed("museum", "museum = museum_source:Museum")
    assert source_names()[-1] == "museum"
    assert source_type("museum").name == "museum"
    with pytest.raises(UsageError) as caught:
        source_type("musem")
    assert "Did you mean museum?" in caught.value.hint


def test_a_name_of_ours_that_is_taken_again_is_an_error(installed):
    installed("thief", "folder = thief_source:Museum")
    with pytest.raises(SourceError, match="2 packages claim the source 'folder'") as caught:
        source_type("folder")
    assert "thief_source:Museum" in str(caught.value)
    assert "Uninstall" in caught.value.hint
    assert source_type("urls").name == "urls", "the others work"


def test_a_name_that_two_packages_claim_is_an_error(installed):
    installed("one", "museum = one_source:Museum")
    installed("two", "museum = two_source:Museum")
    with pytest.raises(SourceError, match=r"one_source:Museum|two_source:Museum"):
        source_type("museum")
    assert source_names().count("museum") == 1


def test_a_package_that_is_found_twice_is_one_package(installed, monkeypatch):
    installed("museum", "museum = museum_source:Museum")
    monkeypatch.setattr(sys, "path", [*sys.path, sys.path[0] + "/."])
    assert source_type("museum").name == "museum"


@pytest.mark.parametrize(
    ("points", "module"),
    [
        ("bad = bad_source:Museum", "import not_there_at_all"),
        ("bad = bad_source:Gallery", MODULE),
        ("bad = other_source:Museum", MODULE),
        ("bad = bad_source", MODULE),
        ("bad = bad_source:Museum", "raise RuntimeError('no luck')"),
    ],
    ids=["import", "attribute", "module", "no class", "crash"],
)
def test_another_package_that_fails_says_which(installed, monkeypatch, points, module):
    monkeypatch.delitem(sys.modules, "bad_source", raising=False)
    installed("bad", points, module)
    with pytest.raises(SourceError, match="'bad' of another package") as caught:
        source_type("bad")
    assert points.partition(" = ")[2] in str(caught.value)
    assert "uninstall" in caught.value.hint
    monkeypatch.delitem(sys.modules, "bad_source", raising=False)
