"""What holds for every report format, those of plug-ins included."""

import base64
import csv
import io
import json
import os
import subprocess
import sys
import unicodedata

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipaudit._version import SCHEMA_VERSION, __version__
from clipaudit.reports.formats import AUDIT, dump, printable, render
from tests.made.audits import (
    INFERRERS,
    audit_of,
    calibrated,
    controlled,
    realistic,
    scored,
    skipped,
    with_reference,
)
from tests.made.examples import example
from tests.made.nasty_audits import nasty_audit


def dumped(audit, style):
    """What a format writes, for people with all details."""
    file = io.BytesIO()
    dump(audit, style, file, details=True)
    return file.getvalue()


def exact(record):
    """The path that a careful reader gets out of a record."""
    if record.get("path_b64"):
        return base64.b64decode(record["path_b64"]).decode("utf-8", "surrogateescape")
    return record["path"]


def read_json(content):
    return [{**row, **(f or {})} for row in json.loads(content)["rows"] for f in _findings(row)]


def read_jsonl(content):
    first, *lines = map(json.loads, content.decode().splitlines())
    assert first["record"] == "run"
    assert {line["record"] for line in lines} <= {"image"}
    return [{**row, **(finding or {})} for row in lines for finding in _findings(row)]


def _findings(row):
    return row["findings"] or [{"inferrer": None, "score": None, "prediction": None}]


def read_csv(content):
    records = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    return [{name: value or None for name, value in record.items()} for record in records]


def read_parquet(content):
    return pq.read_table(io.BytesIO(content)).to_pylist()


READERS = {"json": read_json, "jsonl": read_jsonl, "csv": read_csv, "parquet": read_parquet}


def assert_round_trip(audit, style):
    got = READERS[style](dumped(audit, style))
    expected = audit.to_dicts()
    assert len(got) == len(expected)
    for ours, theirs in zip(expected, got, strict=True):
        assert exact(theirs) == ours["path"]
        for name in ("sha256", "status", "inferrer", "prediction"):
            assert theirs[name] == ours[name]
        for name in ("mean_similarity", "score"):
            value = None if theirs[name] is None else float(theirs[name])
            assert value == ours[name], "all digits"
        assert (theirs["error"] is None) == (ours["error"] is None)


@pytest.mark.parametrize("style", sorted(READERS))
def test_every_name_and_number_survives_the_round_trip(style):
    assert_round_trip(nasty_audit(), style)


@pytest.mark.parametrize("style", sorted(READERS))
@given(
    names=st.lists(
        st.text(
            st.one_of(
                st.characters(codec="utf-8"),
                st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
            ),
            min_size=1,
        ).filter(lambda name: "\0" not in name),
        max_size=6,
    )
)
def test_any_name_survives_the_round_trip(style, names):
    try:
        for name in names:
            assert (
                name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == name
            )
    except AssertionError:  # surrogates that together are valid UTF-8: no file system gives those
        return
    assert_round_trip(nasty_audit(names), style)


def test_every_format_for_programs_is_read_back_here():
    assert set(READERS) == set(AUDIT) - {"table", "html"}


