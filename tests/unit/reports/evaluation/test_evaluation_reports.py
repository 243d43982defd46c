"""An evaluation as a table, as JSON and as figures."""

import io
import json
import unicodedata
from dataclasses import replace
from functools import partial
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image
from referencing import Registry, Resource

from clipaudit.reports.evaluation import figures as evaluation_figures
from clipaudit.reports.evaluation import json_document as evaluation_document
from clipaudit.reports.evaluation.table import show
from clipaudit.reports.tables import plain_text
from clipaudit.results.evaluation import SharedPicture
from tests.made.audits import INFERRERS
from tests.made.evaluations import blind_report, evaluation
from tests.made.present import present
from tests.made.schemas import strict


def as_text(result, width):
    return plain_text(partial(show, result), width)


SCHEMAS = Path(__file__).parents[4] / "docs/schemas"

NASTY = "[red]\x1b[2J\u202e$x_1$ \udcff.png"
NASTY_FACTS = replace(INFERRERS[0], name=NASTY)
CAPTIONS = blind_report(60, 300, is_confounded=True, basis="captions")
CAPTIONS_ALIKE = blind_report(60, 300, is_confounded=False, basis="captions")
EVALUATIONS = {
    "alike": evaluation(),
    "confounded": evaluation(is_confounded=True),
    "confounded beyond adjusting": evaluation(3, 300, is_confounded=True),
    "confounded by captions": evaluation(blind_captions=CAPTIONS),
    "captions alike": evaluation(blind_captions=CAPTIONS_ALIKE),
    "not blind": evaluation(blind=False),
    "blind baseline missing": evaluation(blind=False, blind_missing="that takes 20 pictures"),
    "tiny": evaluation(2, 2, blind=False, shared=(), skipped={}, n_same=0),
    "large": evaluation(40, 2500, label="potential-member"),
    "all called members": evaluation(
        990, 2010, tuple(replace(one, threshold=-9.0) for one in INFERRERS)
    ),
    "nasty": evaluation(
        inferrers=(NASTY_FACTS, INFERRERS[1]),
        folder=NASTY,
        shared=(SharedPicture(NASTY, NASTY, "copy"),),
        is_confounded=True,
    ),
}


def schemas(change):
    loaded = {
        path.name: change(json.loads(path.read_text())) for path in SCHEMAS.glob("*-1.schema.json")
    }
    registry = Registry().with_resources(
        (name, Resource.from_contents(schema)) for name, schema in loaded.items()
    )
    return loaded["evaluation-1.schema.json"], registry


def dumped(one):
    file = io.BytesIO()
    evaluation_document.dump(one, file)
    return file.getvalue()


@pytest.mark.parametrize("change", [lambda schema: schema, strict], ids=["published", "closed"])
@pytest.mark.parametrize("name", EVALUATIONS)
def test_json_is_as_its_published_schema_says(name, change):
    schema, registry = schemas(change)
    document = json.loads(dumped(EVALUATIONS[name]))
    jsonschema.Draft202012Validator(schema, registry=registry).validate(document)


def test_json_has_all_digits_and_no_scores_of_single_pictures():
    one = EVALUATIONS["confounded"]
    document = json.loads(dumped(one))
    method = document["methods"][0]
    assert method["figures"]["auc"]["value"] == one.methods[0].figures.auc.value
    assert method["adjusted_auc"]["adjusted"]["low"] == one.methods[0].adjusted.adjusted.low
    assert document["is_confounded"] is True
    assert "scores" not in document["blind"]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("name", EVALUATIONS)
