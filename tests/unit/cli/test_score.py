import csv
import io
import json
import shlex
import sys

import pytest
from PIL import Image


@pytest.fixture
def score(tiny, command):
    """Run `clipaudit score` on the tiny encoder; gives exit code, stdout and stderr."""

    def run(*arguments, encoder=True):
        given = ["score", *arguments]
        if encoder:
            given += ["--encoder", str(tiny / "encoder.torchscript"), "--allow-code"]
            given += ["--views", "4", "--inferrer", str(tiny / "a"), "--workers", "1"]
        return command(*given)

    return run


def rows(text):
    return {row["path"].rsplit("/")[-1]: row for row in csv.DictReader(io.StringIO(text))}


def test_the_result_is_on_stdout_and_nothing_else(score, pictures):
    code, out, err = score(pictures)
    assert code == 0
    assert "picture 3.png" in out
    assert "5 read, 4 scored, 1 skipped" in out
    assert "Not asked yet: scores alone decide nothing." in out
    assert out.count("member-like") == 4
    assert "4 of 4 (100.0 %) by a" in score(pictures, "--details")[1]
    assert "\x1b" not in out
    assert err == ""


def test_every_format_is_printed_and_parses(score, pictures):
    document = json.loads(score(pictures, "--format", "json")[1])
    assert len(document["rows"]) == 5
    lines = [json.loads(line) for line in score(pictures, "-f", "jsonl")[1].splitlines()]
    assert lines[0]["run"]["n_from_store"] == 4
    assert rows(score(pictures, "-f", "csv")[1]).keys() >= {"picture 0.png", "notes.png"}


def test_a_run_with_a_larger_limit_before_changes_nothing(score, pictures):
    limits = ("--max-megapixels", "0.001")
    before = json.loads(score(pictures, "-f", "json", *limits, "--no-cache")[1])
    larger = json.loads(score(pictures, "-f", "json", "--max-megapixels", "400")[1])
    after = json.loads(score(pictures, "-f", "json", *limits)[1])
    assert {row["status"] for row in before["rows"]} == {"skipped"}
    assert larger["rows"] != before["rows"]
    assert after["rows"] == before["rows"]
    assert json.loads(score(pictures, "-f", "json")[1])["rows"] == larger["rows"]


def test_pictures_of_two_colours_are_no_near_duplicates(score, tmp_path):
    for folder, colours in (("suspects", ("red", "lime")), ("control", ("white", "blue"))):
        (tmp_path / folder).mkdir()
        for colour in colours:
            Image.new("RGB", (64, 64), colour).save(tmp_path / folder / f"{colour}.png")
    code, out, _ = score(tmp_path / "suspects", "--control", tmp_path / "control", "-f", "json")
    assert code == 0
    assert [row["notes"] for row in json.loads(out)["rows"]] == [["plain: one colour"]] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_out_of_a_folder_are_followed_on_request_alone(score, pictures, tmp_path):
    named = tmp_path / "named"
    named.mkdir()
    (named / "link.png").symlink_to(next(pictures.glob("picture*.png")))
    Image.new("RGB", (64, 64), "red").save(named / "own.png")
    found = rows(score(named, "-f", "csv")[1])
    assert found["link.png"]["status"] == "skipped"
    assert "--follow-links" in found["link.png"]["error"]
    assert found["own.png"]["status"] == "ok"
    assert rows(score(named, "-f", "csv", "--follow-links")[1])["link.png"]["status"] == "ok"


def test_a_second_run_takes_features_from_the_store_unless_told_not_to(score, pictures):
    first = json.loads(score(pictures, "-f", "json")[1])
    second = json.loads(score(pictures, "-f", "json")[1])
    third = json.loads(score(pictures, "-f", "json", "--no-cache")[1])
    assert [run["run"]["n_from_store"] for run in (first, second, third)] == [0, 4, 0]
    assert first["rows"] == second["rows"] == third["rows"]


def test_a_file_is_written_beside_the_table(score, pictures, tmp_path):
    code, out, _ = score(pictures, "-o", tmp_path / "audit.csv")
    assert code == 0
    assert "Summary" in out
    assert len(rows((tmp_path / "audit.csv").read_text())) == 5


def test_a_file_that_cannot_be_written_is_said_before_the_run(score, pictures, tmp_path):
    code, out, err = score(pictures, "-o", tmp_path / "missing" / "audit.csv")
    assert code == 2
    assert out == ""
    assert "does not exist" in err
    assert score(pictures, "-o", tmp_path / "audit.xls")[0] == 2


def test_several_inferrers_each_have_their_say(score, pictures, tiny):
    document = json.loads(score(pictures, "--inferrer", tiny / "b", "-f", "json")[1])
    assert document["summary"]["n_predicted_members"] == {"b": 0, "a": 4}


