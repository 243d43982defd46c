"""Results and calibrations of strangers: whatever they hold, an answer or a clear error."""

import json
import random
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

from clipaudit.cli.app import main
from clipaudit.cli.calibrations import describe
from clipaudit.errors import ClipAuditError, InferrerError, InputError
from clipaudit.pictures.base import Frame, Limits
from clipaudit.pictures.preparing import Wanted, prepare
from clipaudit.pictures.reading import content_id
from clipaudit.reports import formats
from clipaudit.reports.audit.saved import read
from clipaudit.reports.page import html
from clipaudit.reports.page.thumbnails import FRAME, _limits
from clipaudit.statistics.conformal import Levels
from clipaudit.verdicts import calibration_files
from clipaudit.verdicts.by_calibration import fits, judge, require_use
from tests.made.audits import (
    ENCODER,
    INFERRERS,
    audit_of,
    calibrated,
    controlled,
    known_scores,
    realistic,
    run,
    scored,
)
from tests.made.audits import kept as calibration_of
from tests.made.mutations import mutate

SUSPECTS = realistic(12)
FRAMES = (FRAME, Frame(24, "bicubic"))


def saved_result(folder: Path):
    """A result with a picture that is there, and what was decoded of it."""
    path = folder / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    data = path.read_bytes()
    row = replace(scored(str(path)), sha256=content_id(data))
    row = replace(row, findings=tuple(replace(found, score=9.0) for found in row.findings))
    small = replace(ENCODER, input=replace(ENCODER.input, size_px=24))
    config = {"use_store": True, "limits": asdict(Limits()), "encoder": "x"}
    audit = audit_of([row, *SUSPECTS], encoder=small, config=config)
    return controlled(calibrated(audit)), {row.sha256: prepare(data, Wanted(FRAMES), Limits())}


def calibration():
    nulls = [0.01 * number for number in range(120)]
    made = calibration_of(run(), INFERRERS[0], nulls, [0.9, 1e-9, 3.5])
    ids = known_scores("null", nulls).image_ids
    return calibration_files.CalibrationFile(
        **{field: getattr(made, field) for field in made.__slots__}
        | {"looks": {ids[0]: "AAAA" * 498 + "AAA="}}
        | {"caption_styles": calibration_files.pack_styles({ids[1]: ["a red ball"]})}
        | {"hashes": {image_id: number * 2**57 for number, image_id in enumerate(ids)}}
    )


def render_everything(audit, decoded=MappingProxyType({})):
    for style in formats.AUDIT:
        if style != "html":
            formats.dump(audit, style, BytesIO())
    html.dump(audit, BytesIO(), 1, decoded)


def outcome(action):
    """What came of it; anything but one of our errors goes on."""
    refusal = None
    try:
        action()
    except ClipAuditError as error:
        refusal = error
    if refusal is None:
        return None
    assert refusal.exit_code in {3, 5}, refusal
    assert refusal.hint
    assert "\n" not in str(refusal)
    return type(refusal)


def try_results(folder: Path, seeds):
    path = folder / "results.json"
    result, decoded = saved_result(folder)
    document = json.loads(formats.render(result, "json"))
    refused = 0
    for seed in seeds:
        path.write_text(mutate(document, random.Random(seed)))
        try:
            refused += outcome(lambda: render_everything(read(path), decoded)) is InputError
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    return refused


def use(path: Path):
    file = calibration_files.load(path)
    assert list(describe(file, 0.01))
    found = fits(SUSPECTS.run, [file])
    render_everything(judge(SUSPECTS, found, Levels(), file.hashes))
    require_use(SUSPECTS.run, [file])


def try_calibrations(folder: Path, seeds):
    path = folder / "calibration.json"
    document = json.loads(calibration().to_json())
    refused = 0
    for seed in seeds:
        path.write_text(mutate(document, random.Random(seed)))
        try:
            refused += outcome(lambda: use(path)) is InferrerError
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    return refused


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))


def test_an_odd_result_gives_a_report_or_one_clear_error(tmp_path):
    assert 50 < try_results(tmp_path, range(200)) < 200


def test_an_odd_calibration_is_used_or_refused_in_one_line(tmp_path):
    assert 50 < try_calibrations(tmp_path, range(200)) < 200


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_many_odd_results_give_a_report_or_one_clear_error(tmp_path):
    try_results(tmp_path, range(1_000, 11_000))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_many_odd_calibrations_are_used_or_refused_in_one_line(tmp_path):
    try_calibrations(tmp_path, range(1_000, 6_000))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["rows"][0].update(mean_similarity=None), "rows.0: a scored picture"),
        (lambda d: d["rows"][0].update(sha256="\ud800"), "rows.0.sha256: it is no SHA-256"),
        (lambda d: d["rows"][0].update(findings=[]), "rows.0.findings: a scored picture"),
        (lambda d: d["rows"][0]["findings"][0].update(p_value=None), "a verdict has a p_value"),
        (lambda d: d["rows"][0]["findings"][0].update(score=1e300), "as large as 1e\\+300"),
        (lambda d: d["rows"][0]["findings"][0].update(score="NaN"), "valid number"),
        (lambda d: d["levels"].update(fpr=1e-320), "fpr must be at least"),
        (lambda d: d["comparison"].update(by_inferrer=[]), "comparison.by_inferrer: there is one"),
        (lambda d: d["calibrations"][0].update(inferrer="x"), "calibrations: one is for no"),
        (lambda d: d["run"].update(n_views=0), "run.n_views"),
        (lambda d: d["run"]["inferrers"].append(d["run"]["inferrers"][0]), "two have one name"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused_with_the_place(change, words, tmp_path):
    path = tmp_path / "results.json"
    document = json.loads(formats.render(saved_result(tmp_path)[0], "json"))
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=words):
        read(path)


@pytest.mark.parametrize("deep", [300, 990, 5_000, 200_000])
@pytest.mark.parametrize("place", [(), ("calibration",), ("hashes",), ("nonmembers", "name")])
def test_a_deeply_nested_calibration_in_the_cache_is_passed_over(deep, place, caplog):
    good = calibration()
    path = calibration_files.save(good).with_name("deep.json")
    document = json.loads(good.to_json())
    holder = document
    for name in place[:-1]:
        holder = holder[name]
    if place:
        holder[place[-1]] = "deep"
    text = json.dumps(document) if place else '"deep"'
    path.write_text(text.replace('"deep"', "[" * deep + "]" * deep))
    assert calibration_files.read_calibrations() == (good,)
    assert "passed over" in caplog.text


def test_limits_of_a_stranger_are_lowered_and_never_raised():
    usual = Limits()
    huge = {"max_pixels": 10**12, "max_file_bytes": 10**15, "decode_timeout_s": 1e9}
    assert _limits(run(config={"limits": huge})) == usual
    assert _limits(run(config={"limits": {"max_pixels": 9}})) == replace(usual, max_pixels=9)
    for odd in (None, 7, {"max_pixels": "9"}, {"max_pixels": -1}, {"x": 1}, {"max_pixels": None}):
        assert _limits(run(config={"limits": odd})) == usual


def test_a_report_of_an_odd_result_ends_with_exit_3_and_no_page(tmp_path, capfd):
    path = tmp_path / "results.json"
    document = json.loads(formats.render(saved_result(tmp_path)[0], "json"))
    document["rows"][0]["findings"] = []
    path.write_text(json.dumps(document))
    with pytest.raises(SystemExit) as end:
        main(["report", str(path)])
    assert end.value.code == 3
    err = capfd.readouterr().err
    assert "hint:" in err
    assert "Traceback" not in err
    assert not path.with_suffix(".html").exists()
