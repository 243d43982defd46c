"""`clipaudit evaluate` where the truth is known: encoders that we trained, sets that we made."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import clipaudit
from clipaudit.errors import InferrerError, InputError
from clipaudit.inferrers.base import Inferrer
from clipaudit.inferrers.library import find, save
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture
from tests.made.present import present

SIDE = 16


@pytest.fixture(scope="module")
def evaluate(known_truth, tmp_path_factory):
    """`clipaudit.evaluate` on one of the two encoders, with one store for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))

        def call(folder=known_truth.folder, encoder="overfitted", **options):
            spec = getattr(known_truth, encoder)
            return clipaudit.evaluate(folder, encoder=spec, workers=0, **options)

        yield call


@pytest.fixture
def copied(known_truth, tmp_path):
    """A copy of the set that a test may change."""
    for side in ("members", "nonmembers"):
        shutil.copytree(known_truth.folder / side, tmp_path / "set" / side)
    return tmp_path / "set"


def draw(folder, n, seed, change=lambda picture: picture):
    folder.mkdir(parents=True)
    for number in range(n):
        picture = draw_picture(stream(seed, f"{folder.name} {number}", "evaluate"), SIDE)
        Image.fromarray(change(picture)).save(folder / f"{number:03}.png")


def test_an_encoder_that_saw_the_members_is_found_out_by_every_inferrer(evaluate, known_truth):
    found = evaluate()
    assert [(one.method, one.shadow_data) for one in found.methods] == [
        (kind, data) for kind in "VST" for data in ("cifar10", "tiny-imagenet")
    ]
    assert all(one.figures.auc.low > 0.8 for one in found.methods)
    assert (found.members.n, found.nonmembers.n, found.n_same) == (48, 48, 0)
    assert not found.is_confounded  # both sides were drawn at random
    assert found.blind.n == (48, 48)
    # The same from the scores themselves.
    audit = clipaudit.score(
        [known_truth.folder / "members", known_truth.folder / "nonmembers"],
        encoder=known_truth.overfitted,
        inferrers="cifar10-v",
        workers=0,
    )
    truth = ["/members/" in row.path for row in audit]
    scores = [row.findings[0].score for row in audit]
    (method,) = [one for one in found.methods if one.inferrer.name == "cifar10-v"]
    assert method.figures.auc.value == pytest.approx(roc_auc_score(truth, scores))
    assert method.figures.recall.value == np.mean(
        [
            score >= method.inferrer.threshold
            for score, one in zip(scores, truth, strict=True)
            if one
        ]
    )


def test_an_encoder_that_saw_neither_side_shows_nothing(evaluate):
    found = evaluate(encoder="stranger")
    for one in found.methods:
        assert one.figures.auc.low < 0.5 < one.figures.auc.high


def test_a_reference_sharpens_what_is_seen(evaluate, known_truth):
    found = evaluate(references=known_truth.stranger)
    assert {one.method for one in found.methods} == {
        f"{kind} + reference" for kind in ("S", "norm", "adjusted", "combined")
    }
    best = max(one.figures.auc.value for one in found.methods)
    assert best >= max(one.figures.auc.value for one in evaluate(blind=False).methods)


def test_joined_non_members_are_confounded_and_a_random_split_is_not(evaluate, tmp_path):
    def joined(picture):
        other = draw_picture(stream(1, str(picture.sum()), "evaluate"), SIDE)
        return np.concatenate([picture[:, ::2], other[:, ::2]], axis=1)

    draw(tmp_path / "joined" / "members", 60, 0)
    draw(tmp_path / "joined" / "nonmembers", 60, 0, joined)
    confounded = evaluate(tmp_path / "joined", "stranger", inferrers=["cifar10-t"])
    assert confounded.is_confounded
    assert "proves nothing by itself" in confounded.summary
    assert confounded.methods[0].adjusted is not None
    draw(tmp_path / "split" / "members", 60, 0)
    draw(tmp_path / "split" / "nonmembers", 60, 0)
    assert not evaluate(tmp_path / "split", "stranger", inferrers=["cifar10-t"]).is_confounded


def test_adjusting_takes_the_confounders_share_away(evaluate, tmp_path):
    """Duller pictures embed more alike; sides that overlap in that leave counterparts."""

    def duller(picture):
        share = 0.25 + 0.75 * (picture.sum() % 97) / 96
        return (128 + (picture.astype(float) - 128) * share).astype(np.uint8)

    draw(tmp_path / "members", 120, 0, duller)
    draw(tmp_path / "nonmembers", 120, 0)
    found = evaluate(tmp_path, "stranger", inferrers=["cifar10-t"])
    assert found.is_confounded
    (method,) = found.methods
    adjusted = method.adjusted
    assert adjusted.raw == method.figures.auc
    assert adjusted.raw.low > 0.5  # of an encoder that saw neither side
    assert adjusted.adjusted.low < 0.5 < adjusted.adjusted.high


