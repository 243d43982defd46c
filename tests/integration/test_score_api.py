"""`clipaudit.score` from notebooks, scripts and threads."""

import os
import subprocess
import sys
import threading

import pytest

import clipaudit
from clipaudit.errors import InputError
from clipaudit.results.audit import Audit
from clipaudit.results.rows import DECIDED, Finding, Row
from tests.made.score_runs import N_VIEWS

SCRIPT = """
import json, sys
import clipaudit
assert not {"torch", "numpy", "sklearn"} & set(sys.modules)
print("once", flush=True)
audit = clipaudit.score(
    sys.argv[1], encoder="probe:plain", inferrers=sys.argv[2], n_views=4, workers=2
)
print(json.dumps(audit.to_dicts()))
assert "sklearn" not in sys.modules
"""


def test_results_are_typed_and_flatten_into_records_and_a_data_frame(api, world):
    audit = api(inferrers="vt")
    assert isinstance(audit, Audit)
    assert isinstance(audit[0], Row)
    assert isinstance(audit[0].findings[1], Finding)
    assert type(audit[0].mean_similarity) is type(audit[0].findings[0].score) is float
    records = audit.to_dicts()
    assert len(records) == 24
    assert records[1] == {
        "path": str(world.pictures / "0000.png"),
        "sha256": audit[0].sha256,
        "status": "ok",
        "error": None,
        "mean_similarity": audit[0].mean_similarity,
        "notes": (),
        "inferrer": "t",
        "score": audit[0].findings[1].score,
        "prediction": audit[0].findings[1].prediction,
        **dict.fromkeys(DECIDED),
        "reference_mean_similarity": None,
        "reference_norm": None,
    }
    frame = audit.to_pandas()
    assert len(frame) == 24
    assert frame.score.dtype == float
    assert frame.groupby("inferrer").score.mean()["t"] == pytest.approx(
        frame.mean_similarity.mean()
    )


def test_the_call_goes_into_the_facts_of_the_run(api, world):
    audit = api(world.pictures / "0001.png", inferrers="t", seed=3)
    command = audit.run.command
    assert command.startswith("clipaudit.score(PosixPath(") or "WindowsPath" in command
    assert "encoder='probe:plain'" in command
    assert f"inferrers=({str(world.inferrers / 't')!r},)" in command
    assert f"n_views={N_VIEWS}, workers=0, seed=3" in command
    several = api([world.pictures / "0001.png", world.pictures / "0002.png"])
    assert "0001.png'), …], encoder=" in several.run.command


@pytest.mark.parametrize("form", [str, os.fsencode, lambda path: path, lambda path: [path]])
def test_paths_may_be_text_bytes_or_paths(api, world, form):
    assert len(api(form(world.pictures))) == 12


def test_one_inferrer_need_not_be_in_a_list(api, world, monkeypatch):
    folder = world.inferrers / "t"
    for form in (folder, str(folder), [folder]):
        audit = clipaudit.score(
            world.pictures / "0001.png",
            encoder="probe:plain",
            inferrers=form,
            n_views=N_VIEWS,
            workers=0,
        )
        assert [facts.name for facts in audit.run.inferrers] == ["t"]


def test_no_paths_are_an_error_before_an_encoder_is_loaded(api):
    with pytest.raises(InputError, match="no paths were given"):
        api([], encoder="ViT-B-99/nothing")


def test_a_script_without_a_guard_runs_once(world, tmp_path):
    """Worker processes of `multiprocessing` would import the script again."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, world.pictures, world.inferrers / "t"],
        env={
            **os.environ,
            "PYTHONPATH": world.pythonpath,
            "CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONWARNINGS": "error",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("once") == 1
    assert done.stdout.count('"status": "ok"') == 12


def test_it_runs_in_another_thread_than_the_main_one(api):
    found = []
    thread = threading.Thread(target=lambda: found.append(api(workers=1)))
    thread.start()
    thread.join(timeout=60)
    assert found[0].rows == api(use_store=False).rows


def test_two_threads_may_score_at_once(api):
    found = []
    threads = [threading.Thread(target=lambda: found.append(api(batch_size=2))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    expected = api(use_store=False)
    assert len(found) == 3
    for audit in found:
        assert [row.path for row in audit] == [row.path for row in expected]
        for row, twin in zip(audit, expected, strict=True):
            assert row.mean_similarity == pytest.approx(twin.mean_similarity, rel=0, abs=1e-5)
