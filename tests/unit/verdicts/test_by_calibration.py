"""Scores and calibrations → verdicts on an audit, and what they rest on."""

import io
from dataclasses import replace

import numpy as np
import pytest

from clipaudit.blind.caption_statistics import caption_statistics
from clipaudit.errors import InferrerError
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.pictures.preparing import Appearance
from clipaudit.pictures.random_embedding import DIM
from clipaudit.reports.formats import dump, render
from clipaudit.results.rows import Finding, Row
from clipaudit.statistics.conformal import Levels
from clipaudit.verdicts.by_calibration import fits, judge, require_use, scored_by, unique_scores
from clipaudit.verdicts.calibration_files import pack_appearances, pack_styles, unpack_styles
from tests.made.audits import ENCODER, INFERRERS, audit_of, kept, run, scored, sha256

ONE = INFERRERS[:1]
NAME = ONE[0].name


def row(path, score, content=None):
    finding = Finding(NAME, score, "member" if score >= 0.5 else "non-member")
    return Row(path, sha256(content or path), "ok", None, 0.5, (finding,))


def audit(*scores):
    return audit_of([row(f"{number}.png", score) for number, score in enumerate(scores)], ONE)


def judged(of, *made, levels=Levels(fpr=0.05), hashes=()):  # noqa: B008 -- frozen
    return judge(of, fits(of.run, made), levels, dict(hashes))


def found(of):
    return [row.findings[0] for row in of if row.findings]


def test_without_a_calibration_the_audit_is_as_it_was():
    plain = audit(0.1, 0.9)
    assert judged(plain) == plain


def test_p_values_and_verdicts_are_those_of_a_count_by_hand():
    nulls = [number / 100 for number in range(99)]  # 0.00, 0.01, …, 0.98
    got = judged(audit(0.945, 0.945, 0.495, 2.0, -1.0), kept(run(ONE), ONE[0], nulls))
    assert [one.p_value for one in found(got)] == [0.05, 0.05, 0.5, 0.01, 1.0]
    words = ["member", "member", "can't tell", "member", "can't tell"]
    assert [one.verdict for one in found(got)] == words
    # Benjamini-Hochberg of 0.01, 0.05, 0.05, 0.5, 1 by hand: 0.05, 0.25/3, 0.25/3, 0.625, 1
    assert [one.q_value for one in found(got)] == pytest.approx(
        [0.25 / 3, 0.25 / 3, 0.625, 0.05, 1.0]
    )
    assert [one.picked for one in found(got)] == [True, True, False, True, False]
    assert got.n_verdicts(NAME) == {"member": 3, "non-member": 0, "can't tell": 2}
    assert got.n_picked(NAME) == 3


def test_only_known_members_make_a_non_member():
    nulls, members = [0.0] * 99, [float(number) for number in range(1, 100)]
    low, high = found(judged(audit(-1.0, 50.5), kept(run(ONE), ONE[0], nulls, members)))
    assert (low.verdict, low.p_member) == ("non-member", 0.01)
    assert (high.verdict, high.p_member) == ("member", 0.51)


def test_facts_say_what_the_verdicts_rest_on():
    nulls, members = [float(number) for number in range(99)], [200.0, 200.0, 0.5, 0.5]
    got = judged(audit(3.0), kept(run(ONE), ONE[0], nulls, members))
    assert got.levels == Levels(fpr=0.05)
    (facts,) = got.calibrations
    assert (facts.n_null, facts.n_members, facts.n_left_out) == (99, 4, 0)
    assert (facts.smallest_p, facts.fpr.value) == (0.01, 0.05)
    assert (facts.tpr.value, facts.tpr.n) == (0.5, 4)
    assert facts.nonmembers.name == "/home/ana/unseen"


def test_known_pictures_among_the_suspects_are_left_out_to_the_byte_and_to_the_eye():
    made = kept(run(ONE), ONE[0], [float(number) for number in range(30)])
    copy, twin, *_ = made.calibration.null.image_ids
    made = replace(made, hashes=dict.fromkeys((twin,), 2**63 - 1))
    suspects = audit_of([row("a.png", 100.0, "null 0"), row("b.png", 100.0)], ONE)
    assert suspects[0].sha256 == copy
    got = judged(suspects, made, hashes={suspects[1].sha256: 2**63 - 2})
    (facts,) = got.calibrations
    assert (facts.n_left_out, facts.n_null) == (2, 28)
    assert [one.p_value for one in found(got)] == [1 / 29, 1 / 29]
    assert [one.verdict for one in found(got)] == ["member", "member"]


