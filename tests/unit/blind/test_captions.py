"""Captions alone: each leak is planted, and found; where there is none, it is silent."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from clipaudit.blind.adjust import adjusted_auc
from clipaudit.blind.baseline import MIN_OF_EACH
from clipaudit.blind.caption_statistics import CAPTION_STATISTICS, caption_statistics
from clipaudit.blind.captions import caption_baseline, caption_check

NOUNS = "cat dog house boat tree bridge river horse lamp chair garden window flower".split()  # noqa: SIM905
ADJECTIVES = "old small red blue wooden tall wet bright quiet broken green empty".split()  # noqa: SIM905
PLACES = ("in the park", "by the sea", "near a church", "on a hill", "at night", "in winter")
GERMAN = [
    f"{a} {b} {c}"
    for a in ("ein", "der")
    for b in ("Hund", "Baum", "Weg")
    for c in ("im Wald", "am Meer")
]
FRENCH = [
    f"{a} {b}"
    for a in ("un chien", "une maison", "le pont")
    for b in ("dans la ville", "sur la mer")
]
OPENCLIPART = Path(os.environ.get("CLIPAUDIT_TEST_OPENCLIPART", "/usr/share/openclipart/png"))


def caption(rng):
    return f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} {rng.choice(PLACES)}"


def captions(n, seed, change=lambda text, rng: text):
    """Captions of n pictures, one each."""
    rng = np.random.default_rng(seed)
    return [(change(caption(rng), rng),) for _ in range(n)]


def only_some(change, share):
    return lambda text, rng: change(text, rng) if rng.random() < share else text


def name(text, rng):
    return f"{text}, photo by Anna Keller"


def names_of_many(text, rng):
    first, last = (
        rng.choice(["Ann", "Bo", "Cy", "Di", "Ed"]),
        "".join(rng.choice(list("abcdefg"), 6)),
    )
    return f"{text} {first} {last.capitalize()}"


LEAKS = {
    "a name": only_some(name, 0.5),
    "names of many people": names_of_many,
    "a year": lambda text, rng: f"{text} {rng.choice([2021, 2022])}",
    "a date": lambda text, rng: (
        f"{text}, {rng.integers(1, 29)}.{rng.integers(1, 13)}.{rng.integers(1990, 2020)}"
    ),
    "another language": lambda text, rng: str(rng.choice(GERMAN)),
    "a longer text": lambda text, rng: f"{text} and {caption(rng)}",
    "capitals": lambda text, rng: text.title(),
    "all in capitals": only_some(lambda text, rng: text.upper(), 0.5),
    "a template": lambda text, rng: f"a photo of a {text}",
    "underscores": lambda text, rng: text.replace(" ", "_"),
    "a full stop": lambda text, rng: f"{text}.",
    "tags": lambda text, rng: f"{text} #{rng.choice(NOUNS)}",
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found_on_whichever_side_it_stands(leak):
    clean, leaking = captions(80, 0), captions(80, 1, LEAKS[leak])
    for sides in ((leaking, clean), (clean, leaking)):
        found = caption_baseline(*sides)
        assert found.is_confounded, found.overall
        assert found.sentence().startswith("Confounded: by captions alone, classifiers tell")
        assert found.telling


def test_captions_that_are_missing_on_one_side_are_found():
    found = caption_baseline(captions(40, 0), [()] * 40)
    assert found.overall.value == 1
    assert found.telling[0].name == "is_missing"
    assert "whether there is a caption at all" in found.sentence()
    assert caption_baseline(captions(40, 0), [*captions(15, 1), *[()] * 25]).is_confounded


def test_captions_from_another_source_are_found():
    several = [(*a, *b) for a, b in zip(captions(40, 0), captions(40, 1), strict=True)]
    assert caption_baseline(several, captions(40, 2)).is_confounded
    files = captions(40, 3, lambda text, rng: f"IMG_{rng.integers(1000, 9999)}")
    assert caption_baseline(files, captions(40, 4)).is_confounded


def test_two_other_languages_are_told_apart():
    sides = [
        captions(40, seed, lambda text, rng, words=words: str(rng.choice(words)))
        for seed, words in enumerate((GERMAN, FRENCH))
    ]
    assert caption_baseline(*sides).is_confounded


@pytest.mark.parametrize(
    ("leak", "words"),
    [
        ("a name", "the word “(anna|keller|photo|by)”"),
        ("a year", "whether a year is named"),
        ("a template", "the word “(a|of|photo)”"),
    ],
)
def test_what_gives_most_away_is_named(leak, words):
    found = caption_baseline(captions(80, 0, LEAKS[leak]), captions(80, 1))
    assert any(re.fullmatch(words, telling.words) for telling in found.telling)


def test_words_of_a_hostile_caption_do_not_reach_the_sentence_as_they_are():
    nasty = "[red]\x1b[2J\u202e<script>alert</script>" + "x" * 5000 + "\ud800"
    found = caption_baseline([(nasty,)] * 30, captions(30, 1))
    assert found.is_confounded
    assert not re.search(r"[\x1b\u202e<>\[]|x{60}", "".join(t.words for t in found.telling))


@pytest.mark.parametrize("n", [20, 60])
def test_it_is_silent_where_there_is_nothing_to_find(n):
    found = [caption_baseline(captions(n, 2 * i), captions(n, 2 * i + 1), i) for i in range(10)]
    assert sum(report.is_confounded for report in found) <= 2
    assert np.mean([report.overall.value for report in found]) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(("n", "repetitions"), [(20, 12), (200, 4)])
def test_it_is_silent_on_random_splits_of_real_captions(n, repetitions):
    if not OPENCLIPART.is_dir():
        pytest.skip("needs Debian's openclipart-png, or its folder as CLIPAUDIT_TEST_OPENCLIPART")
    real = sorted(
        f"{file.parent.name} {file.stem.replace('_', ' ')}" for file in OPENCLIPART.rglob("*.png")
    )
    found = []
    for seed in range(repetitions):
        drawn = np.random.default_rng(seed).choice(len(real), 2 * n, replace=False)
        sides = [(real[i],) for i in drawn]
        found.append(caption_baseline(sides[:n], sides[n:], seed))
    assert sum(report.is_confounded for report in found) <= 2
    assert np.mean([report.overall.value for report in found]) == pytest.approx(0.5, abs=0.08)


def test_real_captions_of_two_folders_are_told_apart():
    if not OPENCLIPART.is_dir():
        pytest.skip("needs Debian's openclipart-png, or its folder as CLIPAUDIT_TEST_OPENCLIPART")
    animals, transportation = (
        [(file.stem.replace("_", " "),) for file in sorted((OPENCLIPART / name).rglob("*.png"))]
        for name in ("animals", "transportation")
    )
    assert caption_baseline(animals[:60], transportation[:60]).is_confounded


def test_nothing_hangs_on_the_order_of_the_pictures():
    first, second = captions(30, 0, LEAKS["a name"]), captions(40, 1)
    found = caption_baseline(first, second, 3)
    turned = caption_baseline(first[::-1], second[::-1], 3)
    assert (found.overall, found.by_classifier, found.telling) == (
        turned.overall,
        turned.by_classifier,
        turned.telling,
    )
    np.testing.assert_array_equal(found.scores[:30], turned.scores[:30][::-1])


def test_pictures_of_a_group_count_as_one():
    first, second = captions(40, 0), captions(40, 1)
    alone = caption_baseline(first, second)
    doubled = caption_baseline(
        [*first, *first],
        [*second, *second],
        groups=[*range(40), *range(40), *range(40, 80), *range(40, 80)],
    )
    widths = [found.overall.high - found.overall.low for found in (alone, doubled)]
    assert widths[1] > 0.8 * widths[0]


def test_its_scores_adjust_an_auc():
    found = caption_baseline(captions(60, 0, LEAKS["a name"]), captions(60, 1))
    is_member = np.arange(120) < 60
    left = adjusted_auc(found.scores, found.scores, is_member)
    assert left.raw.value > 0.68
    assert left.adjusted is None or left.adjusted.low <= 0.5


def test_no_words_at_all_are_no_difference():
    found = caption_baseline([("!!",)] * 25, [("!!",)] * 25)
    assert set(found.by_classifier) >= {"style, linear", "style, boosted trees"}
    assert not found.is_confounded
    assert not caption_baseline([()] * 25, [()] * 25).is_confounded


@pytest.mark.parametrize("sides", [(19, 40), (40, 19), (0, 0)])
def test_it_needs_some_of_each(sides):
    with pytest.raises(ValueError, match=f"needs the captions of {MIN_OF_EACH}"):
        caption_baseline(captions(sides[0], 0), captions(sides[1], 1))


def test_groups_must_be_as_many_as_the_pictures():
    with pytest.raises(ValueError, match="as many groups"):
        caption_baseline(captions(30, 0), captions(30, 1), groups=[1, 2])


@pytest.mark.parametrize(
    "text", ["", " ", "!", "x", "\n\n", "1999", "ÄÖÜ", "日本語の説明", "a\ud800b"]
)
def test_every_statistic_is_finite(text):
    values = caption_statistics((text,))
    assert values.shape == (len(CAPTION_STATISTICS),)
    assert np.isfinite(values).all()


def test_statistics_say_what_they_are_called():
    names = [statistic.name for statistic in CAPTION_STATISTICS]
    values = dict(
        zip(names, caption_statistics(("Das ist der Hund von Anna, 3.4.2021.",)), strict=True)
    )
    assert values["n_words"] == pytest.approx(np.log1p(9))
    assert (values["latest_year"], values["has_date"], values["ends_with_stop"]) == (2021, 1, 1)
    assert values["stops_german"] == pytest.approx(4 / 9)
    assert values["stops_english"] == 0
    assert values["name_share"] == pytest.approx(2 / 5)


# --- two sets of pictures ------------------------------------------------------------------------


def check(first, second, seed=0):
    texts = {f"{number:03d}": text for number, text in enumerate([*first, *second])}
    ids = list(texts)
    known = {image_id: text for image_id, text in texts.items() if text}
    return caption_check(ids[: len(first)], ids[len(first) :], known, seed)


def test_sets_whose_captions_differ_are_different():
    found = check(captions(40, 0, LEAKS["a template"]), captions(40, 1))
    assert found.outcome == "different"
    assert "n = 40 and 40, most of all by" in found.text


def test_sets_whose_captions_do_not_differ_are_alike():
    assert check(captions(40, 0), captions(40, 1)).outcome == "alike"


@pytest.mark.parametrize("leak", ["a name", "a year", "capitals", "a template", "a full stop"])
def test_few_pictures_are_told_apart_by_a_word_or_by_style(leak):
    change = LEAKS[leak] if leak != "a name" else name
    found = check(captions(10, 0, change), captions(12, 1))
    assert found.outcome == "different"
    assert "too few for more" in found.text


def test_few_pictures_that_do_not_differ_are_rarely_told_apart():
    outcomes = [check(captions(9, 2 * i), captions(11, 2 * i + 1), i).outcome for i in range(40)]
    assert outcomes.count("different") <= 3


@pytest.mark.parametrize("sizes", [(0, 30), (3, 3), (0, 0)])
def test_where_nothing_can_be_tried_that_is_said(sizes):
    found = check(captions(sizes[0], 0), captions(sizes[1], 1))
    assert found.outcome == "too few"
    assert "that takes 20 pictures on each side" in found.text
