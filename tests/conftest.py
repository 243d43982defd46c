"""What several tests share: real data where it is at hand, and encoders whose members we know."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"

CORE = (
    "contracts/test_every_card.py",
    "contracts/test_every_encoder.py",
    "contracts/test_every_report.py",
    "unit/blind/",
    "unit/cli/",
    "unit/features/",
    "unit/inferrers/",
    "unit/listings/",
    "unit/reports/",
    "unit/results/",
    "unit/statistics/",
    "unit/test_api.py",
)
"""Tests that between them call every library: they are marked `core`, and run on the lowest
versions of all."""


def pytest_configure():
    """The same for all tests, however they are started.

    No example has a deadline, which a busy machine would miss; tables are as wide as without a
    terminal; Ctrl-C works in every command that is started, though a shell's background ignores it;
    and the processes of `pytest -n` share the cores.
    """
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    if processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // int(processes))))
    hypothesis.settings.register_profile("clipaudit", deadline=None)
    hypothesis.settings.load_profile("clipaudit")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        place = item.path.as_posix().rpartition("/tests/")[2]
        if place.startswith(CORE):
            item.add_marker(pytest.mark.core)


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """A command sets up logging for its process; every test starts and ends without that."""
    _forget_commands()
    with warnings.catch_warnings():
        yield
        logging.captureWarnings(capture=False)
    _forget_commands()


def _forget_commands():
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if "clipaudit" not in type(one).__module__]
    root.setLevel(logging.WARNING)
    for name in ("clipaudit", "clipaudit_crawlers"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def cifar_zip():
    """50,000 JPEGs of CIFAR-10, in folders by class."""
    path = DATA / "cifar10-train.zip"
    if not path.exists():
        pytest.skip(f"{path.name} is not in ../shared/data")
    return path


@dataclass(frozen=True, slots=True, eq=False)
class KnownTruth:
    """Pictures, and two encoders: one that was trained on half of them, one on none.

    Attributes:
        folder: Holds the folders `members` and `nonmembers` with a PNG file a picture.
        overfitted: Spec of the encoder that saw the members 400 times.
        stranger: Spec of one that saw other pictures as often.
    """

    folder: Path
    overfitted: str
    stranger: str


@pytest.fixture(scope="session")
def known_truth(tmp_path_factory):
    """Made here, in some 20 s of one core."""
    import torch
    from PIL import Image

    from clipaudit.encoders.base import InputSpec
    from clipaudit.seeding import stream
    from clipaudit.shadow.config import PretrainConfig
    from clipaudit.shadow.encoder import save
    from clipaudit.shadow.pretrain import pretrain
    from clipaudit.shadow.procedural import draw_picture

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("known-truth")
    side, n_pictures = 16, 48
    spec = InputSpec(side, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bicubic")
    how = PretrainConfig(
        architecture="resnet-tiny", epochs=400, batch_size=n_pictures, learning_rate=2e-3
    )
    pictures = {}
    for group in ("members", "nonmembers", "others"):
        (folder / group).mkdir()
        pictures[group] = [
            draw_picture(stream(0, f"{group} {number}", "test"), side)
            for number in range(n_pictures)
        ]
        for number, picture in enumerate(pictures[group]):
            Image.fromarray(picture).save(folder / group / f"{number:02}.png")
    for name, group in (("overfitted", "members"), ("stranger", "others")):
        seen = torch.from_numpy(np.stack(pictures[group]).transpose(0, 3, 1, 2).copy())
        net = pretrain(seen, spec.mean, spec.std, how)
        save(net, folder / name, how.architecture, spec)
    return KnownTruth(folder, f"shadow:{folder / 'overfitted'}", f"shadow:{folder / 'stranger'}")


@pytest.fixture(scope="session")
def small_lab(tmp_path_factory):
    """Every encoder of a small matrix, made here in some 10 s of one core; no test changes it."""
    from tests.made.labs import make_lab

    return make_lab(tmp_path_factory.mktemp("small-lab"))