def test_shared_pictures_are_refused_by_name_or_count_on_neither_side(evaluate, copied):
    shutil.copy(copied / "members" / "07.png", copied / "nonmembers" / "copy.png")
    (copied / "nonmembers" / "link.png").symlink_to(copied / "members" / "08.png")
    pixels = np.asarray(Image.open(copied / "members" / "09.png").resize((64, 64)))
    Image.fromarray(pixels).save(copied / "nonmembers" / "near.jpg", quality=95)
    with pytest.raises(InputError, match=r"members and non-members share pictures") as caught:
        evaluate(copied)
    assert "copy.png' is a copy of" in str(caught.value)
    assert "link.png' is a copy of" in str(caught.value)
    assert "near.jpg' is a near-duplicate of" in str(caught.value)
    assert "--allow-overlap" in caught.value.hint
    allowed = evaluate(copied, allow_overlap=True)
    assert [one.member[-6:] for one in allowed.shared] == ["07.png", "08.png", "09.png"]
    assert (allowed.members.n, allowed.nonmembers.n) == (45, 48)
    assert allowed.run.config["allow_overlap"] is True
    for name in ("07.png", "08.png", "09.png"):
        (copied / "members" / name).rename(copied / name)
    for name in ("copy.png", "link.png", "near.jpg"):
        (copied / "nonmembers" / name).unlink()
    without = evaluate(copied)
    assert [one.figures for one in allowed.methods] == [one.figures for one in without.methods]


def test_copies_on_one_side_count_once_and_what_is_no_picture_is_told(evaluate, copied):
    shutil.copy(copied / "members" / "07.png", copied / "members" / "copy.png")
    (copied / "nonmembers" / "notes.txt").write_text("no picture")
    found = evaluate(copied, blind=False)
    assert (found.members.n, found.nonmembers.n, found.n_same) == (48, 48, 1)
    assert sum(found.skipped.values()) == 1
    assert [one.figures for one in found.methods] == [one.figures for one in evaluate().methods]


def test_one_side_without_pictures_is_an_error_that_says_what_it_takes(evaluate, copied):
    shutil.rmtree(copied / "nonmembers")
    (copied / "nonmembers").mkdir()
    (copied / "nonmembers" / "notes.txt").write_text("no picture")
    with pytest.raises(InputError, match=r"nonmembers' holds too few pictures") as caught:
        evaluate(copied)
    assert "of 1 files 0 count, 1 " in str(caught.value)
    assert "It takes 2 different pictures on each side" in caught.value.hint
    shutil.copytree(copied / "members", copied / "nonmembers", dirs_exist_ok=True)
    with pytest.raises(InputError, match="holds too few pictures"):
        evaluate(copied, allow_overlap=True)  # nothing is left on either side


def test_few_pictures_give_intervals_and_dashes_and_no_blind_baseline(evaluate):
    found = evaluate(limit=5)
    assert (found.members.n, found.nonmembers.n) == (5, 5)
    assert found.blind is None
    assert "takes 20 pictures on each side, and there are 5 and 5" in found.blind_missing
    assert [at.tpr for at in found.methods[0].figures.at_fpr] == [None, None]
    assert found.run.config["limit"] == 5


def test_pictures_of_one_photograph_are_no_independent_evidence(evaluate, copied):
    rows = [
        {
            "path": f"{side}/{number:02}.png",
            "label": label,
            "parents": [],
            "original_sha256": f"{side} {number // 4}",
        }
        for side, label in (("members", "potential-member"), ("nonmembers", "non-member"))
        for number in range(48)
    ]
    (copied / "manifest.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = evaluate(copied)
    assert found.label == "potential-member"
    assert found.blind_missing.endswith("no photograph in common, and on one there are 12")


def test_the_histogram_is_of_the_mean_similarity(evaluate, known_truth):
    found = evaluate(blind=False)
    audit = clipaudit.score(
        known_truth.folder / "members",
        encoder=known_truth.overfitted,
        inferrers="cifar10-t",
        workers=0,
    )
    means = [present(row.mean_similarity) for row in audit]
    counts, _ = np.histogram(means, found.similarity.edges)
    assert found.similarity.members == tuple(counts)


def test_a_score_that_is_no_number_ends_it(evaluate, tmp_path):
    sound = find("cifar10-v")
    factors = {"weight": np.float32(1e30), "spread": np.float32(1)}  # of nothing it makes nothing
    broken = {
        name: array * factors.get(name.rpartition(".")[2], np.float32(0))
        for name, array in sound.rule.arrays().items()
    }
    save(Inferrer(sound.card, type(sound.rule).from_arrays(broken)), tmp_path / "broken")
    with (
        np.errstate(all="ignore"),
        pytest.raises(InferrerError, match="which is no number to judge by"),
    ):
        evaluate(inferrers=[tmp_path / "broken"])


def test_a_run_that_is_stopped_gives_no_figures(evaluate):
    def stop(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(on_progress=stop)


def test_a_repeated_run_says_the_same(evaluate):
    assert evaluate(blind=False).methods == evaluate(blind=False).methods
