"""What `--reference auto` takes, and which references are warned of."""

import logging

import pytest

from clipaudit.errors import EncoderError
from clipaudit.pipelines.reference_choice import choose_references


def test_auto_takes_the_first_on_this_machine_and_says_what_could_spoil_it(tmp_path, caplog):
    for name in ("epoch_2.pt", "epoch_8.pt"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        chosen = choose_references(f"ViT-B-32/{tmp_path}/epoch_8.pt", ("auto",))
    assert chosen == (f"ViT-B-32/{tmp_path}/epoch_2.pt",)
    (message,) = caplog.messages
    assert message.startswith(f"--reference auto takes {chosen[0]}: an earlier checkpoint")
    assert "It saw the same pictures" in message


def test_an_encoder_trained_beside_the_target_comes_before_its_checkpoints(tmp_path):
    for name in ("encoder", "epoch-3", "reference-1", "reference-2"):
        (tmp_path / name).mkdir()
    chosen = choose_references(f"shadow:{tmp_path}", ("auto",))
    assert chosen == (f"shadow:{tmp_path}/reference-1",)


def test_where_none_is_here_the_hint_names_one():
    with pytest.raises(
        EncoderError, match="no reference for RN50/openai is on this machine"
    ) as error:
        choose_references("RN50/openai", ("auto",))
    assert "--reference, such as RN50-quickgelu/yfcc15m" in error.value.hint


def test_auto_beside_a_name_is_taken_once(tmp_path):
    (tmp_path / "reference-1").mkdir()
    own = f"shadow:{tmp_path}/reference-1"
    assert choose_references(f"shadow:{tmp_path}", (own, "auto")) == (own,)


def test_a_reference_with_the_target_s_own_list_is_warned_of(caplog):
    named = ("ViT-B-16/laion2b_s34b_b88k", "ViT-B-32/openai")
    with caplog.at_level(logging.WARNING):
        assert choose_references("ViT-B-32/laion2b_e16", named) == named
    (message,) = caplog.messages
    assert "ViT-B-16/laion2b_s34b_b88k was trained on the published list" in message


def test_names_are_left_as_they_are(caplog):
    assert choose_references("shadow:a", ("shadow:b", "shadow:b")) == ("shadow:b", "shadow:b")
    assert choose_references("shadow:a", ()) == ()
    assert not caplog.messages
