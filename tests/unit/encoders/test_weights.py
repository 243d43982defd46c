"""Tensors from files, and files that hold something else."""

from __future__ import annotations

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from clipaudit.encoders import weights
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.errors import EncoderError

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor(7)}


class Canary:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def refusal(path):
    with pytest.raises(EncoderError) as caught:
        weights.read(path)
    assert caught.value.hint
    return str(caught.value)


def same(got):
    assert got.keys() == TENSORS.keys()
    assert all(torch.equal(got[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda one: one,
        lambda one: {"state_dict": one, "epoch": 3},
        lambda one: {"model": one, "optimizer": {"lr": 0.1}},
        lambda one: {"state_dict": {f"module.{name}": value for name, value in one.items()}},
    ],
)
@pytest.mark.parametrize("new_format", [True, False])
def test_the_tensors_of_a_pickle(tmp_path, wrap, new_format):
    path = tmp_path / "weights.pt"
    torch.save(wrap(TENSORS), path, _use_new_zipfile_serialization=new_format)
    same(weights.read(path))


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin"])
def test_the_tensors_of_safetensors_whatever_its_name(tmp_path, name):
    save_file({f"module.{key}": value for key, value in TENSORS.items()}, tmp_path / name)
    same(weights.read(tmp_path / name))


def test_only_what_is_kept_is_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(TENSORS, path)
    got = weights.read(path, lambda names: {n[2:]: n for n in names if n.startswith("a.")})
    assert list(got) == ["weight"]


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("trusting", ["0", "1"])
def test_code_in_a_pickle_never_runs(tmp_path, monkeypatch, protocol, trusting):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", trusting)
    path, canary = tmp_path / "weights.pt", tmp_path / "canary"
    path.write_bytes(pickle.dumps({"state_dict": Canary(canary)}, protocol=protocol))
    refusal(path)
    torch.save({"state_dict": Canary(canary), **TENSORS}, path)
    assert "refused" in refusal(path)
    assert not canary.exists()


def test_a_whole_model_is_a_pickle_with_code(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    assert "refused" in refusal(tmp_path / "model.pt")


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_program_is_no_state_dict(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "model.pt")
    assert "TorchScript" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "damage",
    [
        lambda one: (1 << 63).to_bytes(8, "little") + one[8:],
        lambda one: b"\xff" * 8 + one[8:],
        lambda one: one[:-1],
        lambda one: one[:40],
        lambda one: b"{" + one,
        lambda _: b"<html>not found</html>",
    ],
)
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin"])
def test_damaged_safetensors_are_refused(tmp_path, damage, name):
    path = tmp_path / name
    save_file(TENSORS, path)
    path.write_bytes(damage(path.read_bytes()))
    refusal(path)


def test_a_damaged_pickle_is_refused(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(TENSORS, path)
    whole = path.read_bytes()
    for cut in (1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        refusal(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"state_dict": {}}, 3.0])
def test_no_tensors_are_said_so(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    assert "no named tensors" in refusal(tmp_path / "weights.pt")


def test_what_does_not_fit_is_named(tmp_path):
    layer = nn.Linear(3, 2)
    path = tmp_path / "weights.pt"

    def fault(tensors):
        with pytest.raises(EncoderError) as caught:
            weights.fit(layer, tensors, path, "a layer")
        return str(caught.value)

    whole = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    weights.fit(layer, whole, path, "a layer")
    assert torch.equal(layer.weight, torch.ones(2, 3))
    assert "missing, such as bias" in fault({"weight": torch.ones(2, 3)})
    assert "unknown, such as more" in fault({**whole, "more": torch.ones(1)})
    assert "(3, 3) instead of (2, 3)" in fault({**whole, "weight": torch.ones(3, 3)})


def test_an_unreadable_file(tmp_path):
    assert "cannot read" in refusal(tmp_path)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGES = [
    b"<!DOCTYPE html>\n<html>",
    b"\n\n  <html lang=en>",
    b"\xef\xbb\xbf<!doctype html>",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
]
NAMES = ["weights.safetensors", "weights.pt", "weights.bin", "model.onnx", "model.pt2"]


@pytest.mark.parametrize("name", NAMES)
def test_a_pointer_of_git_lfs_is_called_that(tmp_path, name):
    (tmp_path / name).write_bytes(LFS)
    assert "is a pointer of git-lfs" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_is_called_that(tmp_path, name, page):
    (tmp_path / name).write_bytes(page)
    assert "is a web page, not a model" in refusal(tmp_path / name)


@pytest.mark.parametrize("spec", ["onnx:{}", "torchscript:{}", "torch-export:{}", "state-dict:{}"])
@pytest.mark.parametrize("content", [LFS, PAGES[0]])
def test_whatever_loads_a_file_says_what_it_is(tmp_path, spec, content):
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(EncoderError, match=r"pointer of git-lfs|a web page"):
        load_encoder(spec.format(path), EncoderOptions(allow_code=True, architecture="ViT-B-32"))


@pytest.mark.parametrize("name", NAMES)
def test_what_never_ends_is_not_read(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert "is a pipe or a device" in refusal(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    assert "is a pipe or a device" in refusal(tmp_path / name)


def test_two_tensors_of_one_name_are_refused(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"a.weight": torch.zeros(1), "_orig_mod.a.weight": torch.ones(1)}, path)
    assert "twice" in refusal(path)
