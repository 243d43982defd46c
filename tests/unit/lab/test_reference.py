"""The experiment `reference`: encoders that look at pictures which are not theirs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from clipaudit.encoders.base import EncoderOptions
from clipaudit.errors import UsageError
from clipaudit.features.embedder import Embedder, measure_all
from clipaudit.features.signals import average, first_views
from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers import find_rule, reads_of
from clipaudit.inferrers.library import load
from clipaudit.lab.collecting import is_ready, judge_cell
from clipaudit.lab.export import ExportConfig, export
from clipaudit.lab.judging import look_of, truth
from clipaudit.lab.matrix import read_matrix
from clipaudit.lab.measurements import features, read_signals
from clipaudit.lab.results import recall_at_1_percent
from clipaudit.lab.splits import read_split
from clipaudit.lab.units import VIEWS, Unit
from clipaudit.shadow.encoder import load as load_encoder
from tests.made.labs import LONG, SMALL, make_lab, plan_of

EXPERIMENT = '[[experiment]]\nkind = "reference"\ndata = "drawn"\n'
HEAD, _, REST = SMALL.partition("[[experiment]]")
SCALE = REST[REST.index("[scale.cpu]") :]
TEXT = (HEAD + EXPERIMENT + SCALE).replace('kinds = ["V", "T"]', 'kinds = ["S", "T"]')
TEXT = TEXT.replace("draws = 2", "draws = 2\nreferences = 2").replace(LONG, "epochs = 40")
TEXT = TEXT.replace("probe = 12", "probe = 20").replace("[2, 3]", "[2, 3]\npasses = [1, 3, 4]")
TEXT = TEXT.replace("epochs = [2, 120]", "epochs = []")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A target, a shadow and two references of ten members each, made here in some seconds."""
    return make_lab(tmp_path_factory.mktemp("reference-lab"), TEXT, n_pictures=100)


@pytest.fixture(scope="module")
def plan(lab):
    return plan_of(lab)


@pytest.fixture(scope="module")
def by_role(plan):
    units = sorted(plan.units.values(), key=lambda unit: (unit.role, unit.number))
    reference, other, shadow, target = units
    return {"target": target, "shadow": shadow, "references": [reference, other]}


@pytest.fixture(scope="module")
def outcomes(plan):
    cells = [cell for cell in plan.cells if is_ready(cell, plan)]
    assert [cell.setting for cell in cells] == ["1", "3", "4"]
    found = [judge_cell(cell, plan, ("embedding", "trunk"), ("S", "T")) for cell in cells]
    return [outcome for some in found for outcome in some]


def test_no_reference_sees_a_picture_of_the_encoders_that_it_stands_beside(by_role):
    split = read_split(by_role["target"].split)
    audited = {
        picture
        for role in ("target", "shadow")
        for picture in split.pictures(role, by_role[role].n_members)[0]
    }
    seen = [split.pictures("reference", 10, unit.number)[0][:10] for unit in by_role["references"]]
    assert len({*seen[0], *seen[1]}) == 20
    assert not audited & {*seen[0], *seen[1]}


def test_all_four_begin_with_other_weights(plan):
    assert len({unit.pretrain.seed for unit in plan.units.values()}) == 4
    assert len({replace(unit.pretrain, seed=0) for unit in plan.units.values()}) == 1


def test_a_unit_with_looks_at_others_survives_the_way_to_a_worker(plan):
    for unit in plan.units.values():
        assert Unit.from_json(unit.as_json()) == unit
        assert unit.is_done
    assert len({path for unit in plan.units.values() for path in unit.products()}) == sum(
        len(unit.looks) for unit in plan.units.values()
    )


def test_a_reference_looks_at_every_draw_of_both_and_at_none_of_its_own(by_role):
    for unit in by_role["references"]:
        looked_at = {(look.output, look.of, look.draw) for look in unit.looks}
        assert looked_at == {
            (output, of, draw)
            for output in ("embedding", "trunk")
            for of, draw in (("target", 0), ("shadow", 0), ("shadow", 1))
        }


def test_it_sees_the_very_pictures_and_views_of_the_shadow_encoder(by_role):
    unit = by_role["references"][1]
    look = next(one for one in unit.looks if (one.of, one.draw) == ("shadow", 1))
    split = read_split(unit.split)
    pictures, _ = split.pictures("shadow", 10)
    encoder = load_encoder(str(unit.folder), EncoderOptions(output=look.output, device="cpu"))
    embedder = Embedder(encoder, ENCODERMI, look.n_views, seed=1)
    expected, _ = measure_all(embedder, pictures, split.pixels(pictures), "")
    np.testing.assert_array_equal(read_signals(unit, look)[0].cosine, expected.cosine)


