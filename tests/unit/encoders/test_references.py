"""Encoders that could stand beside a target, by the files and the lists that there are."""

import json

import pytest

from clipaudit.encoders.model_cards import named_base
from clipaudit.encoders.references import find_references, shares_list
from clipaudit.errors import EncoderError


@pytest.fixture
def model(tmp_path):
    """A folder with a model card and whatever else is asked for."""

    def write(card="", **documents):
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        if card:
            (folder / "README.md").write_text(card, encoding="utf-8")
        for name, document in documents.items():
            (folder / f"{name}.json").write_text(json.dumps(document))
        return folder

    return write


def cards(base):
    return f"---\nlicense: mit\nbase_model: {base}\n---\n# Mine\n"


# --- the base of a fine-tune ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "spec"),
    [
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("openai/clip-vit-base-patch32", "ViT-B-32/openai"),
        ("[openai/clip-vit-large-patch14, other/model]", "ViT-L-14/openai"),
        ("ViT-B-16/openai", "ViT-B-16/openai"),
    ],
)
def test_the_base_comes_first_by_the_model_card(model, base, spec):
    first = find_references(f"local-dir:{model(cards(base))}")[0]
    assert first.spec == spec
    assert first.reason == "the base of the fine-tune, by its README.md"
    assert "nothing of the pictures of the base" in first.caveats[0]


def test_of_a_transformers_folder_the_base_is_one_too(model):
    folder = model(cards("openai/clip-vit-base-patch32"))
    first = find_references(f"transformers:{folder}")[0]
    assert first.spec == "transformers:openai/clip-vit-base-patch32"


def test_an_adapter_or_a_config_says_it_where_the_card_does_not(model):
    folder = model(config={"_name_or_path": "laion/old"})
    assert named_base(f"local-dir:{folder}") == ("laion/old", "config.json")
    folder = model(adapter_config={"base_model_name_or_path": "laion/base"})
    assert named_base(f"local-dir:{folder}") == ("laion/base", "adapter_config.json")
    folder = model("# no front matter")
    assert named_base(f"local-dir:{folder}") == ("laion/base", "adapter_config.json")


