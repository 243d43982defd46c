"""The data card counts what is there, and nothing from outside becomes markup."""

from collections import Counter

import pytest

from clipaudit.evaluation_sets.card import Making, attribution, data_card, plain
from clipaudit.evaluation_sets.collecting import Picture, Tally
from clipaudit.evaluation_sets.manifest import Manifest, Origin, Row
from tests.made.set_pictures import fetched, record

NASTY = "<img src=x onerror=alert(1)> [a](javascript:b) | `c`\x1b[2J\n# d"


def row(name, label="potential-member", keyword="otter", **said):
    one = Picture(record(name, **said), fetched(name), keyword, 1)
    return Row(
        path=f"members/{name}.png",
        sha256=name,
        phash="0",
        label=label,
        reason="",
        origin=Origin.of(one),
    )


def card(rows, tallies=(), **more):
    made = {
        "command": "clipaudit build-eval -k otter",
        "source_title": "Openverse",
        "notice": None,
        "tallies": tallies,
        "n_unused": 0,
        "advice": {"http-404": "gone"},
        "confounds": ["a seam"],
        **more,
    }
    return data_card(Manifest(tuple(rows), {"size_px": 224}, 0, "1.0"), Making(**made))


def table_cells(text, first):
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith(f"| {first}")
    ]


def test_labels_and_licences_are_counted():
    rows = [
        row("a", license="by", license_version="4.0"),
        row("b", license="by", license_version="4.0"),
        row("c", "non-member", license="cc0"),
    ]
    text = card(rows)
    assert table_cells(text, "potential-member")[0][1] == "2"
    assert table_cells(text, "non-member")[0][1] == "1"
    assert table_cells(text, "by 4.0")[0][1] == "2"
    assert table_cells(text, "cc0")[0][1] == "1"
    assert "- a seam" in text


def test_a_shortfall_and_its_reasons_are_in_the_card():
    tally = Tally("otter", "crawled", 30, dropped=Counter({"http-404": 5, "duplicate": 1}))
    text = card([row("a")], [tally], n_unused=3)
    assert table_cells(text, "otter")[0] == ["otter", "crawled", "0", "30"]
    assert table_cells(text, "http-404")[0] == ["http-404", "5", "gone", ""]
    assert "keep both sides equal: 3 more" in text


def test_the_pictures_that_were_left_out_are_named():
    tally = Tally("otter", "crawled", 30)
    for number in range(12):
        tally.drop("truncated", record(f"{number}"))
    (cells,) = table_cells(card([row("a")], [tally]), "truncated")
    assert cells[1] == "12"
    assert cells[3].endswith(" and 2 more")
    assert cells[3].count("https") == 10


def test_a_set_without_shortfall_does_not_speak_of_one():
    text = card([row("a")], [Tally("otter", "crawled", 0)])
    assert "missing" not in text
    assert "left out" not in text


def test_a_budget_that_ended_the_build_is_told():
    tally = Tally("otter", "crawled", 30, is_cut_short=True)
    assert "--max-bytes" in card([row("a")], [tally])


def test_every_picture_is_credited_with_its_page():
    rows = [
        row("a", credit='"A" by Ada, CC BY 4.0', page_url="https://site.test/a"),
        row("b", title="B", author="Bo", license="by-sa", license_version="2.0", keyword="crab"),
    ]
    text = attribution(Manifest(tuple(rows), {"size_px": 224}, 0, "1.0"))
    assert '"A" by Ada, CC BY 4.0 · <https://site.test/a>' in text
    assert "“B” by Bo, licence: by-sa 2.0" in text
    assert text.index("## crab") < text.index("## otter")


@pytest.mark.parametrize("field", ["title", "author", "credit", "page_url", "license"])
def test_nothing_from_outside_becomes_markup(field):
    rows = [row("a", **{field: NASTY})]
    manifest = Manifest(tuple(rows), {"size_px": 224}, 0, "1.0")
    for text in (attribution(manifest), card(rows)):
        bare = text.replace(r"\<", "").replace(r"\>", "").replace(r"\[", "").replace(r"\]", "")
        assert "<img" not in bare
        assert "[a]" not in bare
        assert "\x1b" not in text
        assert "\n# d" not in text


def test_an_address_that_is_none_is_no_link():
    manifest = Manifest((row("a", page_url="javascript:alert(1)"),), {"size_px": 224}, 0, "1.0")
    assert "javascript" not in attribution(manifest)


def test_plain_text_stays_as_it_is():
    assert plain("A snow leopard, 2019 (café)") == "A snow leopard, 2019 (café)"
