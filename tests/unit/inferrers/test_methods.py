"""A method and what a run offers → the shipped inferrer."""

from dataclasses import replace

import pytest

from clipaudit.errors import InferrerError, UsageError
from clipaudit.inferrers import RULES, find_rule, library
from clipaudit.inferrers.base import Reads
from clipaudit.inferrers.library import list_inferrers, shipped_for
from clipaudit.inferrers.methods import DEFAULTS, METHODS, Offer, choose, shipped_methods

PAPER = Reads("cosine", 10, "encodermi@1", "embedding")
CLIP = replace(PAPER, recipe="clip@1")
PICTURES = Offer(PAPER)


def with_reference(offer):
    return replace(offer, reads=replace(offer.reads, has_reference=True))


def on_trunk(offer):
    return replace(offer, reads=replace(offer.reads, output="trunk"))


def names(found):
    return [inferrer.card.name for inferrer in found]


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        (PICTURES, "cifar10-combined"),
        (on_trunk(PICTURES), "cifar10-trunk-combined"),
        (with_reference(PICTURES), "cifar10-reference-combined"),
        (with_reference(on_trunk(PICTURES)), "tiny-imagenet-trunk-reference-adjusted"),
        (Offer(CLIP), "openclipart-combined"),
        (Offer(CLIP, has_captions=True), "openclipart-caption"),
        (with_reference(Offer(CLIP, has_captions=True)), "openclipart-reference-caption"),
        (
            with_reference(Offer(CLIP, has_captions=True, has_base=True)),
            "openclipart-reference-fine-tune",
        ),
        (with_reference(Offer(CLIP, has_base=True)), "openclipart-reference-combined"),
        (Offer(replace(PAPER, similarity="pearson")), "cifar10-pearson-v"),
        (
            with_reference(Offer(replace(PAPER, n_views=3, output="trunk"))),
            "cifar10-trunk-reference-combined-3-views",
        ),
    ],
)
def test_the_default_is_one_method_by_what_the_run_offers(offer, expected):
    assert names(choose((), offer)) == [expected]


def test_each_line_of_the_table_of_defaults_is_reached_and_has_its_reason():
    for default in DEFAULTS:
        assert METHODS[default.method] in RULES
        assert default.reason
        assert default.offer


@pytest.mark.parametrize(
    ("method", "offer", "expected"),
    [
        ("v", PICTURES, "cifar10-v"),
        ("s", with_reference(PICTURES), "cifar10-reference-s"),
        ("t", with_reference(PICTURES), "cifar10-t"),  # of which no form with a reference ships
        ("norm", PICTURES, "cifar10-norm"),
        ("norm", Offer(CLIP), "openclipart-norm"),
        ("caption-loss", Offer(PAPER, has_captions=True), "openclipart-caption-loss"),
        ("v", replace(PICTURES, shadow="tiny-imagenet"), "tiny-imagenet-v"),
        ("s", Offer(replace(PAPER, similarity="euclidean", output="trunk")), None),
    ],
)
def test_a_method_finds_the_folder_that_fits(method, offer, expected):
    found = names(choose([method], offer))
    assert found == [expected or "cifar10-trunk-euclidean-s"]


def test_several_methods_stand_in_their_order_and_once():
    found = names(choose(["t", "norm", "t"], PICTURES))
    assert found == ["cifar10-t", "cifar10-norm"]


@pytest.mark.parametrize("reads", [PAPER, CLIP, replace(PAPER, has_reference=True)])
def test_all_is_every_inferrer_that_fits(reads):
    assert names(choose(["all"], Offer(reads))) == names(shipped_for(reads))
    every = names(choose(["all"], Offer(reads), every_data_set=True))
    assert every == names(shipped_for(reads, every_data_set=True))


def test_a_method_of_every_data_set_has_an_inferrer_of_each():
    found = names(choose(["v"], PICTURES, every_data_set=True))
    assert found == ["cifar10-v", "tiny-imagenet-v"]
    of_one = replace(PICTURES, shadow="tiny-imagenet")
    assert names(choose(["v"], of_one, every_data_set=True)) == ["tiny-imagenet-v"]
    assert "cifar10-v" not in names(choose(["all"], of_one, every_data_set=True))


@pytest.mark.parametrize(
    ("method", "offer", "hint"),
    [
        ("caption", Offer(CLIP), "--captions"),
        ("fine-tune", Offer(CLIP, has_captions=True), "--reference"),
        ("adjusted", PICTURES, "--reference"),
        ("v", Offer(CLIP), "--recipe encodermi@1"),
        ("v", Offer(replace(PAPER, n_views=7)), "--views 10"),
        ("combined", Offer(replace(PAPER, similarity="pearson")), "--similarity cosine"),
        (
            "combined",
            Offer(replace(CLIP, output="trunk"), shadow="openclipart"),
            "--output embedding",
        ),
        ("caption", Offer(replace(CLIP, output="trunk"), has_captions=True), "--output embedding"),
        ("v", Offer(PAPER, shadow="openclipart"), "clipaudit train"),
        ("difference", with_reference(PICTURES), "clipaudit train"),
    ],
)
def test_what_cannot_be_had_says_what_to_pass(method, offer, hint):
    with pytest.raises(InferrerError, match=f"method {method}") as caught:
        choose([method], offer)
    assert hint in caught.value.hint


def test_a_shadow_data_set_that_is_not_known_is_a_usage_error():
    with pytest.raises(UsageError, match="--shadow cifr10 is not known") as caught:
        choose((), replace(PICTURES, shadow="cifr10"))
    assert "cifar10" in caught.value.hint


def test_a_shadow_data_set_of_which_nothing_fits_says_to_leave_it_out():
    with pytest.raises(InferrerError, match="of shadow data set openclipart no shipped") as caught:
        choose((), replace(PICTURES, shadow="openclipart"))
    assert "Leave out --shadow" in caught.value.hint


def test_a_package_that_ships_nothing_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "shipped_folder", lambda: tmp_path)
    with pytest.raises(InferrerError, match="no shipped inferrer"):
        choose((), PICTURES)


def test_every_kind_that_ships_is_a_method_with_its_needs_and_its_cost():
    found = {method.name: method for method in shipped_methods()}
    assert {METHODS[name] for name in found} == {card.kind for card in list_inferrers()}
    assert all(find_rule(METHODS[name]).brief for name in found)
    assert found["v"].needs == "views"
    assert found["norm"].needs == "pictures (+ reference)"
    assert found["adjusted"].needs == "views + reference"
    assert (found["combined"].passes, found["caption"].passes) == ("4 or 11", "1 + text")


def test_a_figure_stands_with_what_it_was_measured_on():
    for method in shipped_methods():
        assert "pictures ×" in method.reached
        assert "elsewhere" in method.reached or "not measured on others" in method.reached
