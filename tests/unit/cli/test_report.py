import json

import pytest

import clipaudit
from clipaudit.reports.formats import write
from tests.made.audits import calibrated, controlled, realistic
from tests.made.present import present


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.json"
    write(controlled(calibrated(realistic(20))), path)
    return path


@pytest.fixture
def audit(tiny, pictures):
    return clipaudit.score(
        pictures,
        encoder=str(tiny / "encoder.torchscript"),
        inferrers=[str(tiny / "a")],
        n_views=4,
        workers=1,
        allow_code=True,
    )


def test_the_report_stands_beside_the_results_and_is_named(command, results):
    code, out, err = command("report", results)
    assert (code, err) == (0, "")
    page = results.with_suffix(".html")
    assert out == f"{page}\n"
    assert page.read_text().lstrip().startswith("<!doctype html>")


def test_it_is_what_score_would_have_written(command, audit, tmp_path):
    write(audit, tmp_path / "score.html")
    write(audit, tmp_path / "score.json")
    code, _, err = command("report", tmp_path / "score.json", "-o", tmp_path / "again.html")
    assert code == 0, err
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "score.html").read_bytes()
    assert b"data:image/webp" in (tmp_path / "again.html").read_bytes()


def test_score_writes_html_by_its_ending(command, tiny, pictures, tmp_path):
    encoder = ["--encoder", tiny / "encoder.torchscript", "--allow-code", "--inferrer", tiny / "a"]
    code, _, err = command(
        "score", pictures, *encoder, "--views", "4", "--workers", "1", "-o", tmp_path / "a.html"
    )
    assert code == 0, err
    assert "Were these pictures used to train" in (tmp_path / "a.html").read_text()


def test_other_formats_can_be_made_from_saved_results_too(command, results, tmp_path):
    assert command("report", results, "-o", tmp_path / "a.csv")[0] == 0
    assert (tmp_path / "a.csv").read_text().startswith("path,")
    assert command("report", results, "-o", tmp_path / "a.jsonl")[0] == 0
    assert command("report", tmp_path / "a.jsonl", "-o", tmp_path / "b.json")[0] == 0
    assert (tmp_path / "b.json").read_bytes() == results.read_bytes()


def test_pictures_can_be_left_out(command, audit, tmp_path):
    write(audit, tmp_path / "a.json")
    assert command("report", tmp_path / "a.json", "--pictures", "0")[0] == 0
    assert "<img" not in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("{", 3, "is no result of clipaudit"),
        (json.dumps({"schema_version": "2.0", "run": {}}), 3, "schema_version 2.0"),
        (None, 3, "cannot read"),
    ],
)
def test_broken_results_are_one_clear_error(command, tmp_path, content, code, words):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    got, out, err = command("report", path)
    assert (got, out) == (code, "")
    assert words in err
    assert "hint:" in err
    assert not path.with_suffix(".html").exists()


def test_results_are_never_replaced_and_a_bad_ending_is_a_usage_error(command, results):
    before = results.read_bytes()
    assert command("report", results, "-o", results)[0] == 2
    assert command("report", results, "-o", results.with_suffix(".pdf"))[0] == 2
    assert results.read_bytes() == before


def test_a_report_in_the_place_of_results_is_named(command, results):
    assert command("report", results)[0] == 0
    for name in ("results.html", "results.csv", "nowhere.parquet"):
        code, out, err = command("report", results.with_name(name))
        assert (code, out) == (2, "")
        assert f"{name} is a report by its ending" in err
        assert "-o results.json" in err


def test_details_print_the_table_with_all_facts_and_write_where_a_file_is_named(command, results):
    code, out, err = command("report", results, "--details")
    assert code == 0, err
    sentence = present(clipaudit.read(results).comparison).sentence
    assert sentence in " ".join(out.replace("│", " ").split())
    assert not results.with_suffix(".html").exists()
    page = results.with_name("a.html")
    code, out, err = command("report", results, "--details", "-o", page)
    assert code == 0, err
    assert page.exists()
    assert out.splitlines()[-1] == str(page)


def test_a_saved_result_is_checked(command, audit, pictures, tmp_path):
    path = tmp_path / "a.json"
    write(audit, path)
    code, out, err = command("report", path, pictures, "--check")
    assert (code, err) == (0, "")
    assert "ok  the pictures" in out
    assert not path.with_suffix(".html").exists()
    path.write_text(
        path.read_text().replace('"prediction": "member"', '"prediction": "non-member"')
    )
    text = path.read_text()
    path.write_text(text.replace('"n_scored": ', '"n_scored": 9'))
    code, out, err = command("report", path, pictures, "--check")
    assert code == 3
    assert "differs  the counts" in out
    assert command("report", path, pictures)[0] == 2