def test_a_calibration_of_which_nothing_is_left_is_said_and_judges_nothing():
    suspects = audit_of([row("a.png", 1.0, "null 0")], ONE)
    got = judged(suspects, kept(run(ONE), ONE[0], [0.5]))
    assert got.calibrations == ()
    assert got.levels is None
    assert "none is left" in got.calibration_notes[0]
    assert found(got)[0].verdict is None


def test_a_verdict_depends_on_no_neighbour():
    made = kept(run(ONE), ONE[0], [0.5] * 40)  # all alike: the lot decides
    alone = [found(judged(audit_of([row(name, 0.5)], ONE), made))[0].p_value for name in "abc"]
    together = judged(audit_of([row(name, 0.5) for name in "cba"], ONE), made)
    assert [one.p_value for one in found(together)] == alone[::-1]
    assert len(set(alone)) > 1


def test_copies_of_a_picture_count_once_and_get_the_same_verdict():
    made = kept(run(ONE), ONE[0], [float(number) for number in range(99)])
    twice = audit_of([row("a", 98.5), row("b", 98.5, "a"), row("c", 50.0)], ONE)
    once = audit_of([row("a", 98.5), row("c", 50.0)], ONE)
    assert found(judged(twice, made))[0] == found(judged(twice, made))[1]
    assert found(judged(twice, made))[1:] == found(judged(once, made))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_views": 4}, "a number of views of 4, and the scores with 10"),
        ({"recipe": "paper/2"}, "recipe paper/2"),
        ({"encoder": replace(ENCODER, fingerprint="9" * 64)}, "fingerprint"),
    ],
)
def test_one_that_nearly_fits_is_not_used_and_the_difference_is_said(changes, said):
    made = kept(run(ONE, **changes), ONE[0], [0.1] * 99)
    got = judged(audit(0.5), made)
    assert found(got)[0].verdict is None
    assert said in got.calibration_notes[0]
    with pytest.raises(InferrerError, match=said):
        require_use(audit(0.5).run, [made])


def test_one_of_other_weights_is_not_used():
    made = kept(run(ONE), replace(ONE[0], sha256="d" * 64), [0.1] * 99)
    assert fits(run(ONE), [made]).by_inferrer == {}
    with pytest.raises(InferrerError, match="weights"):
        require_use(run(ONE), [made])


def test_one_of_another_encoder_and_inferrer_is_none_of_our_business():
    other = run(INFERRERS[1:2], encoder=replace(ENCODER, spec="other", fingerprint="9" * 64))
    assert fits(run(ONE), [kept(other, INFERRERS[1], [0.1])]).notes == ()


def test_one_by_another_version_of_clipaudit_is_used_and_said():
    made = kept(run(ONE), ONE[0], [0.1] * 99, clipaudit_version="0.0.1")
    fitting = fits(run(ONE), [made])
    assert fitting.by_inferrer == {NAME: made}
    assert "made by clipaudit 0.0.1" in fitting.notes[0]


def test_references_count_only_for_inferrers_that_read_them():
    with_reference = run(ONE, references=(replace(ENCODER, fingerprint="8" * 64),))
    assert scored_by(with_reference, ONE[0]) == scored_by(run(ONE), ONE[0])
    reader = replace(ONE[0], reads_reference=True)
    assert scored_by(with_reference, reader).references == ("8" * 64,)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_an_error_with_the_picture_and_the_inferrer(score):
    with pytest.raises(InferrerError, match=rf"{NAME} gives '1.png' the score {score}") as caught:
        unique_scores(audit(0.5, score), NAME)
    assert "--inferrer" in caught.value.hint


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_nor_does_one_pass_where_there_is_no_calibration(score):
    with pytest.raises(InferrerError, match=f"gives '1.png' the score {score}"):
        judged(audit(0.5, score))


def appearances_of(image_ids, shift=0.0, seed=0):
    """Made-up looks of pictures; a shift of all statistics makes another kind."""
    rng = np.random.default_rng(seed)
    return {
        image_id: Appearance(
            rng.normal(shift, 1, len(STATISTICS)), rng.random(DIM, dtype=np.float32)
        )
        for image_id in image_ids
    }


