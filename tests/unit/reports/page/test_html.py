"""The HTML report as a program reads it; a real browser does in tests/integration."""

import io
import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipaudit.blind.baseline import BlindCheck
from clipaudit.pictures.reading import content_id
from clipaudit.reports import formats as reports
from clipaudit.reports.page.html import dump
from clipaudit.results.rows import ReferenceSignals
from clipaudit.statistics.calibration import called_by_chance
from tests.made.audits import ENCODER, audit_of, calibrated, controlled, realistic, scored, skipped
from tests.made.nasty_audits import HOSTILE, hostile, nasty_audit

VOID = {"meta", "img", "br", "link", "hr", "input"}
SVG_SHAPES = {"line", "rect", "circle", "path"}


class Page(HTMLParser):
    """A page taken apart: elements, attributes, text; and whether every element is closed."""

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.open: list[str] = []
        self.source = content.decode("utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.text = " ".join("".join(self.parts).split())

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), "an attribute is there twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG_SHAPES
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.parts.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def html(audit, **options):
    file = io.BytesIO()
    dump(audit, file, **options)
    return file.getvalue()


def page(audit, **options):
    return Page(html(audit, **options))


AUDITS = {
    "as it often is": realistic(40),
    "calibrated": calibrated(realistic(40)),
    "with a control": controlled(realistic(40)),
    "with all": controlled(calibrated(realistic(40))),
    "nasty": controlled(calibrated(nasty_audit())),
    "hostile": hostile(),
    "nothing": audit_of([]),
    "skipped only": audit_of([skipped("a")]),
    "no inferrer": audit_of([scored("a", ()), scored("b", ())], ()),
    "one picture": calibrated(audit_of([scored("a")])),
}


@pytest.mark.parametrize("name", AUDITS)
def test_it_is_whole_and_holds_nothing_that_runs_or_is_fetched(name):
    got = page(AUDITS[name])
    known = {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "article"),
        *("h1", "h2", "h3", "h4", "p", "span", "blockquote", "div", "figure", "figcaption", "bdi"),
        *("ol", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "code", "pre"),
        *("svg", "g", "text", "img", *SVG_SHAPES),
    }
    assert {tag for tag, _ in got.elements} <= known
    for tag, attributes in got.elements:
        assert not [one for one in attributes if one.startswith("on") or one == "style"], tag
        assert not {"href", "srcset", "action", "xlink:href", "background"} & attributes.keys()
        assert attributes.get("src", "data:").startswith("data:")
    style = got.source.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = got.all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline';"
    )


def test_every_hostile_text_is_there_to_read_and_does_nothing():
    got = page(hostile())
    for name in HOSTILE:
        seen = name.replace("\n", r"\n").replace("\r", r"\r").replace("\udcff", r"\xff")
        assert " ".join(seen.replace("\u202e", r"\u202e").split()) in got.text
    assert "49" not in got.text.partition("range(9)")[0].rpartition("{{")[2]
    assert "Broken out" not in [part.strip() for part in got.parts]


@pytest.mark.parametrize("name", ["nasty", "hostile"])
def test_no_character_hides_or_turns_the_text(name):
    source = html(AUDITS[name]).decode()
    assert {char for char in source if unicodedata.category(char) in {"Cc", "Cf", "Cs"}} <= {"\n"}


