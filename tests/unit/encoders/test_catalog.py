"""The list of encoders."""

from __future__ import annotations

import pytest

from clipaudit.encoders.catalog import list_encoders
from clipaudit.encoders.training_data import facts_of


@pytest.fixture(scope="module")
def every():
    return list_encoders()


def test_every_library_is_in_it(every):
    specs = {entry.spec for entry in every}
    assert len(specs) == len(every) > 1000
    assert {
        "ViT-B-32/openai",
        "ViT-B-32/commonpool_s_s13m_b4k",
        "timm:vit_small_patch16_224.dino",
        "timm:vit_base_patch32_clip_quickgelu_224.openai",
        "torchvision:resnet50/IMAGENET1K_V2",
    } <= specs
    assert {entry.scheme for entry in every} == {"open_clip", "timm", "torchvision"}


def test_what_would_be_refused_is_not_in_it(every):
    specs = {entry.spec for entry in every}
    assert "ViT-B-32/laion400m_e32" not in specs
    assert "ViT-B-32-quickgelu/laion400m_e32" in specs
    assert "timm:vit_base_patch32_clip_224.openai" not in specs


def test_a_search_needs_every_word():
    found = [entry.spec for entry in list_encoders("vit-b-32 LAION-2B")]
    assert "ViT-B-32/laion2b_e16" in found
    assert all("b-32" in spec.lower() or "b_32" in spec.lower() for spec in found)


def test_a_misspelt_search_finds_what_looks_like_it():
    assert "ViT-B-32/openai" in {entry.spec for entry in list_encoders("vit b32 openai")}
    assert not list_encoders("zzzzzzzzzz")


def test_an_empty_search_is_none(every):
    assert list_encoders("  ") == every


def test_outputs_are_those_that_loading_gives(every):
    by_spec = {entry.spec: entry.output for entry in every}
    assert by_spec["ViT-B-32/openai"] == "embedding"
    assert by_spec["timm:vit_base_patch16_siglip_224.webli"] == "embedding"
    assert by_spec["timm:vit_base_patch32_clip_224.laion2b_ft_in1k"] == "trunk"
    assert by_spec["timm:resnet50_clip_gap.openai"] == "trunk"
    assert by_spec["timm:convnext_base.clip_laion2b"] == "embedding"
    assert by_spec["torchvision:resnet18/IMAGENET1K_V1"] == "trunk"


def test_notes_say_what_tags_say(every):
    assert "published list" in facts_of("commonpool_s_s13m_b4k").about
    assert facts_of("c1_in1k").about == "ImageNet-1k"
    assert facts_of("something_new").about == ""
    assert all(
        entry.note
        for entry in every
        if entry.scheme == "open_clip"
        and "/v1" not in entry.spec
        and entry.spec.partition("/")[2] not in ("meta", "mrl")
    )
