import io
import re
from dataclasses import replace
from functools import partial

import pytest
from rich.cells import cell_len
from rich.console import Console

from clipaudit.reports.audit.table import show
from clipaudit.reports.formats import render
from clipaudit.reports.tables import plain_text
from tests.made.audits import (
    INFERRERS,
    audit_of,
    calibrated,
    controlled,
    realistic,
    scored,
    skipped,
)


def as_text(result, width, *, details=True):
    return plain_text(partial(show, result, details=details), width)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("n_inferrers", [0, 1, 2, 3])
def test_no_line_is_wider_than_the_screen(width, n_inferrers):
    text = as_text(realistic(40, INFERRERS[:n_inferrers]), width)
    assert max(map(cell_len, text.splitlines())) <= width


def test_a_pipe_gets_the_width_that_columns_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(cell_len, render(realistic(40)).splitlines())) == 80


def test_both_ends_of_the_ranking_are_shown_in_order():
    rows = [scored(f"{i}.png", INFERRERS[:1]) for i in range(50)]
    audit = audit_of(rows, INFERRERS[:1])
    text = as_text(audit, 100)
    ranked = [row.path for row in audit.ranked()]
    shown = [line.split()[0] for line in text.splitlines() if ".png" in line]
    assert shown == ranked[:10] + ranked[-10:]
    assert "Most like members (10 of 50)" in text
    assert "Least like members (10 of 50)" in text


def test_few_images_are_shown_once():
    text = as_text(audit_of([scored(f"{i}.png") for i in range(20)]), 100)
    assert "All 20 images" in text
    for index in range(20):
        assert text.count(f"\n{index}.png ") == 1


def test_at_eighty_columns_scores_predictions_and_the_end_of_a_name_are_whole():
    row = scored("some/very/long/folder/name/that/goes/on/and/on/picture-17.png")
    text = as_text(audit_of([row, scored("other.png")]), 80)
    assert "picture-17.png" in text
    for finding in row.findings:
        assert f"{finding.score:.3f}" in text
    assert f"{row.mean_similarity:.4f}" in as_text(audit_of([row]), 120)


def test_the_common_folder_is_named_once():
    text = as_text(audit_of([scored("pictures/2021/a.png"), scored("pictures/2022/b.png")]), 80)
    assert text.count("pictures/") == 1
    assert "2021/a.png" in text


@pytest.mark.parametrize("paths", [["/a.png", "/b.png"], ["/x/a.png", "x/b.png"], ["one.png"]])
def test_names_without_a_common_folder_stay_whole(paths):
    text = as_text(audit_of([scored(path) for path in paths]), 80)
    for path in paths:
        assert path in text


def test_the_summary_counts_and_explains():
    audit = realistic(500)
    text = as_text(audit, 120)
    assert "503 read, 500 scored, 3 skipped" in text
    assert "2 truncated, 1 not an image" in text
    for inferrer in INFERRERS:
        assert f"{audit.n_predicted(inferrer.name)} of 500" in text
        assert inferrer.evidence in text
    assert text.count(INFERRERS[0].trained_on) == 1
    assert "fingerprint 3fa9c1d23fa9" in text
    assert "10 an image by recipe paper/1, cosine, seed 0" in text
    assert "120 known from an earlier run" in text
    joined = " ".join(text.replace("│", " ").split())
    assert "not calibrated for ViT-B-32/openai" in joined
    assert "nothing here proves that one picture was used" in joined


def test_an_interrupted_run_says_so():
    stopped = as_text(audit_of([scored("a.png")], interrupted=True), 80)
    assert "stopped before its end" in stopped.partition("a.png")[0]
    assert "stopped" not in as_text(audit_of([scored("a.png")]), 80)


def test_many_skipped_files_are_counted_not_listed():
    text = as_text(audit_of([skipped(f"{i}.png") for i in range(500)]), 80)
    assert "and 490 more" in text
    assert "no picture could be scored" in text


def test_without_inferrers_nothing_is_said_of_members_found():
    text = as_text(audit_of([scored("a.png", ())], ()), 80)
    assert "member-like" not in text
    assert "proves nothing" in text
    assert "Similarity alone decides nothing" in text.replace("similarity", "Similarity")


def test_markup_in_names_is_text():
    text = as_text(audit_of([scored("[red]a[/red].png"), skipped("[/]b.png", "[bold]: x")]), 100)
    assert "[red]a[/red].png" in text
    assert "[/]b.png" in text
    assert "[bold]: x" in text


