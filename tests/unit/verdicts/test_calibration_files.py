"""Calibrations as files: what was kept comes back, and what was tampered with does not."""

import json
import math
from dataclasses import replace

import pytest

from clipaudit.errors import InferrerError
from clipaudit.verdicts import calibration_files as store
from tests.made.audits import INFERRERS, kept, run, sha256


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))


def example(inferrer=INFERRERS[0], **facts):
    made = kept(run(**facts), inferrer, [0.1, 1 / 3, -2.5], [0.9, 1e-9])
    ids = [*made.calibration.null.image_ids, *made.calibration.members.image_ids]
    return replace(made, hashes={one: number * 2**60 for number, one in enumerate(ids)})


def test_what_was_kept_comes_back_to_the_bit():
    made = example()
    path = store.save(made)
    assert store.load(path) == made
    assert store.read_calibrations() == (made,)
    assert [one.name for one in path.parent.iterdir()] == [f"{made.name}.json"]


def test_one_for_the_same_scores_takes_the_place_of_the_old_and_others_stay():
    store.save(example())
    newer = kept(run(), INFERRERS[0], [5.0])
    store.save(newer)
    assert store.read_calibrations() == (newer,)
    others = [example(INFERRERS[1]), example(n_views=4), example(recipe="paper/2")]
    for other in others:
        store.save(other)
    assert len(store.read_calibrations()) == 4


def test_another_seed_does_not_make_another_calibration():
    assert example(seed=1).name == example(seed=2).name


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format=3),
        lambda d: d.update(format="1"),
        lambda d: d.pop("hashes"),
        lambda d: d.update(more=1),
        lambda d: d.update(encoder=None),
        lambda d: d.update(hashes={"a": "no number"}),
        lambda d: d.update(hashes=[]),
        lambda d: d.update(nonmembers={"name": "a"}),
        lambda d: d.update(nonmembers=None),
        lambda d: d.update(calibration={}),
        lambda d: d["calibration"]["null"]["scores"].__setitem__(0, float("nan")),
        lambda d: d["calibration"]["null"]["scores"].pop(),
    ],
)
def test_a_file_that_was_changed_is_refused_with_its_name_and_a_hint(change):
    path = store.save(example())
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InferrerError, match=path.name) as caught:
        store.load(path)
    assert caught.value.hint


PLACES = [
    ("format",),
    ("calibration",),
    ("calibration", "scored_by"),
    ("calibration", "scored_by", "encoder"),
    ("calibration", "scored_by", "n_views"),
    ("calibration", "seed"),
    ("calibration", "null"),
    ("calibration", "null", "scores"),
    ("calibration", "null", "image_ids"),
    ("calibration", "members", "scores"),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [[], {}, 1.5, True, [[]], [math.nan] * 3, ["a", 1, 2], [10**400]])
def test_a_value_of_another_kind_is_refused(place, value):
    path = store.save(example())
    document = record = json.loads(path.read_bytes())
    for name in place[:-1]:
        record = record[name]
    record[place[-1]] = value
    path.write_text(json.dumps(document))
    with pytest.raises(InferrerError, match=path.name) as caught:
        store.load(path)
    assert caught.value.hint


@pytest.mark.parametrize("place", PLACES)
def test_a_field_that_is_missing_or_unknown_is_refused(place):
    path = store.save(example())
    document = record = json.loads(path.read_bytes())
    for name in place[:-1]:
        record = record[name]
    for field in (record.pop(place[-1]), None):
        path.write_text(json.dumps(document))
        with pytest.raises(InferrerError, match="it is no calibration"):
            store.load(path)
        record |= {place[-1]: field, "surprise": 1}


def test_a_newer_format_asks_for_an_update():
    path = store.save(example())
    path.write_text('{"format": 3, "anything": 1}')
    with pytest.raises(InferrerError, match="has format 3, and this clipaudit reads 2") as caught:
        store.load(path)
    assert "Update clipaudit" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b"null", b"\xff", b'{"format": 2}'])
def test_what_is_no_calibration_is_refused_and_passed_over_in_the_list(content, caplog):
    good = example()
    broken = store.save(good).with_name("broken.json")
    broken.write_bytes(content)
    with pytest.raises(InferrerError, match="broken"):
        store.load(broken)
    assert store.read_calibrations() == (good,)
    assert "passed over" in caplog.text
    assert "broken.json" in caplog.text


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InferrerError, match="cannot read the calibration"):
        store.load(tmp_path / "missing.json")


def test_calibrations_are_found_by_the_start_of_their_name_and_removed():
    path = store.save(example())
    assert store.find(path.stem[:4]) == path
    for wrong in ("zzzz", "", "*", "../" + path.stem):
        with pytest.raises(InferrerError, match="no calibration is called"):
            store.find(wrong)
    assert store.remove(path.stem) == path
    assert store.read_calibrations() == ()
    with pytest.raises(InferrerError, match="no calibration"):
        store.remove(path.stem)


def test_a_name_that_several_share_is_refused():
    path = store.save(example())
    path.with_name(f"{path.stem}0.json").write_bytes(path.read_bytes())
    with pytest.raises(InferrerError, match="several calibrations"):
        store.find(path.stem)


def test_pictures_are_left_out_of_both_sets():
    made = example()
    first, second, third = made.calibration.null.image_ids
    left = made.without({first, sha256("member 1"), "a stranger"})
    assert left.null.image_ids == (second, third)
    assert left.null.scores == (1 / 3, -2.5)
    assert left.members.scores == (0.9,)
    assert made.without({sha256("member 0"), sha256("member 1")}).members is None
    assert made.without({first, second, third}) is None


def test_a_set_is_known_by_its_pictures_in_any_order():
    one, other = store.known_set("x", ["b", "a"]), store.known_set("x", ["a", "b"])
    assert one == other
    assert one.n == 2
    assert one.sha256 != store.known_set("x", ["ab"]).sha256


def test_a_calibration_of_the_old_format_asks_to_calibrate_again():
    path = store.save(example())
    path.write_text('{"format": 1, "anything": 1}')
    with pytest.raises(InferrerError, match="has format 1") as caught:
        store.load(path)
    assert "calibrate again" in caught.value.hint


@pytest.mark.parametrize("field", ["looks", "caption_styles"])
@pytest.mark.parametrize("look", ["", "AAAA", "not base64", "A" * 1996, "/" * 1996 + "==", 7])
def test_looks_and_styles_that_are_none_are_refused(look, field):
    path = store.save(example())
    document = json.loads(path.read_bytes())
    document[field] = {document["calibration"]["null"]["image_ids"][0]: look}
    path.write_text(json.dumps(document))
    with pytest.raises(InferrerError, match="it is no calibration"):
        store.load(path)
