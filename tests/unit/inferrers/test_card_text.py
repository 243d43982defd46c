import re
from dataclasses import asdict, replace
from typing import Any, cast

import pytest

from clipaudit.inferrers.card_text import render
from tests.made.inferrers import EVIDENCE, FORMS, READS, SHADOW, card, form_id, reads_of

WITH_REFERENCE = replace(READS, has_reference=True)


def leaves(document):
    for value in document.values():
        if isinstance(value, dict):
            yield from leaves(value)
        else:
            yield value


def numbers(text):
    return {float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)}


@pytest.mark.parametrize("form", FORMS, ids=form_id)
@pytest.mark.parametrize("n_targets", [0, 3])
def test_every_number_comes_from_the_card(form, n_targets):
    shadow = replace(SHADOW, n_references=4 * form[1])
    told = {"reads": reads_of(*form), "shadow": shadow, "n_targets": n_targets}
    given = card(form[0], threshold=0.321, seed=77, **told)
    known = {95.0, 50.0}  # the level of the intervals, and the AUC of guessing
    for value in leaves(asdict(given)):
        known |= numbers(str(value))
        if isinstance(value, float):
            known |= {round(value, 6), round(100 * value, 1)}
    known |= {187.0, 17.0}  # of 200: 0.935 and 0.085
    assert numbers(render(given)) - known == set()


def test_the_figures_are_counted_out():
    text = render(card("V"))
    assert "It found 187 of the 200 used pictures." in text
    assert "It wrongly accused 17 of the 200 unused ones." in text
    assert "| 92.5 % | 89.5 % to 94.9 % | 400 |" in text
    assert "| 8.5 % | 5.0 % to 13.3 % | 200 |" in text
    assert "| 97.5 % | 96.2 % to 98.8 % | 400 |" in text


def test_another_card_gives_another_text():
    first = render(card("S"))
    changes: list[dict[str, Any]] = [
        {"name": "other"},
        {"threshold": 1.5},
        {"reads": replace(READS, similarity="pearson")},
        {"reads": replace(READS, n_views=7)},
        {"reads": replace(READS, output="trunk")},
        {"reads": replace(READS, recipe="other@1")},
        *(
            {"shadow": replace(SHADOW, **cast("dict[str, Any]", {name: 33}))}
            for name in asdict(SHADOW)
            if name != "n_references"  # which is told where there is a reference
        ),
        *({"reads": WITH_REFERENCE, "shadow": replace(SHADOW, n_references=n)} for n in (1, 33)),
        {"evidence": replace(EVIDENCE, fpr=replace(EVIDENCE.fpr, value=0.2))},
        {"n_fitted": 12},
        {"seed": 5},
        {"command": "clipaudit train elsewhere"},
        {"created": "2020-01-01"},
        {"clipaudit_version": "9"},
        {"n_targets": 1},
        {"n_targets": 3},
    ]
    texts = [render(card("S", **change)) for change in changes]
    assert len({first, *texts}) == len(changes) + 1


def test_a_card_says_on_how_many_encoders_it_was_tested():
    assert "tested on an encoder that we trained ourselves" in render(card("V"))
    one = render(card("V", n_targets=1))
    assert "tested on an encoder that it had never met. We trained it ourselves" in one
    several = render(card("V", n_targets=3))
    assert "tested on 3 encoders that it had never met. We trained them ourselves" in several
    assert "400 pictures: 200 that they were trained on, and 200 of the same kind" in several


def test_a_card_says_how_many_shadow_encoders_it_learned_from():
    text = render(card("V", shadow=replace(SHADOW, n_encoders=3), n_targets=3))
    assert "Shadow encoders: 3 × resnet-small" in text
    assert "on 1000 pictures of cifar10 each at 32 × 32" in text
    assert "The inferrer was fitted to 1520 pictures: their members and as many" in text


def test_a_card_says_what_a_reference_is_for_and_what_it_must_not_have_seen():
    shadow = replace(SHADOW, n_references=2)
    text = render(card("V", reads=WITH_REFERENCE, shadow=shadow, n_targets=3))
    assert "a *reference* that has not practised on that picture" in text
    assert "one that was trained on the same ones hides what is to be found" in text
    assert "References: 2 for each, trained likewise on as many other pictures" in text
    assert "and of the reference; of several references, the mean." in text
    assert "reference" not in render(card("V")).lower()


def test_a_card_says_that_lengths_have_a_scale_of_their_own():
    caution = "the threshold says nothing: only the order of the pictures does"
    assert caution in render(card("norm", reads=reads_of("norm")))
    assert caution in render(card("combined", reads=reads_of("combined")))
    assert caution not in render(card("T"))


def test_it_says_that_it_proves_nothing_before_it_says_how_it_was_made():
    text = render(card("T"))
    assert text.index("is no proof") < text.index("## How it was made")
    assert not re.search(r"probab(ility|ly was)|confidence|guilty", text)
