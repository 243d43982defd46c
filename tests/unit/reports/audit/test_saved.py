import io
import json

import pytest

from clipaudit.errors import InputError
from clipaudit.reports.audit.saved import read
from clipaudit.reports.formats import dump, write
from clipaudit.results.rows import ReferenceSignals
from tests.made.audits import ENCODER, audit_of, calibrated, controlled, realistic, scored, skipped
from tests.made.nasty_audits import nasty_audit

AUDITS = {
    "as it often is": realistic(30),
    "nasty": nasty_audit(),
    "with all": controlled(calibrated(nasty_audit())),
    "nothing": audit_of([]),
    "skipped only": audit_of([skipped("a")], interrupted=True),
    "no inferrer": audit_of([scored("a", ())], ()),
    "a large seed": audit_of([scored("a")], seed=2**80),
    "with a reference": audit_of(
        [scored("a")], references=(ENCODER,), config={"limits": {"max_pixels": 9}}
    ),
}


def in_format(audit, style):
    file = io.BytesIO()
    dump(audit, style, file)
    return file.getvalue()


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize("name", AUDITS)
def test_what_was_saved_is_read_back_to_the_last_digit(name, ending, tmp_path):
    audit, path = AUDITS[name], tmp_path / f"results.{ending}"
    write(audit, path)
    assert read(path) == audit
    assert in_format(read(path), "html") == in_format(audit, "html")
    assert in_format(read(path), ending) == path.read_bytes()


def document(tmp_path, audit=None):
    path = tmp_path / "results.json"
    write(audit or realistic(3), path)
    return path, json.loads(path.read_text())


def test_fields_of_a_later_version_are_passed_over(tmp_path):
    path, found = document(tmp_path)
    found |= {"schema_version": "1.9", "surprise": 1}
    found["run"]["surprise"] = found["rows"][0]["surprise"] = {"deep": [1]}
    path.write_text(json.dumps(found))
    assert read(path).rows == realistic(3).rows


def test_a_reference_of_a_row_is_read(tmp_path):
    path, found = document(tmp_path)
    found["rows"][0]["reference"] = {"mean_similarity": 0.5, "norm": 2.0}
    path.write_text(json.dumps(found))
    assert read(path)[0].reference == ReferenceSignals(0.5, 2.0)


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.1"])
def test_another_version_of_the_schema_is_refused_by_name(version, tmp_path):
    path, found = document(tmp_path)
    path.write_text(json.dumps({**found, "schema_version": version}))
    with pytest.raises(InputError, match=f"schema_version {version}, and this .* reads 1.x") as no:
        read(path)
    assert no.value.exit_code == 3
    assert "version of clipaudit" in no.value.hint


def without(found, *place):
    *way, last = place
    for step in way:
        found = found[step]
    del found[last]


BREAKS = {
    "empty": (lambda text: "", "no JSON"),
    "cut off": (lambda text: text[: len(text) // 2], "cut off"),
    "a list": (lambda text: "[1]", "holds no run"),
    "a number": (lambda text: "7", "holds no run"),
    "no number of JSON": (lambda text: text.replace('"seed": 0', '"seed": NaN'), "NaN"),
    "deep": (lambda text: "[" * 100_000, "no JSON"),
    "not ours": (lambda text: '{"a": 1}', "no schema_version"),
    "a list in the run's place": (
        lambda text: '{"schema_version": "1.0", "run": [], "rows": []}',
        "run: ",
    ),
    "control characters": (lambda text: '{"schema_version": "\\u001b[2J", "run": {}}', r"\\x1b"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_no_result_is_refused_with_the_place(name, tmp_path):
    damage, words = BREAKS[name]
    path, _ = document(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=words) as refused:
        read(path)
    assert refused.value.exit_code == 3
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("rows",), "rows: Field required"),
        (("run", "seed"), "run.seed: Field required"),
        (("rows", 0, "findings", 0, "score"), "rows.0.findings.0.score: Field required"),
        (("run", "encoder", "fingerprint"), "run.encoder.fingerprint: Field required"),
        (("run", "encoder", "input", "size_px"), "run.encoder.input.size_px: Field required"),
    ],
)
def test_what_is_missing_is_named(place, words, tmp_path):
    path, found = document(tmp_path)
    without(found, *place)
    path.write_text(json.dumps(found))
    with pytest.raises(InputError, match=words):
        read(path)


def test_files_that_cannot_be_read_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "missing.json")
    with pytest.raises(InputError, match="directory"):
        read(tmp_path)
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(InputError, match="not text"):
        read(tmp_path / "picture.json")
