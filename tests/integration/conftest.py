"""Fixtures for the tests of `clipaudit score`; see `score_fixtures.py`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import clipaudit
from tests.made.score_runs import (
    N_VIEWS,
    ROOT,
    Done,
    WarmCommand,
    draw_pictures,
    make_inferrers,
    plugin,
)


@dataclass(frozen=True)
class World:
    """What a run needs: pictures, inferrers, and a path that leads to the probe."""

    pictures: Path
    inferrers: Path
    plugin: Path

    @property
    def pythonpath(self):
        return os.pathsep.join([str(self.plugin), str(ROOT)])

    def arguments(self, *inferrers, encoder="probe:plain"):
        """The options that every run has."""
        chosen = [f"--inferrer={self.inferrers / name}" for name in inferrers or "v"]
        return [f"--encoder={encoder}", f"--views={N_VIEWS}", *chosen]


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    draw_pictures(folder / "pictures", 12)
    return World(folder / "pictures", make_inferrers(folder / "inferrers"), plugin(folder / "site"))


@pytest.fixture(scope="session")
def warm(world, tmp_path_factory):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    command = WarmCommand(tmp_path_factory.mktemp("warm"), world.pythonpath)
    yield command
    command.close()


@pytest.fixture
def run(world, warm, tmp_path):
    """Run `clipaudit score` with its store in a fresh folder, on the probe and inferrer v."""

    def call(*arguments, inferrers="v", encoder="probe:plain", start=False, env=None, **how):
        environment = {
            "CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"),
            "PROBE_LOG": str(tmp_path / "calls"),
            "COLUMNS": "100",
            "HF_HUB_OFFLINE": "1",  # a mistake in a test must not reach out
            **(env or {}),
        }
        given = ["score", *arguments, *world.arguments(*inferrers, encoder=encoder)]
        if not any(str(one).startswith("--workers") for one in arguments):
            given.append("--workers=0")
        return (warm.start if start else warm)(*given, env=environment, **how)

    return call


@pytest.fixture
def calls(tmp_path):
    """How many views each call of the probe had so far."""

    def read():
        log = tmp_path / "calls"
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    return read


@pytest.fixture
def installed(world, tmp_path):
    """Run the command that pip installed."""
    script = shutil.which("clipaudit", path=str(Path(sys.executable).parent))
    assert script, "the command is not installed beside this Python"

    def call(*arguments, env=None, **how):
        environment = {
            **os.environ,
            "CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": world.pythonpath,
            "PYTHONWARNINGS": "error",
            "COLUMNS": "100",
            **(env or {}),
        }
        done = subprocess.run(
            [script, *map(str, arguments)],
            env=environment,
            capture_output=True,
            timeout=120,
            check=False,
            **how,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode(errors="surrogateescape"))

    return call


@pytest.fixture
def api(world, tmp_path, monkeypatch):
    """Call `clipaudit.score` in this process, on the probe and inferrer v, in a fresh store."""
    monkeypatch.syspath_prepend(str(world.plugin))
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PROBE_LOG", str(tmp_path / "calls"))

    def call(paths=world.pictures, *, inferrers="v", encoder="probe:plain", **options):
        folders = [world.inferrers / name for name in inferrers]
        options = {"n_views": N_VIEWS, "workers": 0, **options}
        return clipaudit.score(paths, encoder=encoder, inferrers=folders, **options)

    return call
