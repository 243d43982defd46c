"""`clipaudit score` from the outside: arguments in; streams, files and exit codes out."""

import json
import math
import os
import shutil

import pytest

from tests.made.score_runs import N_VIEWS, ROOT, clean, draw_pictures, records, refused

FIELDS = {"path", "sha256", "status", "error", "mean_similarity", "inferrer", "score", "prediction"}


def test_the_installed_command_prints_the_result_alone_and_writes_a_file(
    installed, world, tmp_path
):
    out = tmp_path / "audit.csv"
    arguments = ["score", world.pictures, *world.arguments("v", "t")]
    done = clean(installed(*arguments, "--format=json", "-o", out))
    assert done.err == ""
    document = done.document
    assert document["schema_version"]
    assert document["summary"]["n_files"] == 12
    run = document["run"]
    assert run["command"].startswith("clipaudit score ")
    assert str(world.pictures) in run["command"]
    assert (run["recipe"], run["n_views"], run["seed"]) == ("encodermi@1", N_VIEWS, 0)
    assert run["encoder"]["fingerprint"] == "0123456789abcdef" * 4
    assert run["versions"].keys() >= {"clipaudit", "python", "torch", "numpy", "PIL", "platform"}
    assert run["config"]["batch_size"] == 4
    assert run["config"]["workers"] >= 1
    assert (run["n_from_store"], run["interrupted"]) == (0, False)
    assert [row["status"] for row in document["rows"]] == ["ok"] * 12
    by_path = {row["path"]: row for row in document["rows"]}

    written = records(out.read_text())
    assert len(written) == 24
    assert written[0].keys() >= FIELDS
    for record in written:
        row = by_path[record["path"]]
        finding = next(one for one in row["findings"] if one["inferrer"] == record["inferrer"])
        assert record["sha256"] == row["sha256"]
        assert float(record["mean_similarity"]) == row["mean_similarity"]
        assert float(record["score"]) == finding["score"]
        assert record["prediction"] == finding["prediction"]
        threshold = float(record["threshold"])
        assert (float(record["score"]) >= threshold) == (record["prediction"] == "member")
    assert {record["prediction"] for record in written} == {"member", "non-member"}

    piped = clean(installed(*arguments, "--from-file", "-", input=b"\n"))  # the table, from stdin
    assert b"12 read, 12 scored, 0 skipped" in piped.out
    assert b"12 known from an earlier run" in piped.out
    assert b"\x1b" not in piped.out


@pytest.mark.parametrize("style", ["table", "json", "jsonl", "csv"])
def test_every_format_holds_every_file_and_its_findings(run, world, style):
    out = clean(run(world.pictures, "-f", style, inferrers="vs")).out.decode()
    if style == "table":
        rows = out.split("Summary")[0]
        assert all(f"{number:04}.png" in rows for number in range(12))
        assert "12 read, 12 scored, 0 skipped" in out
        assert "probe:plain" in out
        assert "seed 0" in out
    elif style == "csv":
        assert len(records(out)) == 24
        assert {record["encoder"] for record in records(out)} == {"probe:plain"}
    elif style == "json":
        assert len(json.loads(out)["rows"]) == 12
    else:
        first, *rest = map(json.loads, out.splitlines())
        assert first["record"] == "run"
        assert len(rest) == 12


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet"])
def test_every_ending_names_a_format(run, world, tmp_path, ending):
    path = tmp_path / f"audit.{ending}"
    clean(run(world.pictures, "-o", path))
    if ending == "parquet":
        import pyarrow.parquet as pq

        rows = pq.read_table(path).to_pylist()
    elif ending == "csv":
        rows = records(path.read_text())
    elif ending == "json":
        rows = json.loads(path.read_text())["rows"]
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert len(rows) == 12
    assert all(row["status"] == "ok" and len(row["sha256"]) == 64 for row in rows)