@pytest.mark.parametrize("style", printable(AUDIT))
def test_nothing_in_it_can_steer_a_terminal(style):
    text = render(controlled(calibrated(nasty_audit())), style)
    # JSON leaves DEL as it is, which no terminal obeys.
    steering = {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs"}}
    assert steering <= {"\n", "\x7f"} if style.startswith("json") else steering <= {"\n"}


@pytest.mark.parametrize("style", sorted(AUDIT))
def test_the_same_audit_gives_the_same_bytes(style):
    assert dumped(nasty_audit(), style) == dumped(nasty_audit(), style)


@pytest.mark.parametrize("style", printable(AUDIT))
def test_text_is_utf8_without_colour_and_ends_in_one_line_feed(style, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = dumped(realistic(30), style).decode("utf-8")
    assert "\x1b" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\r" not in text


@pytest.mark.parametrize("style", sorted(READERS))
def test_what_a_calibration_gave_survives_the_round_trip(style):
    audit = calibrated(nasty_audit())
    assert_round_trip(audit, style)
    got = READERS[style](dumped(audit, style))
    n_decided = 0
    for ours, theirs in zip(audit.to_dicts(), got, strict=True):
        for name in ("verdict", "reason"):
            assert (theirs.get(name) or None) == ours[name]
        for name in ("p_value", "p_member", "q_value"):
            value = None if theirs.get(name) is None else float(theirs[name])
            assert value == ours[name], "all digits"
        assert str(theirs.get("picked")) == str(ours["picked"])
        n_decided += ours["verdict"] is not None
    assert n_decided == 2 * len(audit.scored)  # of three inferrers, one has no calibration


@pytest.mark.parametrize("style", ["table", "html"])
def test_without_a_calibration_people_are_told_nothing_of_one(style):
    content = dumped(realistic(3), style)
    said = b"verdict" if style != "html" else b"called members"  # HTML says that there is none
    for word in (b"p_value", said, b"fdr", b"comparison"):
        assert word not in content
    assert b"Uncalibrated" in content


@pytest.mark.parametrize("style", sorted(READERS))
def test_programs_find_every_field_whatever_the_run_has(style):
    plain, full = (
        READERS[style](dumped(audit, style)) for audit in (realistic(3), with_reference())
    )
    assert plain[0].keys() == full[0].keys()
    assert {plain[0][name] for name in ("p_value", "q_value", "verdict", "picked")} == {None}


@pytest.mark.parametrize("style", sorted(AUDIT))
def test_the_verdict_on_the_folder_goes_with_every_format(style):
    audit = controlled(calibrated(realistic(12)))
    content = dumped(audit, style)
    if style == "parquet":
        content = pq.read_schema(io.BytesIO(content)).metadata[b"clipaudit.audit"]
    text = " ".join(content.decode().replace("\u2502", " ").split())
    assert audit.comparison.sentence in text
    for fact in ("control", "unseen"):  # the sets behind the numbers
        assert fact in text
        assert (f"/home/ana/{fact}" in text) == (style != "html")  # which others may see


@pytest.mark.parametrize("style", sorted(AUDIT))
@pytest.mark.parametrize(
    "audit",
    [
        audit_of([]),
        audit_of([], inferrers=()),
        audit_of([skipped("a"), skipped("b")]),
        audit_of([scored("a", inferrers=())], inferrers=()),
        audit_of([scored("a")], interrupted=True, seconds=0.0, n_from_store=0),
        audit_of([scored("a"), scored("a")], seed=2**80),
        calibrated(audit_of([])),
        calibrated(audit_of([skipped("a"), scored("b"), scored("b")]), n_null=1, n_members=0),
        controlled(audit_of([scored("a")])),
        with_reference(),
    ],
    ids=[
        *("empty", "empty, no inferrer", "all skipped", "no inferrer", "interrupted", "twice"),
        *("empty, calibrated", "hardly calibrated", "one against a control"),
        "with references",
    ],
)
def test_odd_runs_are_written_too(style, audit):
    content = dumped(audit, style)
    if style in READERS:
        assert len(READERS[style](content)) == len(audit.to_dicts())


@pytest.mark.parametrize("style", sorted(READERS))
def test_what_references_are_and_make_of_each_picture_survives_the_round_trip(style):
    content = dumped(with_reference(), style)
    got = READERS[style](content)
    assert [record["path"] for record in got] == ["a.png"] * 3 + ["b.png"] * 3 + ["c.png"]
    if style in ("json", "jsonl"):
        norms = [(record["reference"] or {}).get("norm") for record in got]
    else:
        norms = [record["reference_norm"] for record in got]
    told = [None if norm is None else float(norm) for norm in norms]
    assert told == [9.5] * 3 + [11.25] * 3 + [None]
    for spec in ("ViT-B-32/other", "ViT-B-32/another"):
        assert spec.encode() in content


@pytest.mark.parametrize("style", sorted(AUDIT))
def test_the_facts_of_the_run_go_with_it(style):
    content = dumped(realistic(3), style)
    if style == "parquet":
        metadata = pq.read_schema(io.BytesIO(content)).metadata
        content = metadata[b"clipaudit.audit"] + metadata[b"clipaudit.schema_version"]
    text = content.decode()
    for fact in ("ViT-B-32/openai", "3fa9c1d23fa9", "paper/1", "cosine", INFERRERS[2].name):
        assert fact in text
    if style != "table":
        for fact in (__version__, "3.11.7", "clipaudit score images", SCHEMA_VERSION, "c" * 64):
            assert fact in text


RUN = """
import sys

from clipaudit.reports import formats
from clipaudit.reports.formats import Format

formats.AUDIT |= {LINE}

from clipaudit.cli.app import main

main(sys.argv[1:])
"""


def test_a_new_format_takes_a_module_and_a_line(tmp_path):
    from clipaudit.encoders.base import InputSpec
    from clipaudit.shadow.architectures import build
    from clipaudit.shadow.encoder import save

    spec = InputSpec(16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bicubic")
    save(build("resnet-tiny", 16, 0), tmp_path / "encoder", "resnet-tiny", spec)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    program = RUN.replace("LINE", example("report").install(tmp_path))

    def clipaudit(*arguments):
        line = [sys.executable, "-c", program, *arguments]
        paths = os.pathsep.join((str(tmp_path), *sys.path))
        environment = {**os.environ, "PYTHONPATH": paths, "CLIPAUDIT_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    scored = ("score", "a.png", "--encoder=shadow:encoder", "--workers=0", "--quiet")
    code, out, err = clipaudit(*scored, "--format=count", "--out=a.json")
    assert (code, out) == (0, "1 of 1 scored\n"), err
    code, out, err = clipaudit("report", "a.json", "--out=a.count")
    assert (code, out) == (0, "a.count\n"), err
    assert (tmp_path / "a.count").read_text() == "1 of 1 scored\n"
    code, _, err = clipaudit("report", "a.json", "--out=a.cuont")
    assert code == 2
    assert ".html or .count" in err