@pytest.mark.parametrize("name", AUDITS)
def test_headings_go_down_one_step_at_a_time_and_names_are_unique(name):
    got = page(AUDITS[name])
    levels = [int(tag[1]) for tag, _ in got.elements if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = [attributes["id"] for _, attributes in got.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in got.elements:
        assert attributes.get("aria-labelledby", names[0] if names else None) in {*names, None}
    for drawing in got.all("svg"):
        assert drawing["role"] == "img"
        assert "n = " in drawing["aria-label"] or "p-values are" in drawing["aria-label"]
    assert got.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize("name", AUDITS)
def test_the_same_audit_gives_the_same_bytes(name):
    assert html(AUDITS[name]) == html(AUDITS[name])


@pytest.mark.parametrize("name", AUDITS)
def test_it_speaks_of_no_probability(name):
    assert "probab" not in page(AUDITS[name]).text.lower()


def test_the_verdict_comes_first_then_how_then_what_it_cannot_prove():
    got = page(controlled(calibrated(realistic(40))))
    sections = [attributes["id"] for attributes in got.all("h2")]
    assert sections == [
        *("answer", "numbers", "steps", "pictures", "limits", "every", "skipped", "repeat")
    ]
    assert got.text.index("ViT-B-32/openai?") < got.text.index("The answer")


def suspects_that_score(shift, n=30):
    """Pictures that score as their control does, and then some."""
    rows = [scored(f"/home/ana/pictures/{i}.png") for i in range(n)]
    return audit_of(
        [
            replace(row, findings=tuple(replace(f, score=f.score + shift) for f in row.findings))
            for row in rows
        ]
    )


@pytest.mark.parametrize(
    ("shift", "n", "blind", "badge", "words"),
    [
        (
            9,
            30,
            "alike",
            "Weak evidence",
            "they score higher than pictures that cannot have been used",
        ),
        (9, 30, "too few", "Cannot be said", "cannot be said: the 30 suspect pictures"),
        (9, 30, "different", "Cannot be said", "The control is no fair one"),
        (0, 30, "alike", "No evidence", "none that they were not"),
        (9, 1, "alike", "Cannot be said", "too few pictures for an answer"),
    ],
)
def test_the_verdict_on_the_set_says_what_the_numbers_allow(shift, n, blind, badge, words):
    audit = controlled(suspects_that_score(shift, n), outcome=blind)
    answer = page(audit).text.partition("The answer")[2].partition("Every picture, by itself")[0]
    assert answer.strip().startswith(badge)
    assert words in answer
    assert audit.comparison.sentence in answer


def test_captions_that_tell_the_two_sets_apart_make_no_fair_control():
    different = BlindCheck("different", "AUC 0.88, most of all by the word “anna”")
    audit = controlled(suspects_that_score(9), captions=different)
    text = page(audit).text
    assert "in what their captions say, or how they are written" in text
    assert "the captions alone tell the two apart: this is no fair control" in text
    assert "Here the two sets do differ in that." in text


def test_without_a_calibration_it_gives_no_verdict_and_says_how_to_get_one():
    text = page(realistic(40)).text
    assert "Not asked yet" in text
    assert "clipaudit score images --control UNSEEN" in text
    assert "uncalibrated: member-like" in text
    assert "reads as" not in text
    assert "clipaudit calibrate --encoder ViT-B-32/openai" in text
    assert "Predictions are not calibrated." in text
    assert "p-value" not in text


def test_with_a_calibration_it_counts_verdicts_and_what_chance_alone_would_give():
    audit = calibrated(realistic(300))
    text = page(audit).text
    k = audit.n_verdicts("cifar10-v")["member"]
    chance = called_by_chance(150, 0.01, 300)
    by_chance = f"{chance.value:.1f} ({chance.low:.0f} to {chance.high:.0f})"
    found = f"Of 300 pictures {k} are called members; chance alone would call {by_chance}."
    assert found in text
    assert "That many would be called members if none had been used, by 150 pictures" in text
    assert f"{audit.n_picked('cifar10-v')} can be picked out" in text
    assert "Predictions are not calibrated (cifar10-t)." in text


def test_a_calibration_that_is_too_small_gives_no_verdict():
    text = page(calibrated(realistic(40), n_null=20)).text
    assert "Too few pictures are known that cannot have been used" in text
    assert "that takes 99 known non-members, and there are 20" in text


def test_a_control_that_says_otherwise_is_told_beside_the_verdicts():
    audit = calibrated(realistic(300))
    at_odds = "Against the control the same scores do not stand out."
    assert at_odds in page(controlled(audit)).text
    assert at_odds not in page(audit).text


def test_a_run_that_was_stopped_says_so_before_the_answer():
    text = page(replace(realistic(9), run=replace(realistic(9).run, interrupted=True))).text
    assert text.index("stopped before its end") < text.index("The answer")


def test_references_are_told_and_their_signals_shown():
    rows = [replace(scored(f"p/{i}"), reference=ReferenceSignals(0.5, 9.0)) for i in range(3)]
    text = page(audit_of(rows, references=(replace(ENCODER, spec="RN50/yfcc15m"),))).text
    assert "RN50/yfcc15m" in text
    assert "of the reference 0.5000" in text


def test_it_holds_what_it_takes_to_repeat_the_run():
    audit = controlled(calibrated(realistic(40)))
    text, run = page(audit).text, audit.run
    for fact in (
        run.command,
        *(f"{name} {version}" for name, version in run.versions.items()),
        run.encoder.fingerprint,
        *(one.sha256 for one in run.inferrers),
        *(one.nonmembers.sha256 for one in audit.calibrations),
        "seed 0",
        run.recipe,
        '"n_views": 10',
        "schema_version 1.0",
    ):
        assert fact in text


def test_paths_tell_nothing_of_the_folders_above():
    text = page(realistic(40)).text
    assert "/home/ana/pictures" not in text
    assert "2021/broken.jpg" in text
    alone = page(audit_of([scored("/home/ana/pictures/a.png")], command="")).text
    assert "/home/ana" not in alone
    assert "a.png" in alone


def test_of_very_many_pictures_both_ends_are_listed():
    text = page(realistic(1200)).text
    assert "700 pictures in the middle of the ranking are left out" in text
    assert len(html(realistic(3000))) < 700_000


def painted(folder, name, size=(300, 200), **saving):
    """A picture in a file, and its row."""
    rng = np.random.default_rng(len(name))
    pixels = rng.integers(0, 255, (size[1] // 20 + 1, size[0] // 20 + 1, 3)).astype(np.uint8)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path, **saving)
    return replace(scored(str(path)), sha256=content_id(path.read_bytes()))


def test_pictures_at_both_ends_are_shown_with_their_views_and_it_stays_small(tmp_path):
    rows = [painted(tmp_path, f"{'n' * i}.jpg", (1200, 900)) for i in range(1, 14)]
    audit = audit_of(rows, recipe="encodermi@1")
    content = html(audit)
    got = Page(content)
    assert len(got.all("img")) == 10 * 11
    assert len(content) < 1_500_000
    ranked = [Path(row.path).name for row in audit.ranked()]
    ends = got.text.partition("The pictures at both ends")[2].partition("What this cannot")[0]
    for rank, name in enumerate(ranked, start=1):
        assert (f"{rank}. {name}" in ends) == (rank <= 5 or rank > 8)
    assert "1200 × 900 pixels" in ends
    assert len(Page(html(audit, n_pictures=2)).all("img")) == 4 * 11
    none = Page(html(audit, n_pictures=0))
    assert none.all("img") == []
    assert "The pictures at both ends" not in none.text


def test_copies_are_shown_once(tmp_path):
    row = painted(tmp_path, "a.png")
    copies = [replace(row, path=f"{row.path} {i}") for i in range(9)]
    got = page(audit_of([row, *copies], recipe="encodermi@1"))
    assert len(got.all("article")) == 1 + 1
    assert len(got.all("tr")) == 1 + 1
    assert got.text.count("+ 9 copies") == 1 + 1
    assert "1 of the scored ones are different" in got.text


def test_what_changed_or_went_away_is_said_and_not_shown(tmp_path):
    kept, changed, gone = (painted(tmp_path, name) for name in ("kept.png", "changed.png", "g.png"))
    painted(tmp_path, "changed.png", (30, 30))
    Path(gone.path).unlink()
    got = page(audit_of([kept, changed, gone], recipe="encodermi@1"))
    assert len(got.all("img")) == 11
    assert "the file has changed since it was scored" in got.text
    assert "there is no such file" in got.text


def test_a_recipe_that_is_not_known_leaves_the_views_out(tmp_path):
    got = page(audit_of([painted(tmp_path, "a.png")], recipe="paper/1"))
    assert len(got.all("img")) == 1
    assert "this version has no recipe paper/1" in got.text


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2.2, relative luminance and contrast ratio."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_colour_can_be_read_on_its_ground_in_light_dark_and_print():
    css = (Path(reports.__file__).parent / "templates" / "page.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        found = dict(re.findall(r"--([a-z]+): #([0-9a-f]+)", scheme))
        colour = {k: v if len(v) == 6 else "".join(c * 2 for c in v) for k, v in found.items()}
        for text in ("ink", "soft", "suspects", "control", "known"):
            assert contrast(colour[text], colour["paper"]) >= 4.5, text
        for text in ("ink", "soft"):
            assert contrast(colour[text], colour["panel"]) >= 4.5, text
        for ground in ("evidence", "none", "open"):
            assert contrast(colour["paper"], colour[ground]) >= 4.5, ground
        assert contrast(colour["ink"], colour["notice"]) >= 4.5


def test_a_saved_result_at_a_higher_level_carries_no_badge_of_evidence():
    audit = controlled(realistic(40))
    (first, *others) = audit.comparison.by_inferrer
    first = replace(first, outcome="higher", unpaired=replace(first.unpaired, alpha=0.3, p=0.292))
    comparison = replace(audit.comparison, by_inferrer=(first, *others), grade="evidence")
    text = page(replace(audit, comparison=comparison))
    assert "chance alone would do as much too often" in text.text
    assert "Chance alone is a poor explanation" not in text.text


def test_power_after_the_fact_is_not_told():
    text = page(controlled(realistic(40))).text
    assert "is seen by" not in text
    assert "pictures in each set in" not in text
