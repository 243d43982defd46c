"""What the demo tells, from results that are made up; test_extras runs it."""

from functools import partial

import pytest
from rich.cells import cell_len

from clipaudit.cli.demo import tell_story
from clipaudit.pipelines.demo import DemoConfig, Demonstration
from clipaudit.reports.tables import plain_text
from clipaudit.statistics.metrics import Estimate
from tests.made.audits import realistic


def demonstration(value, low, high):
    auc = Estimate(value, low, high, 160)
    return Demonstration(realistic(3), {"mean similarity": auc, "cifar10-v": auc})


SEEN = demonstration(0.963, 0.94, 0.99)
NEITHER = demonstration(0.489, 0.40, 0.58)


def story(target, control, width):
    return plain_text(partial(tell_story, target, control, DemoConfig()), width)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_the_story_fits_and_both_aucs_are_bars(width):
    text = story(SEEN, NEITHER, width)
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= width
    (long,) = (line for line in lines if line.startswith("trained on seen"))
    (short,) = (line for line in lines if line.startswith("trained on neither") and "█" in line)
    assert "0.963" in long
    assert "0.489" in short
    assert 1.6 < long.count("█") / short.count("█") < 2.4
    assert lines[-1] == "clipaudit score ./images"
    assert "what was found comes from training" in " ".join(text.split())


def test_at_eighty_columns_it_is_one_screen():
    assert len(story(SEEN, NEITHER, 80).splitlines()) <= 24


@pytest.mark.parametrize("target", [NEITHER, demonstration(0.6, 0.49, 0.7)])
def test_a_difference_that_does_not_show_is_not_claimed(target):
    text = " ".join(story(target, NEITHER, 80).split())
    assert "what was found comes from training" not in text
    assert "does not show here" in text
    assert "what was found comes" not in " ".join(story(SEEN, SEEN, 80).split())
