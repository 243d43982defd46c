"""`clipaudit train --references`: inferrers that read the shadow encoder and references."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from clipaudit.errors import InputError, UsageError
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import score
from clipaudit.pipelines.train import train
from clipaudit.pipelines.train_config import TrainConfig
from clipaudit.pipelines.train_split import read_split
from clipaudit.seeding import stream
from clipaudit.shadow.config import PretrainConfig
from clipaudit.shadow.pretrain import Epoch
from clipaudit.shadow.procedural import draw_picture
from clipaudit.statistics.metrics import auc

KINDS = ("V", "T", "norm", "difference", "adjusted", "combined")
NAMES = {
    *("drawn-v", "drawn-t", "drawn-norm", "drawn-combined"),
    *(f"drawn-reference-{kind}" for kind in ("v", "norm", "difference", "adjusted", "combined")),
}


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 110 small pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(110):
        picture = draw_picture(stream(2, str(number), "train reference test"), 16)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def config(data, output, **changes):
    small = TrainConfig(
        data=str(data),
        output=output,
        data_name="drawn",
        size_px=16,
        n_members=25,
        n_nonmembers=20,
        n_references=2,
        pretrain=PretrainConfig(architecture="resnet-tiny", epochs=3, batch_size=10),
        kinds=KINDS,
        outputs=("embedding",),
        n_views=4,
        n_draws=2,
        device="cpu",
    )
    return replace(small, **changes)


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    return folder, train(config(pictures, folder))


def test_each_reference_sees_as_many_pictures_that_nobody_else_sees(run, pictures, tmp_path):
    folder, _ = run
    split = read_split(folder)
    groups = [split.members, split.nonmembers, *split.references]
    assert [len(group) for group in groups] == [25, 20, 25, 25]
    assert len({one for group in groups for one in group}) == 95
    train(config(pictures, tmp_path / "run", n_references=0, kinds=("T",)))
    without = read_split(tmp_path / "run")
    assert (without.members, without.nonmembers) == (split.members, split.nonmembers)
    weights = [
        (folder / name / "encoder.safetensors").read_bytes()
        for name in ("encoder", "reference-1/encoder", "reference-2/encoder")
    ]
    assert len(set(weights)) == 3


def test_every_form_of_every_kind_is_trained(run):
    folder, trained = run
    assert {one.card.name for one in trained.inferrers} == NAMES
    assert {path.name for path in (folder / "inferrers").iterdir()} == NAMES
    for inferrer in trained.inferrers:
        assert inferrer.card.reads.has_reference == ("reference" in inferrer.card.name)
        assert inferrer.card.shadow.n_references == 2


def test_scoring_with_the_references_gives_the_evidence_on_the_card(run, pictures):
    folder, trained = run
    split = read_split(folder)
    paths = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in pictures.iterdir()}
    held_out = []
    for name, group in (("members", split.members), ("nonmembers", split.nonmembers)):
        order = stream(0, name, "held out").permutation(len(group))
        held_out += [
            one for one, place in zip(group, order, strict=True) if place < len(group) // 5
        ]
    audit = score(
        [paths[one] for one in held_out],
        ScoreConfig(
            encoder=f"shadow:{folder}",
            references=tuple(f"shadow:{folder / f'reference-{number}'}" for number in (1, 2)),
            inferrers=tuple(str(folder / "inferrers" / one.card.name) for one in trained.inferrers),
            n_views=4,
            use_store=False,
            workers=0,
        ),
    )
    by_id = {row.sha256: row for row in audit}
    is_member = np.array([one in split.members for one in held_out])
    for position, inferrer in enumerate(trained.inferrers):
        findings = [by_id[one].findings[position] for one in held_out]
        scores = np.array([one.score for one in findings])
        assert auc(scores, is_member).value == pytest.approx(inferrer.card.evidence.auc.value)
        called = np.array([one.prediction == "member" for one in findings])
        assert called[is_member].mean() == inferrer.card.evidence.tpr.value


def test_a_finished_run_does_nothing_and_a_missing_reference_alone_is_made_again(
    run, pictures, tmp_path
):
    folder, trained = run
    shutil.copytree(folder, tmp_path / "run")
    seen: list[Epoch] = []
    again = train(config(pictures, tmp_path / "run"), seen.append)
    assert not seen
    assert [one.card for one in again.inferrers] == [one.card for one in trained.inferrers]
    shutil.rmtree(tmp_path / "run" / "reference-2")
    (tmp_path / "run" / "run.json").unlink()
    repeated = train(config(pictures, tmp_path / "run"), seen.append)
    assert [epoch.number for epoch in seen] == [1, 2, 3]
    assert [one.card for one in repeated.inferrers] == [one.card for one in trained.inferrers]


def test_pictures_of_the_references_count_as_used(run, pictures, tmp_path):
    folder, _ = run
    few = config(pictures, tmp_path, n_members=10, n_nonmembers=10, without=(folder,))
    with pytest.raises(InputError, match="has 15 different pictures"):
        train(few)


def test_a_run_cannot_be_continued_with_more_references(run, pictures, tmp_path):
    shutil.copytree(run[0], tmp_path / "run")
    for n_references in (0, 1):
        with pytest.raises(UsageError, match=r"other options \(n_references\)"):
            train(config(pictures, tmp_path / "run", n_references=n_references, kinds=("T",)))


def test_what_no_run_has_known_before_is_not_in_a_run_without_references(pictures, tmp_path):
    """So runs of earlier versions are still recognised as finished."""
    train(config(pictures, tmp_path / "run", n_references=0, kinds=("T",)))
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert "n_references" not in recorded


@pytest.mark.parametrize("kind", ["difference", "adjusted"])
def test_a_kind_that_reads_a_reference_needs_one(tmp_path, kind):
    with pytest.raises(UsageError, match=f"{kind} reads a reference") as caught:
        config(tmp_path, tmp_path, n_references=0, kinds=(kind,))
    assert "--references 1" in caught.value.hint


def test_fewer_references_than_none_are_refused(tmp_path):
    with pytest.raises(UsageError, match="fewer references than none"):
        config(tmp_path, tmp_path, n_references=-1)
