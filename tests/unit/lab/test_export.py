import hashlib
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from clipaudit.cli.app import main
from clipaudit.encoders.base import EncoderOptions
from clipaudit.errors import UsageError
from clipaudit.features.signals import first_views
from clipaudit.inferrers.library import load
from clipaudit.lab.export import ExportConfig, export
from clipaudit.lab.judging import look_of
from clipaudit.lab.matrix import read_matrix
from clipaudit.lab.measurements import read_signals
from clipaudit.shadow.encoder import load as load_encoder
from tests.made.labs import plan_of


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def units(small_lab):
    """Target and shadow of full knowledge."""
    made = plan_of(small_lab).units.values()
    return {one.role: one for one in made if one.data == "drawn"}


@pytest.fixture(scope="module")
def exported(small_lab, tmp_path_factory):
    """T and V of the small lab, and the folder that they are in."""
    into = tmp_path_factory.mktemp("exported")
    config = ExportConfig("drawn", into, ("cosine", "pearson"), n_views=3, command="as typed")
    matrix = read_matrix(str(small_lab.matrix))
    return into, export(plan_of(small_lab), matrix, config)


def values_of(unit, reads, draw):
    signals, _ = read_signals(unit, replace(look_of(unit, reads.output), draw=draw))
    return first_views(signals, reads.n_views).pairs(reads.similarity)


def test_there_is_one_of_each_kind_for_every_similarity_and_output(exported):
    into, inferrers = exported
    names = {one.card.name for one in inferrers}
    expected = {
        f"drawn{output}{similarity}-{kind}"
        for output in ("", "-trunk")
        for similarity in ("", "-pearson")
        for kind in "vt"
    }
    assert names == expected == {path.name for path in into.iterdir()}


def test_what_is_written_is_what_was_made(exported):
    into, inferrers = exported
    for inferrer in inferrers:
        again = load(into / inferrer.card.name)
        assert again.card == inferrer.card
        reads = inferrer.card.reads
        values = np.random.default_rng(0).random((5, 3), dtype=np.float32)
        np.testing.assert_array_equal(again.rule.score(values), inferrer.rule.score(values))
        assert reads.n_views == 3


def test_a_card_tells_what_the_inferrer_does_on_the_target_that_it_never_met(exported, units):
    for inferrer in exported[1]:
        card, target = inferrer.card, units["target"]
        called = inferrer.rule.score(values_of(target, card.reads, 0)) >= card.threshold
        n = target.n_members
        assert card.evidence.tpr.value == called[:n].mean()
        assert card.evidence.fpr.value == called[n:].mean()
        assert card.evidence.accuracy.value == pytest.approx(
            (called[:n].sum() + (~called[n:]).sum()) / (2 * n)
        )
        assert (card.n_targets, card.evidence.accuracy.n, card.evidence.tpr.n) == (1, 2 * n, n)


def test_an_inferrer_learns_from_all_draws_of_the_shadow_encoder(exported, units):
    shadow = units["shadow"]
    t = next(one for one in exported[1] if one.card.name == "drawn-t")
    means = np.concatenate(
        [values_of(shadow, t.card.reads, draw).mean(axis=1, dtype=np.float64) for draw in (0, 1)]
    )
    is_member = np.tile(np.arange(2 * shadow.n_members) < shadow.n_members, 2)
    cuts = np.concatenate([np.sort(means), [np.inf]])
    gains = [(means >= cut)[is_member].mean() - (means >= cut)[~is_member].mean() for cut in cuts]
    called = means >= t.card.threshold
    gain = called[is_member].mean() - called[~is_member].mean()
    assert gain == pytest.approx(max(gains))
    assert t.card.n_fitted == 2 * shadow.n_members


def test_a_card_names_the_shadow_encoder(exported, units):
    card = exported[1][0].card
    shadow = units["shadow"]
    encoder = load_encoder(
        str(shadow.folder), EncoderOptions(output=card.reads.output, device="cpu")
    )
    assert card.shadow.encoder == encoder.info.fingerprint
    assert (card.shadow.data, card.shadow.n_encoders, card.shadow.n_members) == ("drawn", 1, 10)
    assert (card.shadow.architecture, card.shadow.algorithm) == ("resnet-tiny", "simclr")
    assert card.shadow.size_px == 16


def test_several_shadow_encoders_have_one_fingerprint_in_their_order():
    from types import SimpleNamespace

    from clipaudit.lab.export import _fingerprint

    encoders: Any = [SimpleNamespace(fingerprint=letter * 64) for letter in "ab"]
    assert _fingerprint(encoders) == hashlib.sha256(b"a" * 64 + b"b" * 64).hexdigest()
    assert _fingerprint(encoders[:1]) == "a" * 64


def test_a_data_set_without_full_knowledge_is_told_of(small_lab, tmp_path):
    with pytest.raises(UsageError, match="no experiment of kind background") as caught:
        export(
            plan_of(small_lab),
            read_matrix(str(small_lab.matrix)),
            ExportConfig("other", tmp_path, n_views=3),
        )
    assert "--data-set" in caught.value.hint


def test_a_lab_that_is_not_finished_is_told_of(small_lab, units, tmp_path):
    lab = replace(small_lab, folder=tmp_path / "lab")
    shutil.copytree(small_lab.folder, lab.folder)
    shutil.rmtree(lab.folder / "encoders" / units["target"].key / "signals")
    with pytest.raises(UsageError, match="1 of the 2 encoders that are needed") as caught:
        export(
            plan_of(lab),
            read_matrix(str(lab.matrix)),
            ExportConfig("drawn", tmp_path / "into", n_views=3),
        )
    assert "clipaudit lab run" in caught.value.hint


def test_the_command_says_how_each_did_and_writes_how_to_repeat_it(small_lab, tmp_path, capsys):
    line = ["lab", "export", str(small_lab.matrix), "--data-set", "drawn", "--into"]
    line += [str(tmp_path / "into"), "-o", str(small_lab.folder)]
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code in (0, None)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert all(": accuracy " in one for one in said)
    card = load(tmp_path / "into" / "drawn-t").card
    assert card.command.startswith("clipaudit lab run ")
    assert " && clipaudit lab export " in card.command
