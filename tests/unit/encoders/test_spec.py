"""Names of encoders, and what is said where a name is wrong."""

from __future__ import annotations

import subprocess
import sys
from pkgutil import resolve_name

import pytest

from clipaudit.encoders.base import EncoderOptions, InputOverrides
from clipaudit.encoders.spec import SCHEMES, load_encoder, parse
from clipaudit.errors import EncoderError


def refusal(spec, **options):
    with pytest.raises(EncoderError) as caught:
        load_encoder(spec, EncoderOptions(offline=True, **options))
    assert str(caught.value)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("ViT-B-32/openai", ("open_clip", "ViT-B-32/openai")),
        ("open_clip:ViT-B-32/openai", ("open_clip", "ViT-B-32/openai")),
        ("hf-hub:org/name", ("hf-hub", "org/name")),
        ("local-dir:some/folder", ("local-dir", "some/folder")),
        ("a/b/encoder.onnx", ("onnx", "a/b/encoder.onnx")),
        ("encoder.PT2", ("torch-export", "encoder.PT2")),
        ("encoder.torchscript", ("torchscript", "encoder.torchscript")),
        ("onnx:a:b.onnx", ("onnx", "a:b.onnx")),
        (r"C:\models\encoder.onnx", ("onnx", r"C:\models\encoder.onnx")),
        ("./odd:name/encoder.onnx", ("onnx", "./odd:name/encoder.onnx")),
        ("ViT-B-32/C:/weights.pt", ("open_clip", "ViT-B-32/C:/weights.pt")),
    ],
)
def test_a_spec_is_a_scheme_and_a_name(spec, parsed):
    assert parse(spec) == parsed