def test_features_are_the_targets_and_the_mean_of_the_references(by_role):
    target, references = by_role["target"], by_role["references"]
    reads = reads_of("difference", "cosine", 3, VIEWS, "trunk", has_reference=True)
    values = features(target, look_of(target, "trunk"), reads, references)
    beside = [
        read_signals(one, next(x for x in one.looks if (x.of, x.output) == ("target", "trunk")))[0]
        for one in references
    ]
    own, _ = read_signals(target, look_of(target, "trunk"))
    np.testing.assert_array_equal(values[:, 0], first_views(own, 3).cosine)
    np.testing.assert_array_equal(values[:, 1], first_views(average(beside), 3).cosine)


METHODS = {
    "1": {"norm", "norm + reference"},
    "3": {"T", "difference", "adjusted", "combined", "combined + reference"},
    "4": {
        *("T", "S", "S + reference"),
        *("difference", "adjusted", "combined", "combined + reference"),
    },
}
"""By forward passes; networks, whose fits take longest, at the most passes alone."""


def test_every_method_is_judged_at_the_passes_that_it_takes(outcomes):
    for output in ("embedding", "trunk"):
        for passes, methods in METHODS.items():
            told = [one.method for one in outcomes if (one.setting, one.output) == (passes, output)]
            assert sorted(told) == sorted(methods)


@pytest.mark.parametrize(("passes", "n_views"), [("3", 2), ("4", 3)])
def test_a_figure_is_that_of_a_rule_fitted_to_the_shadow_with_its_references(
    outcomes, by_role, passes, n_views
):
    """`combined` takes one pass for the picture itself, and the rest for views."""
    target, shadow, references = (by_role[one] for one in ("target", "shadow", "references"))
    reads = reads_of("combined", "cosine", n_views, VIEWS, "embedding", has_reference=True)
    looks = [replace(look_of(shadow, "embedding"), draw=draw) for draw in (0, 1)]
    values = np.concatenate([features(shadow, look, reads, references) for look in looks])
    rule = find_rule("combined").train(values, np.tile(truth(shadow), 2), 0)
    scores = rule.score(features(target, look_of(target, "embedding"), reads, references))
    called = scores >= 0
    (outcome,) = (
        one
        for one in outcomes
        if (one.method, one.setting, one.output) == ("combined + reference", passes, "embedding")
    )
    assert (outcome.found, outcome.accused) == (called[:10].sum(), called[10:].sum())
    found = (scores[:10] > scores[10:].max()).sum()  # one of ten would be more than 1 %
    assert recall_at_1_percent(outcome) == (found, 10)


def test_a_fit_is_made_once(plan, outcomes, by_role):
    files = sorted((by_role["shadow"].folder / "fits").iterdir())
    before = [(path.name, path.stat().st_mtime_ns) for path in files]
    again = [judge_cell(cell, plan, ("embedding", "trunk"), ("S", "T")) for cell in plan.cells]
    assert [one for some in again for one in some] == outcomes
    assert [(path.name, path.stat().st_mtime_ns) for path in files] == before
    assert len(before) == 2 * sum(map(len, METHODS.values()))


# --- inferrers from it ---------------------------------------------------------------------------


def exported(lab, plan, into, **changes):
    config = ExportConfig("drawn", into, n_views=3, usual_views=3, **changes)
    return export(plan, read_matrix(str(lab.matrix)), config)


def test_inferrers_that_read_a_reference_come_with_cards(lab, plan, tmp_path, by_role):
    made = exported(lab, plan, tmp_path, kinds=("combined", "norm"), has_reference=True)
    assert [one.card.name for one in made] == [
        *("drawn-reference-combined", "drawn-reference-norm"),
        *("drawn-trunk-reference-combined", "drawn-trunk-reference-norm"),
    ]
    target, references = by_role["target"], by_role["references"]
    for inferrer in made:
        card = load(tmp_path / inferrer.card.name).card
        assert card.shadow.n_references == 2
        assert card.reads.has_reference
        look = look_of(target, card.reads.output)
        called = inferrer.rule.score(features(target, look, card.reads, references))
        assert card.evidence.tpr.value == (called >= card.threshold)[:10].mean()


def test_a_name_tells_of_fewer_views_than_usual(lab, plan, tmp_path):
    config = ExportConfig("drawn", tmp_path, n_views=2, usual_views=3, kinds=("combined",))
    made = export(plan, read_matrix(str(lab.matrix)), config)
    assert [one.card.name for one in made] == [
        "drawn-combined-2-views",
        "drawn-trunk-combined-2-views",
    ]
    assert not any(one.card.reads.has_reference or one.card.shadow.n_references for one in made)


@pytest.mark.parametrize(("kind", "has_reference"), [("T", True), ("difference", False)])
def test_a_form_that_does_not_exist_is_told_of(lab, plan, tmp_path, kind, has_reference):
    with pytest.raises(UsageError, match=f"{kind} exists with") as caught:
        exported(lab, plan, tmp_path, kinds=(kind,), has_reference=has_reference)
    assert "--with-reference" in caught.value.hint
    assert not list(tmp_path.iterdir())
