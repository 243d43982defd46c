"""How long encoders were trained: every figure has its source, and none is guessed."""

import pytest

from clipaudit.encoders.published_names import names_at_release
from clipaudit.encoders.training_length import training_length


@pytest.mark.parametrize(
    ("spec", "n_pairs", "n_seen", "epochs", "source"),
    [
        ("ViT-B-32/openai", 400e6, 12.8e9, 32, "arXiv:2103.00020"),
        ("transformers:openai/clip-vit-base-patch32", 400e6, 12.8e9, 32, "arXiv:2103.00020"),
        ("ViT-B-32-quickgelu/laion400m_e32", 413e6, 13.216e9, 32, "says the epochs"),
        ("ViT-B-32/laion2b_s34b_b79k", 2.32e9, 34e9, 14.7, "how many pairs were seen"),
        ("ViT-B-32/commonpool_s_s13m_b4k", 12.8e6, 13e6, 1.02, "how many pairs were seen"),
        ("ViT-L-14/datacomp_xl_s13b_b90k", 1.4e9, 13e9, 9.29, "how many pairs were seen"),
        ("hf-hub:laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", 1.4e9, 13e9, 9.29, "open_clip"),
        ("ViT-B-32-quickgelu/metaclip_400m", 400e6, 12.8e9, 32, "MetaCLIP"),
        ("RN50-quickgelu/yfcc15m", 14_829_396, 474_540_672, 32, "PRETRAINED.md"),
    ],
)
def test_it_says_pairs_epochs_and_the_source(spec, n_pairs, n_seen, epochs, source):
    length = training_length(spec)
    assert length.n_pairs == n_pairs
    assert length.n_seen == n_seen
    assert length.epochs == pytest.approx(epochs, rel=0.01)
    assert source in length.basis


def test_of_a_filtered_pool_nobody_knows_how_many_pairs_there_were():
    length = training_length("ViT-B-32/commonpool_s_clip_s13m_b4k")
    assert (length.n_pairs, length.n_seen, length.epochs) == (None, 13_000_000, None)
    assert "a filter kept a part of the 12,800,000 pairs" in length.basis


def test_of_webli_the_pairs_are_not_published():
    length = training_length("ViT-B-16-SigLIP/webli")
    assert (length.n_pairs, length.epochs) == (None, None)
    assert "not published" in length.basis


@pytest.mark.parametrize(
    "spec",
    [
        "ViT-B-32/./openai_s34b_b79k.safetensors",
        "onnx:openai.onnx",
        "shadow:openai",
        "torchvision:resnet50/IMAGENET1K_V2",
        "timm:vit_base_patch16_224.mae",
    ],
)
def test_of_files_and_of_what_is_not_published_nobody_knows(spec):
    length = training_length(spec)
    assert (length.n_seen, length.epochs) == (None, None)
    assert "nobody knows" in length.basis


def test_every_published_name_gives_plausible_figures_and_a_reason():
    for spec in names_at_release():
        length = training_length(spec)
        assert length.basis
        assert length.epochs is None or 0.5 <= length.epochs <= 100, spec
