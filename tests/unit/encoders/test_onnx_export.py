"""Torch encoders that onnxruntime runs: when, and what is kept."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from clipaudit.encoders import onnx_export
from clipaudit.encoders.base import EncoderOptions, InputSpec
from clipaudit.encoders.towers import Tower, ready
from clipaudit.errors import EncoderError

SPEC = InputSpec(8, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "bicubic")
VIEWS = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
MANY = onnx_export.PAYS_AFTER_VIEWS


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "onnx"


def tower(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, 8))
    return Tower("test/net", net, SPEC, "embedding")


def load(backend="onnx", n_views=None, made=None, auto=True):
    options = EncoderOptions(backend=backend, device="cpu", n_views_ahead=n_views)
    return ready(replace(made or tower(), auto_onnx=auto), options)


def test_both_backends_agree():
    by_torch, by_onnx = load("torch"), load("onnx")
    assert (by_torch.info.backend, by_onnx.info.backend) == ("torch", "onnx")
    assert by_torch.info.fingerprint == by_onnx.info.fingerprint
    for n in (1, 2, 5):
        torch.testing.assert_close(by_onnx.embed(VIEWS[:n]), by_torch.embed(VIEWS[:n]))


def test_it_is_exported_once(cache):
    fingerprint = load().info.fingerprint
    model = cache / fingerprint / "tower.onnx"
    written = model.stat().st_mtime_ns
    assert load().info.backend == "onnx"
    assert model.stat().st_mtime_ns == written
    card = json.loads((cache / fingerprint / "card.json").read_text())
    assert card["fingerprint"] == fingerprint
    assert card["differs_from_torch"] < onnx_export.TOLERANCE
    assert [one.name for one in cache.iterdir()] == [fingerprint]  # nothing half-made is left


def test_auto_exports_only_where_it_pays_and_takes_what_is_there(cache):
    assert load("auto").info.backend == "torch"
    assert load("auto", n_views=MANY - 1).info.backend == "torch"
    assert not cache.exists()
    assert load("auto", n_views=MANY).info.backend == "onnx"
    assert load("auto").info.backend == "onnx"


def test_auto_leaves_encoders_alone_that_it_was_not_measured_on():
    assert load("auto", n_views=MANY, auto=False).info.backend == "torch"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "tower.onnx").write_bytes(b"short"),
        lambda folder: (folder / "tower.onnx").unlink(),
        lambda folder: (folder / "card.json").unlink(),
        lambda folder: (folder / "card.json").write_text("{"),
        lambda folder: (folder / "card.json").write_text("[]"),
        lambda folder: (folder / "card.json").write_text('{"format": 1}'),
    ],
)
def test_a_damaged_export_is_made_anew(cache, damage):
    encoder = load()
    expected = encoder.embed(VIEWS)
    damage(cache / encoder.info.fingerprint)
    assert load("auto").info.backend == "torch"
    torch.testing.assert_close(load().embed(VIEWS), expected)
    assert load("auto").info.backend == "onnx"


def test_an_export_of_another_encoder_is_not_taken(cache):
    first, other = load(), load("torch", made=tower(seed=1))
    (cache / first.info.fingerprint).rename(cache / other.info.fingerprint)
    assert load("auto", made=tower(seed=1)).info.backend == "torch"


class Refuses(nn.Module):
    """A module whose graph depends on its input, which no export can follow."""

    def forward(self, views):
        if float(views.sum()) > 1e9:
            return views.flatten(1) * 2
        return views.flatten(1)


class Differs(nn.Module):
    """A module that computes something else while it is exported."""

    def forward(self, views):
        return views.flatten(1) * (2 if torch.compiler.is_exporting() else 1)


@pytest.mark.parametrize(
    ("module", "says"), [(Refuses, "cannot export"), (Differs, "other embeddings")]
)
def test_what_cannot_be_trusted_is_not_used(cache, caplog, module, says):
    made = Tower("test/odd", module(), SPEC, "embedding")
    with pytest.raises(EncoderError, match=says) as caught:
        load(made=made)
    assert "--backend torch" in caught.value.hint
    with caplog.at_level(logging.WARNING):
        encoder = load("auto", n_views=MANY, made=made)
    assert encoder.info.backend == "torch"
    assert len([one for one in caplog.records if one.name.startswith("clipaudit")]) == 1
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_said(cache):
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(EncoderError, match="cannot keep") as caught:
        load()
    assert "CLIPAUDIT_CACHE_DIR" in caught.value.hint
    assert load("auto", n_views=MANY).info.backend == "torch"


def test_an_export_prints_nothing(capfd):
    load()
    assert capfd.readouterr() == ("", "")
