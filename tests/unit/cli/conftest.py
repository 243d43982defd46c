"""A small real encoder and a real inferrer, so that commands run the whole chain."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers.base import Inferrer, Reads
from clipaudit.inferrers.library import save
from clipaudit.inferrers.threshold import MeanRule
from tests.made.commands import exit_code
from tests.made.inferrers import toy_card


@pytest.fixture(autouse=True)
def _own_caches(tmp_path, monkeypatch):
    """No test sees the user's store, nor colours or widths that the environment asks for."""
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def command(capfdbinary):
    """Run `clipaudit` in this process; gives exit code, stdout and stderr."""

    def run(*arguments):
        code = exit_code(*arguments)
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with `encoder.torchscript`, and inferrers `a` and `b` that read it."""
    import torch

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 16)
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is what this format is
        program = torch.jit.trace(net.eval(), torch.zeros(1, 3, 32, 32))
        torch.jit.save(program, folder / "encoder.torchscript")
    sidecar = {"input_size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    (folder / "encoder.json").write_text(json.dumps(sidecar))
    for name, threshold in (("a", -1.0), ("b", 1.5)):
        reads = Reads("cosine", 4, ENCODERMI.id, "embedding")
        card = toy_card(name, "T", reads, threshold, n=10, size_px=32)
        save(Inferrer(card, MeanRule()), folder / name)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder with four pictures and one file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(4):
        pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"picture {index}.png")
    (folder / "notes.png").write_text("no picture")
    return folder