def test_a_terminal_gets_colour_unless_no_color_is_set(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for no_color, expected in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        file = io.StringIO()
        show(realistic(5), Console(file=file, force_terminal=True, width=80))
        assert ("\x1b[1;36m" in file.getvalue()) == expected


def joined(text):
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_with_verdicts_is_wider_than_the_screen(width):
    text = as_text(controlled(calibrated(realistic(40))), width)
    assert max(map(cell_len, text.splitlines())) <= width


def test_an_uncalibrated_run_says_so_and_how_to_calibrate():
    text = joined(as_text(realistic(40), 100))
    assert "Uncalibrated how often cifar10-v, cifar10-s, cifar10-t errs on this encoder" in text
    assert "clipaudit calibrate --encoder ViT-B-32/openai --nonmembers FOLDER" in text
    assert "99 at least for an FPR of 1 %" in text


def test_verdicts_come_with_their_counts_their_sets_and_what_chance_would_do():
    audit = calibrated(realistic(200), n_null=150, n_members=40)
    text = joined(as_text(audit, 100))
    counts = audit.n_verdicts("cifar10-v")
    assert sum(counts.values()) == 200
    assert counts["member"] > 0
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    chance = "chance alone would call 1.3 (0 to 6) members"
    assert f"Verdicts by cifar10-v {words}, of 200; {chance}" in text
    found = f"of 200 pictures {counts['member']} are called members; {chance}"
    assert found.removesuffix(" members") in text
    # One null score of 151 may lie above: 1/151 of 200 pictures.
    assert "FPR 1 %: if none of the 200 were a member, 1.3 would be called so by chance" in text
    assert "150 from /home/ana/unseen, made 2026-11-24; smallest p 0.0066" in text
    assert "40 from /home/ana/seen" in text
    assert "no known members" in text  # of the second inferrer
    assert "Read as members" in text  # of the third, which has no calibration
    assert "how often cifar10-t errs" in text
    assert "not calibrated for" in text


def test_too_few_non_members_say_how_many_are_needed():
    text = joined(as_text(calibrated(realistic(40), n_null=98), 100))
    assert "that takes 99 known non-members, and there are 98" in text


def test_where_all_inferrers_are_calibrated_the_explanation_is_of_verdicts():
    audit = calibrated(realistic(40, INFERRERS[:2]))
    text = joined(as_text(audit, 100))
    assert "Uncalibrated" not in text
    assert "not calibrated" not in text
    assert "It does not prove that this one picture was used" in text


def test_the_verdict_on_the_folder_has_its_sentence_and_its_evidence():
    audit = controlled(realistic(40))
    text = joined(as_text(audit, 100))
    assert audit.comparison.sentence in text
    assert "40 suspects, 30 of the control /home/ana/control (30 of its 30 files" in text
    assert "the result is that of cifar10-v, the first inferrer" in text
    assert "no difference was found that needs no encoder" in text
    assert "AUC 0.520 (0.440 to 0.600, n = 530)" in text
    for result in audit.comparison.by_inferrer:
        assert f"p = {result.unpaired.p:.3g}" in text


def test_an_unfair_control_is_said_before_anything_else():
    audit = controlled(realistic(40), outcome="different")
    assert audit.comparison.sentence.startswith("This comparison allows no conclusion")
    assert "this is no fair control" in joined(as_text(audit, 100))


def test_why_a_calibration_was_not_used_is_said_whether_or_not_others_were():
    audit = calibrated(realistic(40, INFERRERS[:2]))
    for judged in (audit, realistic(40)):
        noted = replace(judged, calibration_notes=("cifar10-t: made with 8 views",))
        assert "Note cifar10-t: made with 8 views" in joined(as_text(noted, 100))


def test_copies_take_one_place_with_their_number():
    star = replace(scored("star.png", INFERRERS[:1]), mean_similarity=0.9)
    star = replace(star, findings=(replace(star.findings[0], score=99.0),))
    others = [scored(f"{i}.png", INFERRERS[:1]) for i in range(30)]
    stars = [replace(star, path=f"star {i}.png") for i in range(12)]
    text = as_text(audit_of([*others, star, *stars], INFERRERS[:1]), 100)
    assert "Most like members (10 of 31 different)" in text
    assert text.count("star") == 1
    assert re.search(r"star 0\.png +\+ 12 ", text)
    assert "All 1 " not in as_text(audit_of([star, stars[0]], INFERRERS[:1]), 100)
    assert re.search(r"star 0\.png +\+ 1 ", as_text(audit_of([star, stars[0]], INFERRERS[:1]), 100))