def test_paths_come_from_a_list_from_stdin_and_separated_by_nul(run, world, tmp_path):
    some = [world.pictures / "0003.png", world.pictures / "0001.png"]
    names = ["0003.png", "0001.png"]
    listed = tmp_path / "list"
    listed.write_bytes(b"\r\n".join(map(os.fsencode, some)) + b"\n\n")
    assert list(clean(run("--from-file", listed, "-f", "json")).rows) == names
    piped = b"\n".join(map(os.fsencode, some))
    assert list(clean(run("--from-file", "-", "-f", "json", stdin=piped)).rows) == names
    odd = shutil.copy(some[0], tmp_path / "a new\nline.png")
    piped = os.fsencode(odd) + b"\0"
    assert list(clean(run("--from-file", "-", "-f", "json", stdin=piped)).rows) == [
        "a new\nline.png"
    ]
    missing = tmp_path / "no list"
    assert "no list" in refused(run("--from-file", missing), 3)


def test_a_limit_reads_no_more_files(run, world, calls):
    drawn = list(clean(run(world.pictures, "--limit", "3", "-f", "json")).rows)
    assert len(drawn) == 3
    assert drawn == sorted(drawn)
    assert sum(calls()) == 3 * (N_VIEWS + 1) - 3 + 3


def test_strict_stops_at_the_first_bad_file(run, world, tmp_path):
    draw_pictures(tmp_path / "mixed", 2)
    (tmp_path / "mixed" / "0000b.png").write_bytes(b"no picture")
    error = refused(run(tmp_path / "mixed", "--strict"), 3)
    assert "0000b.png" in error
    assert "not_an_image" in error
    assert "--strict" in error
    assert (
        clean(run(world.pictures, "--strict", "-f", "json")).document["summary"]["n_scored"] == 12
    )
    assert "no such file" in refused(run(tmp_path / "nowhere", "--strict"), 3)