def test_a_base_that_is_a_folder_is_here(model, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    first = find_references(f"local-dir:{model(cards(str(base)))}")[0]
    assert (first.spec, first.is_here) == (f"local-dir:{base}", True)


def test_the_user_knows_better_than_the_card(model):
    found = find_references(f"local-dir:{model(cards('a/b'))}", base="RN50/openai")
    assert [reference.spec for reference in found] == ["RN50/openai"]
    assert found[0].reason == "the base that you named"


@pytest.mark.parametrize(
    "card",
    [
        "---\nbase_model: [\n---\n",
        "---\nbase_model: {a: b}\n---\n",
        "---\n- a\n- b\n---\n",
        "---\nbase_model: 7\n---\n",
        "---\nbase_model: ''\n---\n",
        '---\nbase_model: "a\\e[2Jb"\n---\n',
        "---\n" + "a" * (1 << 20) + "\nbase_model: a/b\n---\n",
    ],
)
def test_a_broken_or_hostile_card_names_no_base(model, card):
    assert named_base(f"local-dir:{model(card)}") is None


def test_a_card_that_is_not_text_names_no_base(model):
    folder = model()
    (folder / "README.md").write_bytes(b"---\nbase_model: \xff\xfe\n---\n")
    (folder / "config.json").write_bytes(b"\x00\x01")
    assert named_base(f"local-dir:{folder}") is None


def test_a_cached_repository_is_read_and_no_other(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--me--tuned"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    (snapshot / "README.md").write_text(cards("laion/base"))
    assert named_base("hf-hub:me/tuned") == ("laion/base", "README.md")
    assert named_base("hf-hub:me/other") is None


def test_timm_s_names_say_what_they_were_fine_tuned_from():
    first = find_references("timm:vit_base_patch32_clip_224.laion2b_ft_in1k")[0]
    assert first.spec == "timm:vit_base_patch32_clip_224.laion2b"


# --- of one run ----------------------------------------------------------------------------------


def test_earlier_checkpoints_beside_a_file_come_by_their_number(tmp_path):
    for name in ("epoch_32.pt", "epoch_4.pt", "epoch_10.pt", "epoch_40.pt", "other_3.pt", "a.txt"):
        (tmp_path / name).touch()
    found = find_references(f"ViT-B-32/{tmp_path}/epoch_32.pt")
    of_the_run = [reference for reference in found if "earlier checkpoint" in reference.reason]
    assert [reference.spec for reference in of_the_run] == [
        f"ViT-B-32/{tmp_path}/epoch_4.pt",
        f"ViT-B-32/{tmp_path}/epoch_10.pt",
    ]
    assert of_the_run[0].is_here
    assert "saw the same pictures" in of_the_run[0].caveats[0]


def test_snapshots_of_a_shadow_encoder_and_its_references_are_found(tmp_path):
    for name in ("epoch-10", "epoch-2", "reference-1"):
        (tmp_path / name).mkdir()
    found = find_references(f"shadow:{tmp_path}/epoch-10")
    assert [reference.spec for reference in found] == [
        f"shadow:{tmp_path}/reference-1",
        f"shadow:{tmp_path}/epoch-2",
    ]
    assert all(reference.is_here for reference in found)


@pytest.mark.parametrize("name", ["", "/encoder"])
def test_snapshots_beside_the_last_epoch_of_a_shadow_encoder_are_found(tmp_path, name):
    for folder in ("encoder", "epoch-5", "epoch-20"):
        (tmp_path / folder).mkdir()
    found = find_references(f"shadow:{tmp_path}{name}")
    assert [reference.spec for reference in found] == [
        f"shadow:{tmp_path}/epoch-5",
        f"shadow:{tmp_path}/epoch-20",
    ]


# --- of one architecture -------------------------------------------------------------------------


def test_a_part_of_the_same_pool_comes_first_with_what_it_shares():
    found = find_references("ViT-B-32/commonpool_m_s128m_b4k")
    assert found[0].spec == "ViT-B-32/commonpool_s_s13m_b4k"
    assert "about 10 % as many pictures" in found[0].caveats[0]


def test_an_older_list_says_from_when_on_it_is_clean():
    found = {
        reference.spec: reference for reference in find_references("ViT-B-16/commonpool_l_s1b_b8k")
    }
    caveat = found["ViT-B-16/laion400m_e32"].caveats[0]
    assert "It cannot have seen what was first put online on 2021-08-21 or later." in caveat


def test_a_larger_part_of_the_same_pool_may_hold_every_suspect():
    found = {
        reference.spec: reference for reference in find_references("ViT-B-32/commonpool_s_s13m_b4k")
    }
    assert "perhaps every suspect" in found["ViT-B-32/commonpool_m_s128m_b4k"].caveats[0]


def test_the_same_list_is_spoilt_and_comes_last():
    found = find_references("ViT-B-32/laion2b_s34b_b79k")
    assert found[-1].spec == "ViT-B-32/laion2b_e16"
    assert [reference.is_spoilt for reference in found].count(True) == 1
    assert shares_list("ViT-B-32/laion2b_s34b_b79k", "ViT-B-16/laion2b_s34b_b88k")
    assert not shares_list("ViT-B-32/laion2b_s34b_b79k", "ViT-B-32/openai")
    assert not shares_list("shadow:a", "shadow:b")
    assert not shares_list("ViT-B-16-SigLIP/webli", "ViT-L-16-SigLIP-256/webli")


def test_the_same_weights_under_another_name_are_no_reference():
    specs = [reference.spec for reference in find_references("ViT-B-32/openai")]
    assert specs
    assert not any(spec.endswith("/openai") for spec in specs)


def test_what_has_no_kin_has_no_reference(tmp_path):
    assert find_references(f"onnx:{tmp_path}/encoder.onnx") == ()


def test_an_unknown_scheme_is_an_error():
    with pytest.raises(EncoderError):
        find_references("nosuch:a")
    with pytest.raises(EncoderError):
        find_references("ViT-B-32/openai", base="nosuch:a")
