import dataclasses
import json
import math
from typing import Any

import pytest

from clipaudit.errors import InferrerError
from clipaudit.files import FileError
from clipaudit.inferrers import find_rule, library
from clipaudit.inferrers.base import Inferrer, Reads
from clipaudit.inferrers.library import (
    CARD,
    TEXT,
    WEIGHTS,
    find,
    list_inferrers,
    load,
    save,
    shipped_for,
)
from clipaudit.inferrers.threshold import MeanRule
from tests.made.inferrers import EVIDENCE, READS, SHADOW, card, features, reads_of


@pytest.fixture
def folder(tmp_path):
    """An inferrer on disk, the smallest that there is."""
    save(Inferrer(card("T"), MeanRule()), tmp_path / "cifar10-t")
    return tmp_path / "cifar10-t"


def broken(folder):
    with pytest.raises(InferrerError) as caught:
        load(folder)
    assert caught.value.hint
    assert caught.value.exit_code == 5
    return str(caught.value)


def edited(folder, change):
    document = json.loads((folder / CARD).read_text())
    change(document)
    (folder / CARD).write_text(json.dumps(document))


def test_a_newer_format_says_to_update(folder):
    edited(folder, lambda card: card.update(format=2, surprise=True))
    assert "another version" in broken(folder)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '"card"', "7", "NaN", "{}", "\x00", "[" * 100_000),
        *('{"format": 1}', '{"format": 1, "evidence": []}'),
    ],
)
def test_a_card_that_is_no_card_is_an_error_of_ours(folder, text):
    (folder / CARD).write_text(text)
    broken(folder)


def test_a_card_that_is_not_utf_8_is_an_error_of_ours(folder):
    (folder / CARD).write_bytes(b'{"format": 1, "name": "\xff"}')
    broken(folder)


def every_value(document, path=()):
    for key, value in document.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from every_value(value, (*path, key))


VALUES = list(every_value(json.loads(json.dumps({"format": 1, **dataclasses.asdict(card("V"))}))))
WRONG: list[Any] = [None, True, [], {}, "", "x\x1b[2J", -1, 10**400, math.nan, math.inf]


@pytest.mark.parametrize("path", VALUES, ids=".".join)
def test_no_value_of_a_card_can_make_it_crash(folder, path):
    for wrong in WRONG:
        original = (folder / CARD).read_text()

        def put(document, wrong=wrong):
            for key in path[:-1]:
                document = document[key]
            document[path[-1]] = wrong

        edited(folder, put)
        try:
            inferrer = load(folder)
        except InferrerError:
            pass
        else:  # it may be a value that is possible, if odd
            is_list = path == ("others",) and wrong == []
            assert (
                isinstance(wrong, str) or wrong in (-1, 10**400) or path == ("format",) or is_list
            )
            assert isinstance(inferrer.card.threshold, float)
        (folder / CARD).write_text(original)


LATER = {
    ("shadow", "n_encoders"): 1,
    ("shadow", "n_references"): 0,
    ("reads", "what"): "similarities",
    ("reads", "has_reference"): False,
    ("n_targets",): 0,
    ("others",): (),
}
"""What the first cards did not have, and what it then is."""


def without(path):
    def cut(document):
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return cut


@pytest.mark.parametrize("path", [path for path in VALUES if path not in LATER], ids=".".join)
def test_a_card_without_one_of_its_values_is_an_error_of_ours(folder, path):
    edited(folder, without(path))
    broken(folder)


@pytest.mark.parametrize("path", LATER, ids=".".join)
def test_a_card_from_before_a_value_was_told_has_what_it_was_then(folder, path):
    edited(folder, without(path))
    value = load(folder).card
    for key in path:
        value = getattr(value, key)
    assert value == LATER[path]


def test_a_value_that_no_card_has_is_an_error_of_ours(folder):
    edited(folder, lambda card: card["reads"].update(extra=1))
    broken(folder)


# --- finding them --------------------------------------------------------------------------------


