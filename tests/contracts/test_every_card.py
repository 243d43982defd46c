"""What holds for every inferrer that ships with the package."""

import math
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clipaudit.features.views import RECIPES
from clipaudit.inferrers.card_text import render
from clipaudit.inferrers.library import CARD, TEXT, WEIGHTS, load, shipped_folder

MEGABYTE = 1_000_000
FOLDERS = sorted(path.parent for path in shipped_folder().glob(f"*/{CARD}"))
assert FOLDERS, f"nothing is shipped in {shipped_folder().name}"


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


def test_it_loads_and_scores(folder):
    inferrer = load(folder)
    shape = inferrer.card.reads.shape
    values = np.linspace(0.5, 1, math.prod(shape), dtype=np.float32).reshape(1, *shape)
    assert np.isfinite(inferrer.rule.score(values)).all()


def test_its_folder_has_its_name_and_nothing_but_its_three_files(folder):
    assert load(folder).card.name == folder.name
    assert {path.name for path in folder.iterdir()} == {CARD, TEXT, WEIGHTS}


def test_its_card_for_people_is_made_from_its_card(folder):
    again = "; to write it anew: save(load(folder), folder)"
    assert (folder / TEXT).read_text(encoding="utf-8") == render(load(folder).card), again


def test_what_others_reached_is_what_the_results_in_docs_say():
    """Where this fails: python docs/make_cards.py."""
    script = Path(__file__).parents[2] / "docs" / "make_cards.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_it_reads_what_we_make(folder):
    assert load(folder).card.reads.recipe in RECIPES


def test_what_reads_a_reference_learned_beside_one_and_is_small(folder):
    card = load(folder).card
    assert card.reads.has_reference == (card.shadow.n_references > 0)
    if card.reads.has_reference:
        assert card.n_targets
        assert size(folder) < MEGABYTE / 10


def test_its_card_says_how_to_make_it_without_naming_a_machine(folder):
    card = load(folder).card
    assert card.command.startswith(("clipaudit train ", "clipaudit lab run "))
    assert card.shadow.n_members * card.shadow.n_encoders >= 300
    assert not any(part.startswith("/") for part in shlex.split(card.command))


def test_its_figures_are_those_of_pictures_that_it_was_not_fitted_to(folder):
    card = load(folder).card
    n_pictures = (card.shadow.n_members + card.shadow.n_nonmembers) * card.shadow.n_encoders
    evidence = card.evidence
    assert evidence.accuracy.n == evidence.auc.n
    if card.n_targets:
        assert evidence.accuracy.n >= 500
    else:
        assert evidence.accuracy.n == n_pictures - card.n_fitted
    assert evidence.tpr.n + evidence.fpr.n == evidence.accuracy.n
    for figure in (evidence.accuracy, evidence.tpr, evidence.fpr, evidence.auc):
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_it_is_small(folder):
    assert size(folder) < 5 * MEGABYTE


def test_all_together_are_small():
    assert sum(map(size, FOLDERS)) < 40 * MEGABYTE
