"""`clipaudit score --reference`: an encoder that did not see the pictures sees the same views."""

import csv
import io
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import clipaudit
from clipaudit.cli.app import main
from clipaudit.encoders.base import InputSpec
from clipaudit.errors import InferrerError, UsageError
from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers import library, reads_of
from clipaudit.inferrers.base import Inferrer
from clipaudit.inferrers.difference import DifferenceRule
from clipaudit.inferrers.library import save
from clipaudit.inferrers.norm import NormRule
from clipaudit.inferrers.threshold import MeanRule
from clipaudit.reports.formats import dump, render
from clipaudit.shadow.architectures import build
from clipaudit.shadow.encoder import save as save_encoder
from clipaudit.statistics.metrics import auc
from tests.made.inferrers import toy_card

N_VIEWS = 4


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def inferrer_in(folder, name, kind, rule, accuracy=0.5, *, has_reference):
    reads = reads_of(
        kind, "cosine", N_VIEWS, ENCODERMI.id, "embedding", has_reference=has_reference
    )
    card = toy_card(name, kind, reads, 0.1)
    figure = replace(card.evidence.accuracy, value=accuracy, high=1.0)
    card = replace(card, evidence=replace(card.evidence, accuracy=figure))
    save(Inferrer(card, rule), folder / name)


@pytest.fixture(scope="module")
def inferrers(tmp_path_factory):
    """`t`, and three that read a reference: `difference`, `norm` and, without it, `length`."""
    folder = tmp_path_factory.mktemp("inferrers")
    inferrer_in(folder, "t", "T", MeanRule(), has_reference=False)
    inferrer_in(folder, "length", "norm", NormRule(), has_reference=False)
    inferrer_in(folder, "difference", "difference", DifferenceRule(), 0.9, has_reference=True)
    inferrer_in(folder, "norm", "norm", NormRule(), 0.8, has_reference=True)
    return folder


@pytest.fixture
def run(known_truth, inferrers):
    """Score members and non-members with the named inferrers."""

    def call(*names, encoder=known_truth.overfitted, **options):
        options = {"n_views": N_VIEWS, "workers": 0, "device": "cpu", "backend": "torch", **options}
        paths = [known_truth.folder / "members", known_truth.folder / "nonmembers"]
        folders = [inferrers / name for name in names]
        return clipaudit.score(paths, encoder=encoder, inferrers=folders, **options)

    return call


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """Spec of an encoder that nobody trained, whose input is larger than that of the others."""
    folder = tmp_path_factory.mktemp("larger")
    spec = InputSpec(24, (0.5,) * 3, (0.25,) * 3, "bilinear")
    save_encoder(build("resnet-tiny", 24, seed=3), folder, "resnet-tiny", spec)
    return f"shadow:{folder}"


def scores(audit, name):
    return np.array([f.score for row in audit for f in row.findings if f.inferrer == name])


def means(audit):
    return np.array([row.mean_similarity for row in audit])


def test_the_reference_sees_the_very_same_views(run, known_truth):
    both = run("difference", references=known_truth.stranger)
    target, reference = run("t"), run("t", encoder=known_truth.stranger)
    np.testing.assert_array_equal(means(both), means(target))
    beside = [row.reference.mean_similarity for row in both]
    np.testing.assert_array_equal(beside, means(reference))
    expected = means(target) - means(reference)
    np.testing.assert_allclose(scores(both, "difference"), expected, atol=1e-6)
    assert all(
        finding.prediction == ("member" if finding.score >= 0.1 else "non-member")
        for row in both
        for finding in row.findings
    )


def test_members_stand_out_against_the_reference(run, known_truth):
    audit = run("difference", "norm", references=known_truth.stranger)
    is_member = np.array(["nonmembers" not in row.path for row in audit])
    for name in ("difference", "norm"):
        assert auc(scores(audit, name), is_member).low > 0.7
    beside = np.array([row.reference.mean_similarity for row in audit])
    estimate = auc(beside, is_member)
    assert estimate.low < 0.5 < estimate.high  # it saw neither


