"""On ground truth: what p-values and the folder's verdict come to where membership is known."""

import numpy as np
import pytest
from PIL import Image
from scipy import stats

import clipaudit
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture

SIDE = 16
FPR = 0.05


@pytest.fixture(scope="module")
def truth(known_truth, tmp_path_factory):
    """`known_truth`, and pictures that neither of its encoders saw: `known` and `fresh` ones."""
    folder = tmp_path_factory.mktemp("unseen")
    for group, n in (("known", 120), ("fresh", 100)):
        (folder / group).mkdir()
        for number in range(n):
            picture = draw_picture(stream(0, f"{group} {number}", "unseen"), SIDE)
            Image.fromarray(picture).save(folder / group / f"{number:03}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPAUDIT_CACHE_DIR", str(folder / "cache"))
        yield known_truth, folder


@pytest.fixture(scope="module")
def score(truth):
    def call(paths, encoder="overfitted", **options):
        spec = getattr(truth[0], encoder)
        chosen = {"inferrers": "cifar10-t", "workers": 0, "fpr": FPR, **options}
        return clipaudit.score(paths, encoder=spec, **chosen)

    return call


@pytest.fixture(scope="module")
def calibrated(truth):
    known, folder = truth
    return clipaudit.calibrate(
        folder / "known", encoder=known.overfitted, inferrers="cifar10-t", workers=0
    )


def p_values(audit):
    return np.array([row.findings[0].p_value for row in audit.scored])


def test_what_is_kept_says_what_it_is_made_from(calibrated, truth):
    (kept,) = calibrated.calibrations
    assert kept.nonmembers.name == str(truth[1] / "known")
    assert len(kept.calibration.null) == kept.nonmembers.n == 120 - calibrated.n_same
    assert calibrated.n_same <= 3


def test_members_get_small_p_values_and_fresh_non_members_uniform_ones(calibrated, truth, score):
    del calibrated
    known, folder = truth
    members, fresh = score(known.folder / "members"), score(folder / "fresh")
    assert np.median(p_values(members)) < 0.05
    assert members.n_verdicts("cifar10-t")["member"] >= 15
    assert stats.kstest(p_values(fresh), "uniform").pvalue > 0.01
    # 5 % of 100 is 5; more than 12 would be seen in one of a thousand such tests.
    assert fresh.n_verdicts("cifar10-t")["member"] <= 12
    assert fresh.n_verdicts("cifar10-t")["non-member"] == 0  # no member is known
    assert members.n_picked("cifar10-t") > 10 > fresh.n_picked("cifar10-t")


def test_scores_do_not_change_and_a_repeated_run_says_the_same(calibrated, truth, score):
    del calibrated
    folder = truth[0].folder / "members"
    plain, first, second = score(folder, calibrations=[]), score(folder), score(folder)
    assert first.rows == second.rows
    for one, other in zip(plain, first, strict=True):
        assert one.findings[0].score == other.findings[0].score
        assert one.findings[0].verdict is None


def test_a_calibration_of_another_encoder_is_not_used(calibrated, truth, score):
    del calibrated
    audit = score(truth[0].folder / "members", encoder="stranger")
    assert audit.calibrations == ()
    assert {row.findings[0].verdict for row in audit.scored} == {None}


def test_a_run_that_is_stopped_keeps_no_calibration_and_gives_no_comparison(truth, score):
    known, folder = truth

    def stop(step):
        raise KeyboardInterrupt

    before = sorted((folder / "cache" / "calibrations").iterdir())
    with pytest.raises(KeyboardInterrupt):
        clipaudit.calibrate(
            folder / "fresh",
            encoder=known.stranger,
            inferrers="cifar10-t",
            workers=0,
            on_progress=stop,
        )
    assert sorted((folder / "cache" / "calibrations").iterdir()) == before
    controls = []

    def stop_in_the_control(step):
        controls.append(step.done)
        if controls.count(step.done) > 1:  # it starts anew
            raise KeyboardInterrupt

    audit = score(
        known.folder / "members",
        control=known.folder / "nonmembers",
        on_progress=stop_in_the_control,
    )
    assert len(audit.scored) == 48
    assert audit.run.interrupted
    assert audit.comparison is None


def test_a_control_shows_that_the_set_was_used_and_shows_nothing_where_it_was_not(truth, score):
    known, folder = truth
    used = score(known.folder / "members", control=known.folder / "nonmembers").comparison
    (result,) = used.by_inferrer
    assert result.outcome == "higher"
    assert result.unpaired.p <= 1e-4  # one of 10,000 permutations
    assert result.unpaired.effect.low > 0.7
    assert result.paired is not None  # the files are called alike
    assert used.blind.outcome == "alike"
    assert "is weak evidence that pictures of this set were used" in used.sentence
    unused = score(folder / "fresh", control=known.folder / "nonmembers").comparison
    assert unused.by_inferrer[0].outcome == "not shown"
    assert unused.by_inferrer[0].paired is None
    stranger = score(
        known.folder / "members", encoder="stranger", control=known.folder / "nonmembers"
    )
    assert stranger.comparison.by_inferrer[0].outcome == "not shown"


def test_a_control_of_another_kind_is_found_out_without_the_encoder(truth, score, tmp_path):
    known, folder = truth
    for number in range(40):
        picture = draw_picture(stream(1, str(number), "unseen"), SIDE) // 2  # darker
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    comparison = score(known.folder / "members", control=tmp_path).comparison
    assert comparison.blind.outcome == "different"
    assert comparison.sentence.startswith("This comparison allows no conclusion")
    assert comparison.grade == "no conclusion"
    del folder


def test_a_reference_serves_as_negative_control_and_hides_no_trace(truth, score):
    known, folder = truth
    against = {"control": known.folder / "nonmembers", "references": known.stranger}
    used = score(known.folder / "members", **against).comparison
    assert used.grade == "evidence"
    assert used.negative_control.outcome == "silent"
    assert used.by_inferrer[0].share.low > 0.3
    assert f"less what {known.stranger} explains of them" in used.sentence
    unused = score(folder / "fresh", **against).comparison
    assert unused.grade in {"no evidence", "no conclusion"}


def drawing(number):
    """A disc on a plain ground: a kind of picture that no photograph or texture is."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    row, column, radius = rng.uniform(4, 12, 3)
    ground, ink = rng.integers(0, 256, (2, 3))
    is_ink = (rows - row) ** 2 + (columns - column) ** 2 < (radius / 2) ** 2
    return np.where(is_ink[..., None], ink, ground).astype(np.uint8)


def test_drawings_against_a_calibration_of_textures_get_no_verdict(calibrated, score, tmp_path):
    del calibrated
    for number in range(60):
        Image.fromarray(drawing(number)).save(tmp_path / f"{number}.png")
    audit = score(tmp_path)
    (facts,) = audit.calibrations
    assert facts.is_of_another_kind
    assert (p_values(audit) <= FPR).sum() > 9  # of 60, where 3 were announced
    assert audit.n_verdicts("cifar10-t")["member"] == audit.n_picked("cifar10-t") == 0