def test_the_table_fits_and_cannot_steer_a_terminal(name, width):
    text = as_text(EVALUATIONS[name], width)
    assert max(map(len, text.splitlines())) <= width
    assert {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs"}} <= {"\n"}


@pytest.mark.parametrize("width", [60, 67, 80, 95, 96, 100])
def test_no_figure_is_cut_off_whatever_the_width(width):
    one = EVALUATIONS["all called members"]
    text = as_text(one, width)
    for method in one.methods:
        figures = method.figures
        shares = [figures.accuracy, figures.precision, figures.f1, figures.recall, figures.fpr]
        for share in shares + [at.tpr for at in figures.at_fpr]:
            low, value, high = (f"{100 * x:.1f}" for x in (share.low, share.value, share.high))
            assert f"{low}–{high}".replace("100.0", "100") in text
            assert value.replace("100.0", "100") in text
        assert f"{figures.auc.low:.2f}–{figures.auc.high:.2f}" in text
    assert "…" not in text.partition("Mean cosine")[0]


def plain(name, width=140):
    return " ".join(as_text(EVALUATIONS[name], width).replace("│", " ").split())


def test_that_a_set_is_confounded_is_said_before_any_figure():
    text = plain("confounded")
    warning = text.index("What an inferrer says of them proves nothing by itself.")
    assert warning < text.index("Members told from non-members")
    assert warning < text.index("Left after adjusting")
    for one in EVALUATIONS["confounded"].methods:
        assert f"{one.adjusted.adjusted.value:.3f} (" in text
    assert "Confounded" not in plain("alike")
    assert "nothing was found to tell members from non-members" in plain("alike")


def test_where_adjusting_says_nothing_the_reason_is_told_once():
    text = plain("confounded beyond adjusting")
    assert text.count("cannot be said") == 3
    assert text.count("it takes 20 members and 20 non-members") == 1


def test_a_dash_says_how_many_non_members_it_takes():
    assert "2,000 at 0.1 %, and there are 300" in plain("alike")
    assert "200 at 1 % and 2,000 at 0.1 %, and there are 2" in plain("tiny")
    assert "takes more non-members" not in plain("large")


def test_figures_stand_by_method_and_shadow_data_and_twins_by_name():
    text = plain("alike")
    for one in EVALUATIONS["alike"].methods:
        assert f"{one.figures.auc.value:.3f}" in text
        assert f"{100 * one.figures.fpr.low:.1f}–{100 * one.figures.fpr.high:.1f}" in text
    twins = evaluation(inferrers=(INFERRERS[0], replace(INFERRERS[0], name="mine")))
    above_the_summary = as_text(twins, 140).partition("Summary")[0]
    assert "mine" in above_the_summary


def test_captions_that_tell_the_sides_apart_confound_the_set():
    text = " ".join(plain("confounded by captions").split())
    assert "Confounded: by captions alone, classifiers tell members from non-members" in text
    assert "Left after adjusting" in text
    assert "Without the encoder, nothing was found to tell members from non-members" in text
    assert "the set is confounded" in text.lower()
    quiet = " ".join(plain("captions alike").split())
    assert "By captions alone, nothing was found" in quiet
    assert "confounded" not in quiet.lower()


def test_what_was_left_out_and_what_was_not_tried_is_told():
    text = plain("alike")
    assert "3 copies and near-duplicates" in text
    assert "2 truncated" in text
    assert "set/members/a.png and set/nonmembers/b.png" in text
    assert "left out with --no-blind" in plain("not blind")
    assert "none: that takes 20 pictures" in plain("blind baseline missing")
    assert "perhaps it was used" in plain("large")


@pytest.mark.parametrize("name", ["large", "nasty", "tiny"])
def test_figures_are_drawn_and_the_same_each_time(name, tmp_path):
    files = evaluation_figures.draw_all(EVALUATIONS[name], tmp_path / "new" / "folder")
    assert [path.name for path in files] == ["histogram.png", "roc.png"]
    for path in files:
        with Image.open(path) as picture:
            assert picture.size == (960, 630)
    before = [path.read_bytes() for path in files]
    evaluation_figures.draw_all(EVALUATIONS[name], tmp_path / "new" / "folder")
    assert [path.read_bytes() for path in files] == before


def test_the_roc_figure_has_a_log_axis_a_line_an_inferrer_and_intervals():
    one = EVALUATIONS["large"]
    (ax,) = evaluation_figures.roc(one).axes
    assert ax.get_xscale() == "log"
    lines = {str(line.get_label()): line for line in ax.lines}
    *curves, chance = [label for label in lines if not label.startswith("_")]
    assert [label.partition(":")[0] for label in curves] == [f.name for f in INFERRERS]
    assert chance == "chance"
    assert list(np.asarray(lines[curves[0]].get_ydata())) == list(one.methods[0].curve.tpr)
    assert len(ax.containers) == 2 * len(INFERRERS)  # at 1 % and at 0.1 %
    assert "proves nothing" not in ax.get_title()
    confounded = EVALUATIONS["confounded"]
    (ax,) = evaluation_figures.histogram(confounded, present(confounded.similarity)).axes
    assert "prove nothing" in ax.get_title()
