import io
import json
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from clipaudit._version import SCHEMA_VERSION
from clipaudit.blind.baseline import BlindCheck
from clipaudit.errors import UsageError
from clipaudit.files import FileError, replacing
from clipaudit.reports.formats import AUDIT, check_destination, dump, endings, render, write
from tests.made.audits import (
    audit_of,
    calibrated,
    controlled,
    realistic,
    scored,
    skipped,
    with_reference,
)
from tests.made.nasty_audits import nasty_audit
from tests.made.schemas import strict

ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "docs/schemas/audit-1.schema.json").read_text())

AUDITS = {
    "realistic": realistic(40),
    "nasty": nasty_audit(),
    "empty": audit_of([]),
    "no inferrer": audit_of([scored("a", ())], ()),
    "unread": audit_of([skipped("a")], interrupted=True),
    "with references": with_reference(),
    "calibrated": calibrated(realistic(40)),
    "all skipped, calibrated": calibrated(audit_of([skipped("a")])),
    "with a control": controlled(realistic(40)),
    "with captions": controlled(realistic(40), captions=BlindCheck("alike", "AUC 0.510")),
    "with all": controlled(calibrated(nasty_audit())),
}


def closed_schema(ref=None):
    schema = strict(SCHEMA)
    schema["$defs"]["open_row"] = SCHEMA["$defs"]["row"]  # `allOf` adds to it
    schema["$defs"]["image_line"]["allOf"] = [{"$ref": "#/$defs/open_row"}]
    return {"$ref": ref, "$defs": schema["$defs"]} if ref else schema


@pytest.mark.parametrize("name", AUDITS)
def test_json_is_as_its_published_schema_says(name):
    document = json.loads(render(AUDITS[name], "json"))
    jsonschema.validate(document, SCHEMA)
    jsonschema.validate(document, closed_schema())


@pytest.mark.parametrize("name", AUDITS)
def test_json_lines_are_as_their_published_schema_says(name):
    lines = render(AUDITS[name], "jsonl").splitlines()
    assert len(lines) == len(AUDITS[name]) + 1
    published = {**SCHEMA["$defs"]["line"], "$defs": SCHEMA["$defs"]}
    for schema in (published, closed_schema("#/$defs/line")):
        validator = jsonschema.Draft202012Validator(schema)
        for line in map(json.loads, lines):
            validator.validate(line)


def test_the_schema_is_one_and_refuses_what_is_wrong():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(render(realistic(3), "json"))
    assert document["schema_version"] == SCHEMA_VERSION
    document["rows"][0]["status"] = "maybe"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)
    document = json.loads(render(realistic(3), "json"))
    document["run"]["surprise"] = 1
    jsonschema.validate(document, SCHEMA)  # additions are allowed
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, closed_schema())


def test_every_column_is_described():
    from clipaudit.reports.audit.csv_rows import COLUMNS

    page = (ROOT / "docs/schemas/README.md").read_text()
    for column in COLUMNS:
        assert f"`{column}`" in page


def test_a_score_that_is_no_number_is_refused_not_written():
    bad = audit_of([scored("a")], seconds=float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        render(bad, "json")


def test_pandas_reads_csv_and_parquet_alike(tmp_path):
    audit = realistic(30)
    write(audit, tmp_path / "a.csv")
    write(audit, tmp_path / "a.parquet")
    csv = pd.read_csv(tmp_path / "a.csv")
    parquet = pd.read_parquet(tmp_path / "a.parquet")
    shared = ["path", "sha256", "status", "mean_similarity", "inferrer", "score", "prediction"]
    pd.testing.assert_frame_equal(csv[shared], parquet[shared], check_dtype=False)
    pd.testing.assert_frame_equal(parquet[shared], audit.to_pandas()[shared], check_dtype=False)


def test_no_cell_of_a_csv_is_a_formula():
    frame = pd.read_csv(io.StringIO(render(nasty_audit(), "csv")), dtype=str, keep_default_na=False)
    for column in ("path", "error", "notes", "command"):
        assert not frame[column].str.match(r"[=+\-@\t\r\n＝＋－＠]").any()
    assert "'=cmd|' /C calc'!A0.png" in set(frame["path"])


def test_every_record_of_a_csv_is_one_line():
    audit = nasty_audit()
    assert len(render(audit, "csv").splitlines()) == len(audit.to_dicts()) + 1


@pytest.mark.parametrize("style", [style for style in AUDIT if AUDIT[style].ending])
def test_the_ending_names_the_format(tmp_path, style):
    ending = AUDIT[style].ending
    for name in (f"out{ending}", f"OUT2{ending.upper()}"):
        write(realistic(3), tmp_path / name)
        file = io.BytesIO()
        dump(realistic(3), style, file)
        assert (tmp_path / name).read_bytes() == file.getvalue()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["out.xlsx", "out", ".csv", "out.csv.gz", "out.\x1b[2J"])
def test_an_unknown_ending_lists_the_known_ones(tmp_path, name):
    with pytest.raises(UsageError) as caught:
        check_destination(tmp_path / name)
    for ending in endings(AUDIT):
        assert ending in caught.value.hint
    assert "\x1b" not in str(caught.value)


def test_a_folder_that_is_not_there_is_said_before_the_run(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        check_destination(tmp_path / "missing" / "out.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check_destination(tmp_path / "folder.csv")


def test_unknown_formats_list_the_known_ones():
    with pytest.raises(UsageError, match="no format 'xml'") as caught:
        render(realistic(1), "xml")
    assert "jsonl" in caught.value.hint
    with pytest.raises(UsageError, match="not text"):
        render(realistic(1), "parquet")


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="JSON"):
        write(audit_of([scored("a")], seconds=float("inf")), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_the_file_keeps_its_rights_and_a_new_one_gets_the_usual_ones(tmp_path):
    old, new, usual = tmp_path / "old.csv", tmp_path / "new.csv", tmp_path / "usual"
    old.touch(mode=0o600)
    usual.touch()
    write(realistic(1), old)
    write(realistic(1), new)
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert new.stat().st_mode == usual.stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    real = tmp_path / "elsewhere" / "real.csv"
    real.parent.mkdir()
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    real.write_text("mine")
    write(realistic(1), link)
    assert not link.is_symlink()
    assert link.read_text().startswith("path,")
    assert real.read_text() == "mine"


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from clipaudit.reports.formats import write
from clipaudit.files import FileError
from tests.made.audits import realistic
audit = realistic(500)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write(audit, Path(sys.argv[1]))
except FileError as error:
    print(error, "|", error.hint)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
@pytest.mark.parametrize("ending", endings(AUDIT))
def test_a_full_disk_is_one_clear_error_and_no_half_file(tmp_path, ending):
    path = tmp_path / f"out{ending}"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FULL, path, ROOT], capture_output=True, text=True, check=True
    )
    assert "cannot write" in done.stdout
    assert "Free some space" in done.stdout
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_system_says_becomes_ours(tmp_path):
    (tmp_path / "file").touch()
    elsewhere = tmp_path / "file" / "out.csv"
    with pytest.raises(FileError, match="cannot write") as caught, replacing(elsewhere):
        pass
    assert caught.value.exit_code == 4
