"""Nothing leaves the machine; and the default encoder, by the real download and both backends."""

import json
import os

import pytest

from tests.made.score_runs import clean, draw_pictures, refused
from tests.made.socket_guard import write_guard
from tests.services.hub import vitb32_hub  # noqa: F401

BACKENDS_AGREE = 1e-4
"""Scores by torch and by onnxruntime, which order their sums differently; seen: 2e-6."""


@pytest.fixture
def no_sockets(tmp_path):
    """PYTHONPATH of a folder whose sitecustomize ends a process that opens a socket."""
    return str(write_guard(tmp_path / "guarded"))


def test_the_guard_bites(installed, no_sockets):
    """Else the next tests would prove nothing."""
    import subprocess
    import sys

    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": no_sockets},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 99
    assert "opened a socket" in done.stderr


def test_a_run_opens_no_socket(installed, world, no_sockets):
    path = os.pathsep.join([no_sockets, world.pythonpath])
    done = clean(
        installed(
            *("score", world.pictures, *world.arguments("v", "s"), "-f", "json"),
            env={"PYTHONPATH": path},
        )
    )
    assert done.document["summary"]["n_scored"] == 12


def test_calibrating_and_a_control_open_no_socket(installed, world, no_sockets, tmp_path):
    draw_pictures(tmp_path / "others", 22, first=100)
    how = {"env": {"PYTHONPATH": os.pathsep.join([no_sockets, world.pythonpath])}}
    done = installed(
        *("calibrate", "--nonmembers", tmp_path / "others", *world.arguments("t")), **how
    )
    assert b"non-members: 22" in done.out, done.err
    done = clean(
        installed(
            *("score", world.pictures, "--control", tmp_path / "others", "-f", "json"),
            *world.arguments("t"),
            **how,
        )
    )
    assert done.document["calibrations"][0]["n_null"] == 22
    assert done.document["comparison"]["n_scored"] == 22


@pytest.mark.disable_socket
def test_a_run_in_this_process_opens_no_socket(api, socket_disabled):
    assert len(api().scored) == 12


def test_offline_an_encoder_that_is_not_here_is_said_at_once(
    installed, world, no_sockets, tmp_path
):
    path = os.pathsep.join([no_sockets, world.pythonpath])
    done = installed(
        *("score", world.pictures, "--offline"),
        env={"PYTHONPATH": path, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0"},
    )
    error = refused(done, 4)
    assert "--offline" in error
    assert "huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/main/" in error


def test_the_default_encoder_is_downloaded_and_scores_alike_on_both_backends(
    installed,
    world,
    vitb32_hub,  # noqa: F811
    tmp_path,
):
    """ViT-B-32 of its true shape with random weights, from a hub on this machine."""
    some = [world.pictures / f"{number:04}.png" for number in range(3)]
    options = [*world.arguments("s", "t", encoder="ViT-B-32/openai"), "-f", "json", "--no-cache"]
    audits = {}
    for backend in ("torch", "onnx"):
        env = {**vitb32_hub.env, "PYTHONWARNINGS": "default"}
        done = clean(installed("score", *some, *options, "--backend", backend, env=env))
        audits[backend] = json.loads(done.out)
    torch, onnx = audits["torch"], audits["onnx"]
    assert torch["run"]["encoder"]["backend"] == "torch"
    assert onnx["run"]["encoder"]["backend"] == "onnx"
    assert torch["run"]["encoder"]["fingerprint"] == onnx["run"]["encoder"]["fingerprint"]
    assert (torch["run"]["encoder"]["dim"], torch["run"]["encoder"]["input"]["size_px"]) == (
        512,
        224,
    )
    for row, twin in zip(torch["rows"], onnx["rows"], strict=True):
        assert row["mean_similarity"] == pytest.approx(
            twin["mean_similarity"], rel=0, abs=BACKENDS_AGREE
        )
        for finding, other in zip(row["findings"], twin["findings"], strict=True):
            assert finding["score"] == pytest.approx(other["score"], rel=0, abs=BACKENDS_AGREE)
