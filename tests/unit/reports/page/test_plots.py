import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipaudit.reports.page.plots import LEFT, RIGHT, Sample, by_rank, histogram, p_values
from tests.made.present import present

SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


def sample(values, kind="suspects"):
    return Sample(kind, "these pictures", tuple(map(float, values)))


def whole(scores, others):
    samples = [sample(scores), sample(others, "control")]
    yield histogram(samples, "t", "c", "x", (scores[0], "here"))
    yield by_rank(samples, "t", "c", "y")
    yield p_values([1 / (1 + abs(score)) for score in scores], "t", "c")


@given(scores=SCORES, others=SCORES)
def test_everything_stays_within_its_axes(scores, others):
    for plot in whole(scores, others):
        for panel in plot.panels:
            assert 0 < panel.top < panel.bottom < plot.height
            for bar in panel.bars:
                assert LEFT <= bar.x <= bar.x + bar.width <= RIGHT + 0.1
                assert panel.top - 0.1 <= bar.y <= bar.y + bar.height <= panel.bottom + 0.11
            for point in panel.points:
                assert LEFT <= point.x <= RIGHT
                assert panel.top - 0.1 <= point.y <= panel.bottom + 0.1
            for tick in panel.y_ticks:
                assert panel.top - 0.1 <= tick.at <= panel.bottom + 0.1
        texts = [tick.text for tick in plot.x_ticks]
        assert 2 <= len(texts) <= 6
        assert len(texts) == len(set(texts))
        assert "-0" not in texts
        for tick in (*plot.x_ticks, *([plot.mark] if plot.mark else [])):
            assert LEFT - 0.1 <= tick.at <= RIGHT + 0.1


def test_bars_are_shares_of_their_set_on_one_scale():
    few, many = [0.0, 1.0], [0.0] * 30 + [1.0] * 10
    plot = histogram([sample(few), sample(many, "known")], "t", "c", "x")
    heights = [[bar.height for bar in panel.bars] for panel in plot.panels]
    assert heights[1][0] == pytest.approx(1.5 * heights[0][0], abs=0.1)
    assert heights[1][1] == pytest.approx(0.5 * heights[0][1], abs=0.1)
    assert [panel.y_ticks[1].text for panel in plot.panels] == ["75 %", "75 %"]


def test_a_mark_outside_the_scores_widens_the_axis():
    plot = histogram([sample([0, 1])], "t", "c", "x", (4, "far"))
    assert present(plot.mark).at == RIGHT
    assert max(bar.x for bar in plot.panels[0].bars) < LEFT + 0.3 * (RIGHT - LEFT)


def test_ranks_fall_and_keep_both_ends_of_many_pictures():
    values = np.random.default_rng(0).normal(size=5000)
    (panel,) = by_rank([sample(values)], "t", "c", "y").panels
    assert len(panel.points) == 300
    heights = [point.y for point in panel.points]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (panel.top, panel.bottom)


def test_p_values_of_non_members_are_level_with_the_line():
    m = 199
    values = [(k + 1) / (m + 1) for k in range(m + 1)]
    plot = p_values(values, "t", "c")
    (panel,) = plot.panels
    assert len(panel.bars) == 20
    assert {bar.y for bar in panel.bars} == {present(plot.level).at} == {panel.top}
    assert "10 of 200 p-values are 0.05 or lower" in plot.summary