def test_without_a_usable_picture_the_result_is_there_and_the_exit_code_says_so(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("hello")
    done = run(
        tmp_path / "empty", tmp_path / "text.jpg", tmp_path / "missing", "-f", "json", inferrers="v"
    )
    clean(done, 3)
    assert [row["error"].partition(":")[0] for row in done.document["rows"]] == [
        "empty",
        "not_an_image",
        "missing",
    ]
    assert done.document["summary"]["n_scored"] == 0
    assert "no picture could be scored: 1 empty, 1 missing, 1 not an image" in done.err


def test_paths_that_lead_nowhere_are_named_before_an_encoder_is_loaded(run, tmp_path):
    (tmp_path / "empty").mkdir()
    arguments = (tmp_path / "empty", tmp_path / "missing", "--encoder", "ViT-B-99/nothing")
    message = refused(run(*arguments), 3)
    assert "the folder holds no files" in message
    assert "there is no such file or folder" in message


def test_a_missing_path_is_a_row_among_others(run, world, tmp_path):
    done = clean(run(tmp_path / "missing.png", world.pictures / "0000.png", "-f", "json"))
    rows = done.rows
    assert rows["missing.png"]["error"] == "missing: there is no such file or folder"
    assert rows["missing.png"]["sha256"] is None
    assert rows["missing.png"]["findings"] == []
    assert rows["0000.png"]["status"] == "ok"


def test_unknown_encoders_and_inferrers_offer_the_nearest(run, world, calls):
    assert "Did you mean ViT-B-32" in refused(run(world.pictures, encoder="ViT-B-23/openai"), 4)
    assert "probe" in refused(run(world.pictures, encoder="prob:plain"), 4)
    error = refused(run(world.pictures, "--inferrer", "nonesuch"), 5)
    assert "nonesuch" in error
    assert calls() == []


def test_inferrers_for_another_number_of_views_are_refused(warm, world):
    fixed = ["--encoder=probe:plain", f"--inferrer={world.inferrers / 'v'}", "--no-cache"]
    error = refused(warm("score", world.pictures, "--views=8", *fixed), 5)
    assert f"reads {N_VIEWS} views, got 8" in error
    assert f"Pass --views {N_VIEWS}" in error
    # Before an encoder is loaded, which may be a download of gigabytes.
    nowhere = ["--encoder=torchscript:/nowhere/encoder.pt", *fixed[1:]]
    assert "got 8" in refused(warm("score", world.pictures, "--views=8", *nowhere), 5)
    none_fits = refused(warm("score", world.pictures, "--views=3", nowhere[0]), 5)
    assert "no shipped inferrer reads 3 views" in none_fits


def test_an_inferrer_of_another_output_is_refused_before_a_view_is_embedded(run, world, calls):
    error = refused(run(world.pictures, "--output=trunk"), 5)
    assert "trained on the embedding output" in error
    assert calls() == []


def test_pearson_needs_an_inferrer_that_reads_it(run, world):
    done = clean(run(world.pictures, "--similarity", "pearson", "-f", "json", inferrers="p"))
    assert done.document["run"]["similarity"] == "pearson"
    for row in done.document["rows"]:
        assert row["mean_similarity"] == row["findings"][0]["score"]
    cosine = clean(run(world.pictures, "-f", "json", inferrers="t")).document["rows"]
    assert all(
        one["mean_similarity"] != other["mean_similarity"]
        for one, other in zip(cosine, done.document["rows"], strict=True)
    )
    error = refused(run(world.pictures, "--similarity", "pearson"), 5)
    assert "Pass --similarity cosine" in error


def test_inferrers_that_read_different_similarities_get_what_they_read(run, world):
    together = clean(run(world.pictures, "-f", "json", inferrers="tp")).rows
    alone = clean(run(world.pictures, "-f", "json", inferrers="p")).rows
    for name, row in together.items():
        cosine, pearson = row["findings"]
        assert cosine["score"] == row["mean_similarity"]
        assert pearson == alone[name]["findings"][0]
        assert pearson["score"] != cosine["score"]


def test_two_inferrers_of_one_name_go_by_their_folders(run, world, tmp_path):
    copy = shutil.copytree(world.inferrers / "t", tmp_path / "another")
    done = clean(run(world.pictures, "--inferrer", copy, "-f", "json", inferrers="t"))
    names = {str(copy), str(world.inferrers / "t")}
    assert done.document["summary"]["n_predicted_members"].keys() == names
    for row in done.document["rows"]:
        assert {finding["inferrer"] for finding in row["findings"]} == names


def test_a_program_is_not_loaded_without_leave(run, world, tmp_path):
    program = tmp_path / "encoder.torchscript"
    program.write_bytes(b"anything")
    error = refused(run(world.pictures, encoder=str(program)), 4)
    assert "--allow-code" in error


def test_a_device_that_is_not_there_is_named(run, world):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one here")
    error = refused(run(world.pictures, "--device", "cuda"), 4)
    assert "--device" in error


def test_quiet_leaves_stderr_empty_and_the_result_as_it_is(run, world, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "features-v3.sqlite").write_bytes(b"not a database, and long enough to be read" * 99)
    loud = clean(run(world.pictures, "-f", "csv"))
    assert loud.err.startswith("warning: ")
    quiet = clean(run(world.pictures, "-f", "csv", "--quiet"))
    assert quiet.err == ""
    columns = ("path", "score", "mean_similarity", "prediction")
    for one, other in zip(records(loud.out.decode()), records(quiet.out.decode()), strict=True):
        assert [one[name] for name in columns] == [other[name] for name in columns]


def test_scores_are_finite_numbers_and_rows_are_in_the_order_found(run, world):
    document = clean(run(world.pictures, "-f", "json", inferrers="vst")).document
    paths = [row["path"] for row in document["rows"]]
    assert paths == sorted(paths)
    for row in document["rows"]:
        assert -1 <= row["mean_similarity"] <= 1
        assert all(math.isfinite(finding["score"]) for finding in row["findings"])


def test_a_score_depends_on_the_seed(run, world):
    def scores(*options):
        rows = clean(run(world.pictures, "-f", "json", "--no-cache", *options)).rows
        return [row["findings"][0]["score"] for row in rows.values()]

    first = scores("--seed", "1")
    assert scores("--seed", "1") == first
    assert all(a != b for a, b in zip(scores("--seed", "2"), first, strict=True))


def test_the_working_folder_cannot_change_what_runs(installed, world, tmp_path):
    """A folder of pictures may hold files that are called like modules of Python."""
    folder = tmp_path / "strangers"
    draw_pictures(folder, 2)
    for name in ("json", "numpy", "PIL", "random", "clipaudit"):
        (folder / f"{name}.py").write_text("raise SystemExit('a stranger was run')")
    done = installed(
        *("score", ".", "-f", "json", "--include-hidden", *world.arguments()), cwd=folder
    )
    clean(done)
    assert sum(row["status"] == "ok" for row in done.document["rows"]) == 2
    assert len(done.document["rows"]) == 7
    assert ROOT.name not in done.err