def shipped_card(kind, name, accuracy):
    measured = dataclasses.replace(EVIDENCE.accuracy, value=accuracy)
    return card(
        kind,
        name=name,
        shadow=dataclasses.replace(SHADOW, data=name.partition("-")[0]),
        evidence=dataclasses.replace(EVIDENCE, accuracy=measured),
    )


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package that ships T of two data sets for one kind of features, and T for another."""
    monkeypatch.setattr(library, "shipped_folder", lambda: tmp_path)
    for name, accuracy in (("cifar10-t", 0.93), ("stl10-t", 0.91)):
        save(Inferrer(shipped_card("T", name, accuracy), MeanRule()), tmp_path / name)
    trunk = dataclasses.replace(READS, output="trunk")
    save(Inferrer(card("T", name="cifar10-trunk-t", reads=trunk), MeanRule()), tmp_path / "x")
    (tmp_path / "x").rename(tmp_path / "cifar10-trunk-t")
    return tmp_path


def test_shipped_ones_are_listed_and_found_by_name(shipped):
    assert [card.name for card in list_inferrers()] == ["cifar10-t", "cifar10-trunk-t", "stl10-t"]
    assert find("stl10-t").card.name == "stl10-t"


def test_a_package_that_ships_none_has_an_empty_list(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "shipped_folder", lambda: tmp_path / "nothing")
    assert list_inferrers() == []
    with pytest.raises(InferrerError) as caught:
        find("cifar10-v")
    assert "clipaudit train" in caught.value.hint


def test_only_those_that_fit_are_taken(shipped):
    assert [one.card.name for one in shipped_for(READS)] == ["cifar10-t"]
    with pytest.raises(InferrerError, match="no shipped inferrer reads 8 views") as caught:
        shipped_for(Reads("cosine", 8, "encodermi@1", "embedding"))
    assert "clipaudit inferrers" in caught.value.hint


@pytest.mark.parametrize("kind", ["V", "S"])
def test_of_several_data_sets_the_one_with_most_kinds_is_taken(shipped, kind):
    """Better than `cifar10-t` though that is, where it is alone."""
    name = f"stl10-{kind.lower()}"
    some, is_member = features(0, 20, 20, 1.0)
    rule = find_rule(kind).train(some.values, is_member, 0)
    save(Inferrer(shipped_card(kind, name, 0.5), rule), shipped / name)
    names = [one.card.name for one in shipped_for(READS)]
    assert names == [f"stl10-{one.lower()}" for one in "VST" if one in (kind, "T")]


def ship(folder, kind, reads, name):
    given, is_member = features(0, 20, 20, 1.0, reads=reads)
    rule = find_rule(kind).train(given.values, is_member, 0)
    save(Inferrer(card(kind, reads=reads, name=name), rule), folder / name)


def test_where_there_are_captions_what_reads_them_comes_first_and_no_views_are_made(shipped):
    ship(shipped, "caption", reads_of("caption"), "clip-caption")
    ship(shipped, "norm", dataclasses.replace(reads_of("norm"), recipe="clip@1"), "clip-norm")
    ship(shipped, "fine-tune", reads_of("fine-tune", has_reference=True), "clip-fine-tune")
    matched = dataclasses.replace(READS, recipe="clip@1")
    found = shipped_for(matched, has_captions=True)
    assert [inferrer.card.name for inferrer in found] == ["clip-caption", "clip-norm"]
    assert [inferrer.card.name for inferrer in shipped_for(matched)] == ["clip-norm"]
    assert [inferrer.card.name for inferrer in shipped_for(READS)] == ["cifar10-t"]
    every = shipped_for(READS, has_captions=True, every_data_set=True)
    assert {inferrer.card.name for inferrer in every} == {"cifar10-t", "clip-caption", "stl10-t"}


@pytest.mark.parametrize("name", ["cifr10-t", "CIFAR10-T", "cifar10_t"])
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(shipped, name):
    with pytest.raises(InferrerError, match=f"there is no inferrer {name}") as caught:
        find(name)
    assert "Choose one of cifar10-t" in caught.value.hint


@pytest.mark.parametrize("name", ["zzz", "a/b/c", "\0", "x" * 5000, "\udcff", "none/inferrer.json"])
def test_a_name_that_is_like_no_other_is_answered_with_all(shipped, name):
    with pytest.raises(InferrerError) as caught:
        find(name)
    assert "stl10-t" in caught.value.hint


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_folder_without_an_inferrer_says_so(shipped, name):
    with pytest.raises(InferrerError, match="holds no inferrer") as caught:
        find(name)
    assert CARD in caught.value.hint


def test_a_shipped_name_is_not_looked_for_in_the_current_folder(shipped, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere" / "stl10-t"
    save(Inferrer(card("T", name="mine"), MeanRule()), elsewhere)
    monkeypatch.chdir(elsewhere.parent)
    assert find("stl10-t").card.name == "stl10-t"
    assert find("./stl10-t").card.name == "mine"


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write"):
        save(Inferrer(card("T"), MeanRule()), tmp_path / "file" / "cifar10-t")


def test_the_files_are_those_that_the_documents_name(folder):
    assert {path.name for path in folder.iterdir()} == {CARD, TEXT, WEIGHTS}
    assert (CARD, TEXT, WEIGHTS) == ("inferrer.json", "card.md", "weights.safetensors")