def test_lengths_are_compared_as_logarithms(run, known_truth):
    audit = run("length", "norm", references=known_truth.stranger)
    lengths = scores(audit, "length")
    references = [math.log(row.reference.norm) for row in audit]
    np.testing.assert_allclose(scores(audit, "norm"), lengths - references, atol=1e-5)


def test_of_several_references_the_mean_is_read(run, known_truth, larger):
    both = run("difference", "norm", references=[known_truth.stranger, larger])
    alone = [run("difference", "norm", references=one) for one in (known_truth.stranger, larger)]
    for name in ("difference", "norm"):
        expected = (scores(alone[0], name) + scores(alone[1], name)) / 2
        np.testing.assert_allclose(scores(both, name), expected, atol=1e-5)
    assert [one.spec for one in both.run.references] == [known_truth.stranger, larger]


def test_a_reference_of_another_size_sees_the_picture_at_its_own(run, larger):
    both, alone = run("difference", references=larger), run("t", encoder=larger)
    beside = [row.reference.mean_similarity for row in both]
    np.testing.assert_array_equal(beside, means(alone))


def test_what_a_reference_saw_is_kept_under_its_own_fingerprint(run, known_truth):
    first = run("difference", references=known_truth.stranger)
    assert first.run.n_from_store == 0
    again = run("difference", references=known_truth.stranger)
    assert again.run.n_from_store == len(again) == 96
    assert again.rows == first.rows
    as_target = run("t", encoder=known_truth.stranger)
    assert as_target.run.n_from_store == 96


def test_a_target_that_is_known_is_completed_by_the_reference_alone(run, known_truth):
    run("t")
    completed = run("difference", references=known_truth.stranger)
    assert completed.run.n_from_store == 0  # of each picture something was missing
    afresh = run("difference", references=known_truth.stranger, use_store=False)
    np.testing.assert_allclose(
        scores(completed, "difference"), scores(afresh, "difference"), atol=1e-6
    )


@pytest.mark.parametrize("batch_size", [1, 7])
def test_scores_do_not_depend_on_batches(run, known_truth, batch_size):
    plain = run("difference", "norm", references=known_truth.stranger, use_store=False)
    other = run(
        *("difference", "norm"),
        references=known_truth.stranger,
        use_store=False,
        batch_size=batch_size,
    )
    for name in ("difference", "norm"):
        np.testing.assert_allclose(scores(plain, name), scores(other, name), atol=1e-5)


def test_inferrers_that_read_a_reference_are_chosen_where_there_is_one(
    run, known_truth, inferrers, monkeypatch
):
    monkeypatch.setattr(library, "shipped_folder", lambda: inferrers)
    with_one = run(references=known_truth.stranger, methods="all")
    assert [one.name for one in with_one.run.inferrers] == ["difference", "norm"]  # best first
    without = run()
    assert [one.name for one in without.run.inferrers] == ["t"]


def test_where_none_is_shipped_the_error_says_how_to_make_one(
    run, known_truth, monkeypatch, tmp_path
):
    monkeypatch.setattr(library, "shipped_folder", lambda: tmp_path)
    with pytest.raises(InferrerError, match="reads a reference beside 4 views") as caught:
        run(references=known_truth.stranger)
    assert "clipaudit train --references" in caught.value.hint


# --- what it refuses -----------------------------------------------------------------------------


def test_an_inferrer_that_needs_a_reference_says_so_before_anything_is_loaded(run):
    with pytest.raises(InferrerError, match="difference reads the signals of a ref") as caught:
        run("difference", encoder="shadow:/nowhere")
    assert "Pass --reference" in caught.value.hint
    assert caught.value.exit_code == 5


def test_the_target_is_no_reference_under_any_name(run, known_truth, tmp_path):
    shutil.copytree(known_truth.folder / "overfitted", tmp_path / "other name")
    copy = f"shadow:{tmp_path / 'other name'}"
    with pytest.raises(UsageError, match="same encoder as the target") as caught:
        run("difference", references=[copy])
    assert "trained on other pictures" in caught.value.hint