@pytest.mark.parametrize(
    ("spec", "offered"),
    [
        ("tim:resnet50", "timm"),
        ("torchvison:resnet50", "torchvision"),
        ("ViT-B32/openai", "ViT-B-32/openai"),
        ("vit-b-32/openai", "ViT-B-32/openai"),
        ("ViT-B-32/opnai", "openai"),
        ("ViT-B-32/laion2b", "laion2b_e16"),
        ("ViT-B-32", "ViT-B-32/datacomp_xl_s13b_b90k"),
        ("ViT-B-32/laion400m_e32", "ViT-B-32-quickgelu/laion400m_e32"),
        ("RN50/CC12M", "RN50-quickgelu/cc12m"),
        ("timm:resnet5", "resnet50"),
        ("timm:resnet50.in1k", "resnet50."),
        ("timm:vit_base_patch32_clip_224.openai", "vit_base_patch32_clip_quickgelu_224.openai"),
        ("torchvision:resnet5", "resnet50"),
        ("torchvision:resnet50", "torchvision:resnet50/IMAGENET1K_V2"),
        ("torchvision:resnet50/V3", "torchvision:resnet50/IMAGENET1K_V2"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(spec, offered):
    assert offered in refusal(spec).hint


def test_weights_alone_say_no_architecture(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"x")
    assert "--architecture" in refusal(str(path)).hint
    assert "--architecture" in refusal(f"state-dict:{path}").hint
    assert "library" in str(refusal(f"state-dict:{path}", architecture="keras:resnet"))


def test_a_scheme_without_a_name():
    assert "names no encoder" in str(refusal("timm:"))


@pytest.mark.parametrize("scheme", ["torchscript", "torch-export", "onnx", "state-dict"])
def test_a_file_that_is_not_there(scheme, tmp_path):
    options = {"allow_code": True, "architecture": "ViT-B-32"}
    assert "there is no file" in str(refusal(f"{scheme}:{tmp_path}/no.file", **options))
    (tmp_path / "empty").touch()
    assert "is empty" in str(refusal(f"{scheme}:{tmp_path}/empty", **options))


def test_a_checkpoint_that_is_not_there(tmp_path):
    assert "there is no file" in str(refusal(f"ViT-B-32/{tmp_path}/weights.pt"))
    assert "open_clip_config.json" in str(refusal(f"local-dir:{tmp_path}"))


@pytest.mark.parametrize("scheme", ["torchscript", "torch-export"])
def test_a_program_needs_permission(scheme, tmp_path):
    path = tmp_path / "program"
    path.write_bytes(b"anything")
    error = refusal(f"{scheme}:{path}")
    assert "program" in str(error)
    assert "--allow-code" in error.hint


def test_offline_weights_that_are_missing_are_named(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    error = refusal("ViT-B-32/openai")
    assert "timm/vit_base_patch32_clip_224.openai" in error.hint
    # A bare file does not say that OpenAI's weights want QuickGELU.
    assert "--encoder ViT-B-32-quickgelu/PATH" in error.hint
    error = refusal("torchvision:resnet18/IMAGENET1K_V1")
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in error.hint
    assert "timm:resnet10t" in refusal("timm:resnet10t").hint


def test_an_output_that_there_is_not():
    assert "trunk" in refusal("timm:resnet10t.c3_in1k", output="embedding").hint
    assert "embedding" in refusal("timm:vit_base_patch16_siglip_224.webli", output="trunk").hint
    assert "trunk" in refusal("torchvision:resnet18/IMAGENET1K_V1", output="embedding").hint


def test_importing_names_imports_no_torch():
    code = (
        "import sys, clipaudit.encoders.spec, clipaudit.encoders.base, clipaudit.encoders.catalog;"
        "sys.exit(bool({'torch', 'open_clip', 'timm', 'onnx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


OTHERS = """
import torch

from clipaudit.encoders.base import EncoderInfo, InputSpec
from clipaudit.encoders.loaded import LoadedEncoder


def load(name, options):
    spec = InputSpec(options.input.size_px, (0.5,) * 3, (0.5,) * 3, "bicubic")
    info = EncoderInfo(f"mine:{name}", "embedding", spec, 3, "f" * 64, "torch", "cpu")
    return LoadedEncoder(info, torch.device("cpu"), lambda views: views.mean(dim=(2, 3)))
"""


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """A package that brings schemes of its own, as pip would install it."""

    def install(scheme, code=OTHERS):
        info = tmp_path / "others-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[clipaudit.encoders]\n{scheme} = others:load\n")
        (tmp_path / "others.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("others", None)


def test_another_package_may_bring_a_scheme(other_package):
    other_package("mine")
    options = EncoderOptions(input=InputOverrides(size_px=32))
    encoder = load_encoder("mine:anything/at all", options)
    assert encoder.info.spec == "mine:anything/at all"
    assert encoder.info.input.size_px == 32
    assert "mine" in refusal("min:x").hint


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nothing_like_it", "cannot load mine:x: ModuleNotFoundError"),
        ("def load(name, options): raise KeyError(name)", "cannot load mine:x: KeyError: 'x'"),
        ("def load(name, options): return name, options", "gives a tuple, not an encoder"),
        ("def load(name, options): return None", "gives a NoneType, not an encoder"),
    ],
)
def test_what_goes_wrong_in_another_package_is_said_in_a_line(other_package, code, says):
    other_package("mine", code)
    assert says in str(refusal("mine:x"))


@pytest.mark.parametrize(
    "spec", ["onnx:a\0b.onnx", "a\0", "onnx:\ud800.onnx", "x:\udc80", "\udfff"]
)
def test_a_name_that_is_no_text_is_refused(spec):
    error = refusal(spec)
    assert str(error).isascii()
    assert str(error).isprintable()


def test_a_scheme_taken_twice_is_an_error(other_package):
    other_package("timm")
    assert "others:load" in str(refusal("timm:resnet10t"))


def test_every_scheme_resolves():
    for row in SCHEMES.values():
        functions = (row.load, row.published, row.training_facts, row.tower)
        assert all(callable(resolve_name(name)) for name in functions if name)