def judged_beside_looks(shift, n=40, seed=0):
    of = audit_of([scored(f"{i}.png", ONE) for i in range(n)], ONE)
    made = kept(of.run, ONE[0], np.linspace(-30, -20, 120), [30, 31, 32])
    known = appearances_of(made.calibration.null.image_ids, 0.0, seed)
    made = replace(made, looks=pack_appearances(known))
    looks = appearances_of([row.sha256 for row in of.rows], shift, seed + 1_000)
    return judge(of, fits(of.run, [made]), Levels(), {}, looks)


def test_pictures_of_another_kind_keep_their_p_values_and_get_no_verdict():
    fits_well, differs = judged_beside_looks(0.0), judged_beside_looks(1.0)
    assert fits_well.calibrations[0].blind.outcome == "alike"
    assert fits_well.n_verdicts(ONE[0].name)["member"] == 40
    assert fits_well.n_picked(ONE[0].name) == 40
    assert differs.calibrations[0].is_of_another_kind
    assert differs.n_verdicts(ONE[0].name) == {"member": 0, "non-member": 0, "can't tell": 40}
    assert differs.n_picked(ONE[0].name) == 0
    for row, other in zip(fits_well.scored, differs.scored, strict=True):
        assert row.findings[0].p_value == other.findings[0].p_value
        assert other.findings[0].reason == "of another kind"
    text = " ".join(render(differs, details=True).split())
    assert "none: these pictures are of another kind than the known non-members" in text
    assert "AUC" in text
    page = io.BytesIO()
    dump(differs, "html", page)
    assert b"The known non-members are pictures of another kind" in page.getvalue()


def judged_beside_captions(captions, n_null=120):
    of = audit_of([scored(f"{i}.png", ONE) for i in range(len(captions))], ONE)
    made = kept(of.run, ONE[0], np.linspace(-30, -20, n_null), [30, 31, 32])
    ids = made.calibration.null.image_ids
    known = {image_id: [f"a small boat by lake {i % 7}"] for i, image_id in enumerate(ids)}
    made = replace(made, caption_styles=pack_styles(known))
    texts = {row.sha256: [text] for row, text in zip(of.rows, captions, strict=True)}
    return judge(of, fits(of.run, [made]), Levels(), {}, {}, texts)


@pytest.mark.parametrize("n", [40, 12])
def test_captions_that_are_written_in_another_way_leave_no_verdict(n):
    alike = judged_beside_captions([f"a small boat by lake {i % 7}" for i in range(n)])
    assert alike.calibrations[0].captions.outcome == "alike"
    assert alike.n_verdicts(NAME)["member"] == n
    differs = judged_beside_captions([f"Photo by Anna Keller, {2000 + i}." for i in range(n)])
    assert differs.calibrations[0].captions.outcome == "different"
    assert differs.n_verdicts(NAME) == {"member": 0, "non-member": 0, "can't tell": n}
    assert differs.calibrations[0].share is None
    text = " ".join(render(differs, details=True).replace("│", " ").split())
    assert "their captions are written in another way" in text
    page = io.BytesIO()
    dump(differs, "html", page)
    assert b"The captions of the known non-members are written in another way" in page.getvalue()


def test_a_calibration_file_keeps_no_word_of_a_caption():
    made = kept(run(ONE), ONE[0], [0.0, 1.0])
    first = made.calibration.null.image_ids[0]
    packed = pack_styles({first: ["Photo by Anna Keller, 2019."]})
    written = replace(made, caption_styles=packed).to_json()
    assert b"Anna" not in written
    style = unpack_styles(packed)[first]
    assert style.tolist() == caption_statistics(["Photo by Anna Keller, 2019."]).tolist()


@pytest.mark.slow
def test_of_twenty_runs_of_the_same_kind_nearly_all_get_their_verdicts():
    refused = [judged_beside_looks(0.0, seed=seed).calibrations[0].blind for seed in range(20)]
    assert sum(check.outcome == "different" for check in refused) <= 2


def test_too_few_pictures_to_know_their_kind_are_said_to_be():
    few = judged_beside_looks(1.0, n=0)
    assert few.calibrations[0].blind.outcome == "too few"
    assert "could not be tried" in " ".join(render(few, details=True).replace("│", "").split())


def test_a_picture_of_one_colour_gets_no_verdict():
    of = audit_of([scored("a.png", ONE), scored("b.png", ONE, ("plain: one colour",))], ONE)
    made = kept(of.run, ONE[0], np.linspace(-30, -20, 120))
    got = judge(of, fits(of.run, [made]), Levels(), {})
    assert [row.findings[0].verdict for row in got.rows] == ["member", "can't tell"]
    assert got[1].findings[0].reason == "one colour"
    assert got[1].findings[0].picked is False