def test_paths_come_from_a_list_too(score, pictures, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{pictures / 'picture 1.png'}\n{pictures / 'picture 2.png'}\n")
    _, out, _ = score(pictures / "picture 0.png", "--from-file", listed, "-f", "csv")
    assert list(rows(out)) == ["picture 0.png", "picture 1.png", "picture 2.png"]


def test_paths_come_from_standard_input(score, pictures, monkeypatch):
    names = b"\0".join(str(pictures / f"picture {i}.png").encode() for i in range(2))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names + b"\0")))
    _, out, _ = score("--from-file", "-", "-f", "csv")
    assert list(rows(out)) == ["picture 0.png", "picture 1.png"]


def test_a_list_that_is_not_there_is_an_input_error(score, tmp_path):
    code, _, err = score("--from-file", tmp_path / "missing\x1b.txt")
    assert code == 3
    assert "cannot read the list" in err
    assert "\x1b" not in err


def test_no_paths_at_all_is_a_usage_error(score):
    code, _, err = score()
    assert code == 2
    assert "no pictures are named" in err


@pytest.mark.parametrize("what", ["missing folder", "empty folder"])
def test_paths_that_lead_to_no_file_exit_3_at_once(score, tmp_path, what):
    folder = tmp_path / "folder"
    if what == "empty folder":
        folder.mkdir()
    code, out, err = score(folder)
    assert (code, out) == (3, "")
    assert "no picture to score" in err
    assert "hint:" in err


def test_no_usable_picture_exits_3_with_the_rows_printed(score, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("text")
    code, out, err = score(tmp_path / "folder")
    assert code == 3
    assert "no picture could be scored" in out
    assert "no picture could be scored: 1 " in err
    assert "hint:" in err


def test_strict_stops_at_a_bad_file(score, pictures):
    code, out, err = score(pictures, "--strict")
    assert code == 3
    assert out == ""
    assert "--strict" in err


def test_limits_reach_the_pipeline(score, pictures):
    document = json.loads(
        score(pictures, "--limit", 3, "--max-megapixels", "0.001", "-f", "json")[1]
    )
    assert len(document["rows"]) == 3
    assert document["summary"]["skip_reasons"].get("too_many_pixels") == 2
    document = json.loads(score(pictures, "-f", "json")[1])
    assert document["run"]["config"]["limits"]["max_pixels"] == 89_478_485


def test_options_reach_the_config_and_the_command_is_kept(score, pictures):
    arguments = [pictures, "--seed", "7", "--batch-size", "2", "--mean", "0.1", "0.2", "0.3"]
    arguments += ["--std", "1", "1", "1", "-f", "json", "--device", "cpu", "--backend", "torch"]
    run = json.loads(score(*arguments)[1])["run"]
    assert run["seed"] == 7
    assert run["config"]["batch_size"] == 2
    assert run["encoder"]["input"]["mean"] == [0.1, 0.2, 0.3]
    assert shlex.split(run["command"])[:4] == ["clipaudit", "score", str(pictures), "--seed"]


def test_the_environment_gives_defaults(score, pictures, tiny, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_ENCODER", str(tiny / "encoder.torchscript"))
    monkeypatch.setenv("CLIPAUDIT_NO_CACHE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    arguments = [pictures, "--allow-code", "--views", "4", "--inferrer", tiny / "a", "-f", "json"]
    code, out, err = score(*arguments, encoder=False)
    assert code == 0, err
    config = json.loads(out)["run"]["config"]
    assert config["encoder"].endswith("encoder.torchscript")
    assert config["use_store"] is False
    assert config["options"]["offline"] is True


def test_an_inferrer_that_does_not_fit_exits_5(score, pictures):
    code, _, err = score(pictures, "--similarity", "pearson")
    assert code == 5
    assert "reads cosine similarities" in err
    assert "hint:" in err


def test_code_needs_leave(score, pictures, tiny):
    spec = str(tiny / "encoder.torchscript")
    code, _, err = score(pictures, "--encoder", spec, encoder=False)
    assert code == 4
    assert "--allow-code" in err


def test_a_store_that_is_broken_does_not_lose_the_run(score, pictures, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "features-v3.sqlite").write_text("this is no database at all" * 50)
    code, out, err = score(pictures)
    assert code == 0
    assert "4 scored" in out
    assert "cache clear" in err
    assert len(err.splitlines()) == 1
    assert score(pictures, "--quiet")[2] == ""


@pytest.mark.parametrize("address", ["https://example.org/a.jpg", "S3://bucket/a b.jpg"])
@pytest.mark.parametrize("option", [(), ("--control",)])
def test_offline_an_address_is_refused_with_its_two_slashes(
    score, pictures, address, option, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # which the command sets, for the whole process
    code, out, err = score(pictures, "--offline", *option, address)
    assert (code, out) == (2, "")
    assert f"{address} is an address, and offline nothing is fetched" in err


@pytest.mark.parametrize("level", ["1e-9", "0.9999999999999999"])
@pytest.mark.parametrize("name", ["fpr", "fnr", "fdr", "alpha"])
def test_levels_at_their_edges_give_a_result(score, pictures, level, name):
    if name == "alpha" and level[0] == "0":
        level = "0.05"
    code, out, err = score(pictures, f"--{name}", level, "-f", "json")
    assert code == 0, err
    assert json.loads(out)["rows"]
