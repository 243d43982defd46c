"""`clipaudit calibrate`, `calibrations`, and what `score` makes of them and of a control."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

N_KNOWN = 30


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Pictures of the same kind as `pictures`, a copy and one that is not read."""
    folder = tmp_path_factory.mktemp("known")
    rng = np.random.default_rng(1)
    for index in range(N_KNOWN):
        pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    shutil.copy(folder / "00.png", folder / "copy.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def how(tiny):
    return [
        *("--encoder", tiny / "encoder.torchscript", "--allow-code", "--views", "4"),
        *("--inferrer", tiny / "a", "--workers", "0"),
    ]


@pytest.fixture
def calibrated(command, how, known):
    code, out, err = command("calibrate", "--nonmembers", known, *how)
    assert code == 0, err
    return out


def test_it_says_what_was_kept_and_what_that_can_decide(calibrated, known):
    assert f"non-members: {N_KNOWN} from {known}" in calibrated
    assert f"smallest p-value {1 / (N_KNOWN + 1):.2g}" in calibrated
    assert "an FPR of 1 % cannot be decided" in calibrated
    assert "needs 99 non-members, and there are 30: add pictures, or pass it --fpr 0.04" in (
        " ".join(calibrated.split())
    )
    assert "32 files read, 1 skipped" in calibrated
    assert "1 copy or near-duplicate passed over" in calibrated


def test_calibrations_are_listed_shown_and_removed(calibrated, command):
    name = calibrated.partition(":")[0]
    code, out, _ = command("calibrations")
    assert code == 0
    assert name in out
    code, out, _ = command("calibrations", "show", name[:5])
    assert code == 0
    assert out.splitlines()[0] == calibrated.splitlines()[0]
    assert command("calibrations", "remove", name)[0] == 0
    assert "No calibration is kept" in command("calibrations", "list")[1]
    code, _, err = command("calibrations", "show", name)
    assert code == 5
    assert "hint:" in err


def test_score_has_verdicts_from_then_on_and_the_same_rows(command, how, pictures, known):
    before = json.loads(command("score", pictures, *how, "-f", "json")[1])
    command("calibrate", "--nonmembers", known, *how)
    code, out, err = command("score", pictures, *how, "-f", "json", "--fpr", "0.05")
    assert code == 0, err
    after = json.loads(out)
    assert after["levels"]["fpr"] == 0.05
    decided = {"p_value", "q_value", "verdict", "reason", "picked"}
    for old, new in zip(before["rows"], after["rows"], strict=True):
        for finding in new["findings"]:
            assert finding.keys() >= decided
            finding.update(dict.fromkeys(decided))
        assert old == new
    unasked = json.loads(command("score", pictures, *how, "-f", "json", "--no-calibration")[1])
    for document in (before, unasked):  # when and how it was run is not the same
        for fact in ("command", "started_at", "seconds", "n_from_store"):
            del document["run"][fact]
    assert unasked == before


def test_known_members_make_it_possible_to_call_a_picture_a_non_member(
    command, how, known, pictures, tmp_path
):
    for half in ("low", "high"):
        (tmp_path / half).mkdir()
    for index in range(N_KNOWN):
        shutil.copy(known / f"{index:02}.png", tmp_path / ("low" if index < 10 else "high"))
    code, out, err = command(
        *("calibrate", "--nonmembers", tmp_path / "low", "--members", tmp_path / "high", *how)
    )
    assert code == 0, err
    assert f"members: 20 from {tmp_path / 'high'}" in out
    document = json.loads(command("score", pictures, *how, "-f", "json", "--fnr", "0.2")[1])
    (facts,) = document["calibrations"]
    assert (facts["n_null"], facts["n_members"]) == (10, 20)
    code, _, err = command("calibrate", "--nonmembers", known, "--members", tmp_path / "low", *how)
    assert code == 3
    assert "10 pictures are both a known member and a known non-member" in err


def test_suspects_that_are_part_of_the_calibration_are_left_out_of_it(
    calibrated, command, how, known
):
    document = json.loads(command("score", known / "00.png", *how, "-f", "json")[1])
    (facts,) = document["calibrations"]
    assert (facts["n_left_out"], facts["n_null"]) == (1, N_KNOWN - 1)


def test_a_calibration_for_other_views_is_not_used_and_the_table_says_why(
    calibrated, command, how, pictures, tiny
):
    del calibrated
    bare = [one for one in how if one not in ("--inferrer", tiny / "a")]
    wanted = [*bare, "--inferrer", tiny / "b"]  # another inferrer has no calibration at all
    text = " ".join(command("score", pictures, *wanted, "--details")[1].replace("│", " ").split())
    assert "Uncalibrated how often b errs" in text
    assert "to calibrate: clipaudit calibrate --encoder" in text


def test_a_file_of_a_calibration_must_fit(calibrated, command, how, pictures, tiny, tmp_path):
    kept = tmp_path / "mine.json"
    (path,) = (tmp_path / "cache" / "calibrations").iterdir()
    shutil.move(path, kept)
    code, out, err = command("score", pictures, *how, "--calibration", kept, "-f", "json")
    assert code == 0, err
    assert json.loads(out)["calibrations"]
    document = json.loads(kept.read_text())
    document["calibration"]["scored_by"]["encoder"] = "9" * 64
    kept.write_text(json.dumps(document))
    code, out, err = command("score", pictures, *how, "--calibration", kept)
    assert (code, out) == (5, "")
    assert "fingerprint" in err
    kept.write_text("{}")
    assert command("score", pictures, *how, "--calibration", kept)[0] == 5
    assert command("score", pictures, *how, "--calibration", tmp_path / "missing")[0] == 5
    assert command("score", pictures, *how, "--calibration", kept, "--no-calibration")[0] == 2
    del calibrated, tiny


@pytest.mark.parametrize("option", ["--fpr", "--fnr", "--fdr", "--alpha"])
def test_rates_are_between_0_and_1(command, how, pictures, option):
    for value in ("0", "1", "nan"):
        code, out, err = command("score", pictures, *how, option, value)
        assert (code, out) == (2, "")
        assert option in err


@pytest.mark.parametrize("alpha", ["0.3", "0.0501", "0.49", "0.5"])
def test_a_level_above_5_percent_is_refused_for_it_would_call_chance_evidence(
    command, how, pictures, known, alpha
):
    code, out, err = command("score", pictures, *how, "--control", known, "--alpha", alpha)
    assert (code, out) == (2, "")
    assert f"--alpha must be at most 0.05, got {alpha}" in err
    assert command("score", pictures, *how, "--control", known, "--alpha", "0.05")[0] == 0


def test_a_control_gives_a_verdict_on_the_folder_in_every_format(command, how, pictures, known):
    code, out, err = command("score", pictures, *how, "--control", known, "--details")
    assert code == 0, err
    text = " ".join(out.replace("│", " ").split())
    assert "the 4 suspect pictures were not shown to get higher membership scores" in text
    assert f"30 of the control {known} (31 of its 32 files were scored)" in text
    assert "of format, size, metadata and margins alone" in text
    assert "n = 4 and 30, too few for more" in text
    comparison = json.loads(command("score", pictures, *how, "--control", known, "-f", "json")[1])
    comparison = comparison["comparison"]
    assert comparison["sentence"] in text
    assert (comparison["grade"], comparison["n_looks"]) == ("no evidence", 1)
    assert comparison["n_near_duplicates"] == 1


def test_a_control_that_overlaps_is_refused_by_name_unless_that_is_allowed(
    command, how, pictures, known, tmp_path
):
    control = shutil.copytree(known, tmp_path / "control")
    shutil.copy(pictures / "picture 1.png", control / "taken.png")
    with Image.open(pictures / "picture 2.png") as picture:
        picture.convert("L").save(control / "grey.png")
    code, out, err = command("score", pictures, *how, "--control", control)
    assert (code, out) == (3, "")
    assert f"'{control}/taken.png' is a copy of '{pictures}/picture 1.png'" in err
    assert f"'{control}/grey.png' is a near-duplicate of '{pictures}/picture 2.png'" in err
    assert "--allow-overlap" in err
    code, out, err = command(
        *("score", pictures, *how, "--control", control, "--allow-overlap", "-f", "json")
    )
    assert code == 0, err
    comparison = json.loads(out)["comparison"]
    assert len(comparison["overlaps"]) == 2
    assert comparison["by_inferrer"][0]["unpaired"]["n_control"] == N_KNOWN


def test_a_control_that_is_not_there_is_said_before_the_run(command, how, pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    for control in (tmp_path / "missing", tmp_path / "empty"):
        code, out, err = command("score", pictures, *how, "--control", control)
        assert (code, out) == (3, "")
        assert "holds no picture" in err


def test_non_members_that_give_no_picture_are_an_input_error(command, how, tmp_path):
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "notes.txt").write_text("text")
    code, _, err = command("calibrate", "--nonmembers", tmp_path / "some", *how)
    assert code == 3
    assert "none of the non-members could be scored: 1 not_an_image" in err
