"""What is published about training data."""

from datetime import date

import open_clip
import pytest

from clipaudit.encoders.catalog import list_encoders
from clipaudit.encoders.training_data import facts_of, training_facts
from clipaudit.errors import EncoderError
from tests.made.present import present


def test_openais_data_is_not_published_and_older_than_february_2021():
    facts = training_facts("ViT-B-32/openai")
    assert facts.cutoff == date(2021, 2, 1)
    assert present(facts.members).startswith("not published")
    assert "yfcc100m_subset_data.tsv" in present(facts.members)
    assert "model-card.md" in facts.basis


@pytest.mark.parametrize(
    ("spec", "cutoff", "words"),
    [
        ("ViT-B-32/commonpool_s_s13m_b4k", date(2023, 5, 1), "best test"),
        ("ViT-B-32/commonpool_s_clip_s13m_b4k", date(2023, 5, 1), "filter"),
        ("ViT-B-32/datacomp_s_s13m_b4k", date(2023, 5, 1), "filter"),
        ("ViT-B-32-256/datacomp_s34b_b86k", date(2023, 5, 1), "filter"),
        ("ViT-L-14/commonpool_xl_s13b_b90k", date(2023, 5, 1), "no larger pool"),
        ("RN50-quickgelu/cc12m", date(2021, 3, 1), "CC3M"),
        ("RN50-quickgelu/yfcc15m", date(2015, 1, 1), "same years"),
        ("ViT-B-32-quickgelu/laion400m_e32", date(2021, 8, 21), "dead"),
        ("ViT-H-14/laion2b_s32b_b79k", date(2022, 4, 1), "dead"),
        ("timm:vit_small_patch16_224.dino", date(2013, 1, 1), "clean split"),
        ("torchvision:resnet50/IMAGENET1K_V2", date(2013, 1, 1), "clean split"),
        ("ViT-B-16-SigLIP/webli", None, "Nothing is published"),
        ("timm:vit_base_patch14_dinov2.lvd142m", None, "Nothing is published"),
        ("torchvision:vit_b_16/IMAGENET1K_SWAG_LINEAR_V1", None, "Nothing is published"),
    ],
)
def test_facts_are_those_of_the_data_set(spec, cutoff, words):
    facts = training_facts(spec)
    assert facts.cutoff == cutoff
    assert words in facts.quality


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "ViT-B-32/laion2b_s34b_b79k"),
        ("hf-hub:laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", "ViT-L-14/datacomp_xl_s13b_b90k"),
        ("hf-hub:openai/clip-vit-base-patch32", "ViT-B-32/openai"),
        ("timm:vit_base_patch32_clip_224.laion2b", "ViT-B-32/laion2b_e16"),
    ],
)
def test_one_data_set_is_known_by_all_its_names(name, like):
    assert training_facts(name) == training_facts(like)


@pytest.mark.parametrize(
    "spec",
    [
        "ViT-B-32/openai.safetensors",
        "ViT-B-32//home/me/laion2b.pt",
        "local-dir:models/laion2b",
        "onnx:openai.onnx",
        "openai.onnx",
        "shadow:runs/dino",
        "ViT-B-32/something_new",
    ],
)
def test_nothing_is_said_of_files_however_they_are_called(spec):
    facts = training_facts(spec)
    assert (facts.about, facts.members, facts.cutoff) == ("", None, None)


def test_an_unknown_scheme_is_an_error():
    with pytest.raises(EncoderError):
        training_facts("nothing:openai")


def test_fine_tuning_is_said_and_the_rest_stays():
    facts = facts_of("laion2b_ft_in12k_in1k")
    assert facts.about == "LAION-2B, published list; fine-tuned on ImageNet-1k"
    assert facts.cutoff == facts_of("laion2b").cutoff


def test_whole_pools_and_filtered_ones_are_told_apart():
    """A tag without the name of a filter is of an encoder that saw every row of its pool."""
    for _, tag in open_clip.list_pretrained():
        if tag.startswith("commonpool"):
            is_filtered = any(
                f"_{name}_" in tag for name in ("clip", "laion", "image", "text", "basic")
            )
            assert ("filter kept" in present(facts_of(tag).members)) == is_filtered, tag


def test_every_date_has_its_source_and_every_list_its_place():
    for entry in list_encoders():
        facts = training_facts(entry.spec)
        assert (entry.note, entry.cutoff) == (facts.about, facts.cutoff)
        if facts.cutoff is not None:
            assert facts.basis != training_facts("ViT-B-32/something_new").basis
            assert date(2011, 1, 1) < facts.cutoff < date(2026, 1, 1)
        if facts.files is not None:
            assert "https://" in present(facts.members)
            assert facts.others