def test_a_reference_counts_once(run, known_truth):
    with pytest.raises(UsageError, match="same encoder as the reference shadow:"):
        run("difference", references=[known_truth.stranger] * 2)


# --- what is written -----------------------------------------------------------------------------


def dumped(audit, style):
    file = io.BytesIO()
    dump(audit, style, file)
    return file.getvalue()


def test_every_format_names_the_reference_and_what_it_made_of_each_picture(run, known_truth):
    audit = run("difference", references=known_truth.stranger)
    fingerprint = audit.run.references[0].fingerprint
    first = audit[0].reference
    document = json.loads(dumped(audit, "json"))
    assert document["schema_version"] == "1.0"
    assert document["run"]["references"][0]["spec"] == known_truth.stranger
    assert document["run"]["config"]["references"] == [known_truth.stranger]
    assert document["rows"][0]["reference"] == {
        "mean_similarity": first.mean_similarity,
        "norm": first.norm,
    }
    head, line, *_ = map(json.loads, dumped(audit, "jsonl").splitlines())
    assert head["run"]["references"] == document["run"]["references"]
    assert line["reference"] == document["rows"][0]["reference"]
    record = next(csv.DictReader(io.StringIO(dumped(audit, "csv").decode())))
    assert (record["references"], record["reference_fingerprints"]) == (
        known_truth.stranger,
        fingerprint,
    )
    assert float(record["reference_mean_similarity"]) == first.mean_similarity
    table = pq.read_table(io.BytesIO(dumped(audit, "parquet")))
    assert table["reference_norm"][0].as_py() == first.norm
    assert (
        fingerprint
        in json.loads(table.schema.metadata[b"clipaudit.audit"])["run"]["references"][0].values()
    )
    shown = render(audit, details=True)
    assert f"{first.mean_similarity:.4f}" in shown or len(audit) > 20
    assert fingerprint[:12] in shown
    assert "reference" in shown


def test_without_a_reference_nothing_tells_of_one(run):
    audit = run("t")
    document = json.loads(dumped(audit, "json"))
    assert document["run"]["references"] == document["run"]["config"]["references"] == []
    assert {row["reference"] for row in document["rows"]} == {None}
    record = next(csv.DictReader(io.StringIO(dumped(audit, "csv").decode())))
    assert not record["references"] + record["reference_norm"]
    assert "Reference" not in render(audit, details=True)


def test_a_skipped_file_has_no_reference(run, known_truth, inferrers, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    audit = clipaudit.score(
        [tmp_path / "broken.png", known_truth.folder / "members" / "00.png"],
        encoder=known_truth.overfitted,
        references=known_truth.stranger,
        inferrers=inferrers / "difference",
        n_views=N_VIEWS,
        workers=0,
        backend="torch",
    )
    assert [row.reference is None for row in audit] == [True, False]
    records = audit.to_dicts()
    assert [record["reference_norm"] is None for record in records] == [True, False]
    for style in ("json", "jsonl", "csv", "parquet", "table"):
        assert dumped(audit, style)


def test_the_command_line_takes_it_and_repeats_it(known_truth, inferrers, larger, capsysbinary):
    line = ["score", str(known_truth.folder / "members"), "--limit=3", "--format=json", "--quiet"]
    line += [f"--encoder={known_truth.overfitted}", f"--views={N_VIEWS}", "--workers=0"]
    line += [f"--reference={known_truth.stranger}", f"--reference={larger}", "--backend=torch"]
    with pytest.raises(SystemExit) as ended:
        main([*line, f"--inferrer={inferrers / 'difference'}"])
    assert ended.value.code in (0, None)
    document = json.loads(capsysbinary.readouterr().out)
    assert [one["spec"] for one in document["run"]["references"]] == [known_truth.stranger, larger]
    assert len(document["rows"]) == 3
