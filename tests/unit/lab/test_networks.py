"""The networks of a public file set, beside ours: what they learn, and the experiment."""

import numpy as np
import pytest
import torch

from clipaudit.lab.collecting import is_ready, judge_cell
from clipaudit.lab.experiments.networks import RECIPES, train_and_score
from clipaudit.lab.matrix import read_matrix
from clipaudit.statistics.metrics import auc
from tests.made.labs import LONG, SMALL, make_lab, plan_of

HEAD, _, REST = SMALL.partition("[[experiment]]")
TEXT = HEAD + '[[experiment]]\nkind = "networks"\ndata = "drawn"\n' + REST[REST.index("[scale.") :]
TEXT = TEXT.replace('kinds = ["V", "T"]', 'kinds = ["V", "S"]').replace(LONG, "epochs = 40")
TEXT = TEXT.replace("epochs = [2, 120]", "epochs = []")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def similarities(n, seed):
    """Pairs of four views; of members, the first half, they are higher, and one is much lower."""
    rng = np.random.default_rng(seed)
    values = 0.9 + 0.02 * rng.standard_normal((n, 6))
    values[: n // 2] += 0.03
    values[: n // 2, 2] -= 0.2
    return np.clip(values, -1, 1).astype(np.float32), np.arange(n) < n // 2


@pytest.mark.parametrize("name", RECIPES)
def test_it_learns_and_the_order_of_the_views_tells_nothing(name):
    learned, is_member = similarities(60, 0)
    judged, truth = similarities(60, 1)
    scores = train_and_score(name, learned, is_member, judged, 5)
    assert auc(scores, truth).value > 0.95
    order = np.random.default_rng(2).permutation(6)
    again = train_and_score(name, learned[:, order], is_member, judged[:, order[::-1]], 5)
    assert np.array_equal(scores, again)
    assert not np.array_equal(scores, train_and_score(name, learned, is_member, judged, 6))


def test_the_experiment_judges_both_on_both_outputs(tmp_path):
    plan = plan_of(make_lab(tmp_path, TEXT))
    assert [cell.setting for cell in plan.cells] == ["simclr", "mocov2", "mocov2-split"]
    cell = plan.cells[0]
    for other in plan.cells[1:]:
        pair = [plan.units[key].pretrain.algorithm for key in (other.target, other.shadow)]
        assert pair == [other.setting] * 2
    assert is_ready(cell, plan)
    outcomes = list(judge_cell(cell, plan, ("embedding", "trunk"), ("V", "S")))
    wanted = {(output, name) for output in ("embedding", "trunk") for name in ("V", "S", *RECIPES)}
    assert {(one.output, one.method) for one in outcomes} == wanted
    assert len(outcomes) == 8
    assert all(one.found + one.missed == 10 for one in outcomes)


def test_its_matrix_shares_the_encoders_of_the_papers_matrix():
    papers, ours = (read_matrix(name).scale["cpu"] for name in ("encodermi", "networks"))
    for name in ("seeds", "size_px", "members", "split", "draws", "known", "unknown", "pretrain"):
        assert getattr(ours, name) == getattr(papers, name), name
