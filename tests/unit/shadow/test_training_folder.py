import json
import signal
import statistics
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clipaudit.encoders.base import EncoderOptions
from clipaudit.errors import EncoderError, UsageError
from clipaudit.files import FileError
from clipaudit.shadow.architectures import build
from clipaudit.shadow.config import Algorithm, head_of
from clipaudit.shadow.encoder import load
from clipaudit.shadow.pretrain import Epoch, pretrain
from clipaudit.shadow.training_folder import (
    ENCODER,
    has_encoder,
    has_snapshot,
    snapshot,
)
from tests.made.present import present
from tests.made.trainings import LONG, QUICK, Killed, coloured_noise, run_in, stop_after

ROOT = Path(__file__).parents[3]
ALGORITHMS: tuple[Algorithm, ...] = (
    "simclr",
    "byol",
)  # of which one has a head, and networks, of its own


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def no_epoch(epoch):
    raise AssertionError(f"epoch {epoch.number} was done again")


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def contents(folder):
    """All that two runs have in common: everything but times."""
    files = files_of(folder)
    del files["log.jsonl"]
    return files


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def weights_of(folder):
    return load_file(folder / "encoder.safetensors")


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def input_of(folder):
    return json.loads((folder / "encoder.json").read_text())["input"]


# --- what a run leaves ---------------------------------------------------------------------------


def test_a_run_leaves_its_log_its_checkpoint_its_encoder_and_its_snapshots(tmp_path):
    assert not has_encoder(tmp_path / "run")
    assert not has_snapshot(tmp_path / "run", 1)
    run_in(tmp_path / "run", snapshots=(3, 1))
    assert set(files_of(tmp_path / "run")) == {
        "log.jsonl",
        *("checkpoints/checkpoint.safetensors", "checkpoints/checkpoint.json"),
        *("encoder/encoder.safetensors", "encoder/encoder.json"),
        *("epoch-1/encoder.safetensors", "epoch-1/encoder.json"),
        *("epoch-3/encoder.safetensors", "epoch-3/encoder.json"),
    }
    assert has_encoder(tmp_path / "run")
    there = [epoch for epoch in range(6) if has_snapshot(tmp_path / "run", epoch)]
    assert there == [1, 3]


def test_the_log_has_a_line_for_every_epoch_that_says_what_was_told(tmp_path):
    told: list[Epoch] = []
    run_in(tmp_path, on_epoch=told.append)
    assert [epoch.number for epoch in told] == [1, 2, 3, 4]
    assert log_of(tmp_path) == [asdict(epoch) for epoch in told]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_encoder_is_what_pre_training_on_these_members_gives(tmp_path, algorithm):
    config = replace(QUICK, algorithm=algorithm)
    run_in(tmp_path, config)
    pixels = coloured_noise() / 255
    mean, std = (tuple(of.round(4)) for of in (pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))))
    net = pretrain(torch.from_numpy(coloured_noise()), mean, std, config)
    assert_same(weights_of(tmp_path / ENCODER), net.state_dict())


def test_two_runs_with_the_same_options_write_the_same_bytes(tmp_path):
    run_in(tmp_path / "one", snapshots=(2,))
    run_in(tmp_path / "other", snapshots=(2,), checkpoint_every_s=0)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_members_are_not_changed(tmp_path):
    images = coloured_noise()
    run_in(tmp_path, images=images)
    np.testing.assert_array_equal(images, coloured_noise())


# --- normalisation -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_pictures_are_normalised_by_mean_and_spread_of_the_members(tmp_path, seed):
    images = coloured_noise(seed, n=3 + seed, side=8 + seed)
    run_in(tmp_path, replace(QUICK, epochs=1), images)
    given = input_of(tmp_path / ENCODER)
    assert (given["size_px"], given["interpolation"]) == (8 + seed, "bicubic")
    for channel in range(3):
        values = [int(value) / 255 for value in images[:, channel].flat]
        assert given["mean"][channel] == pytest.approx(statistics.fmean(values), abs=6e-5)
        assert given["std"][channel] == pytest.approx(statistics.pstdev(values), abs=6e-5)
    assert [round(value, 4) for value in given["mean"] + given["std"]] == (
        given["mean"] + given["std"]
    )


def test_members_of_one_colour_have_a_spread_all_the_same(tmp_path):
    """Or a picture of another colour would be infinite."""
    images = coloured_noise()
    images[:, 1] = 51
    run_in(tmp_path, replace(QUICK, epochs=1), images)
    given = input_of(tmp_path / ENCODER)
    assert (given["mean"][1], given["std"][1]) == (0.2, 0.001)
    views = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(embedded(tmp_path, views)).all()


def test_a_sum_over_many_members_does_not_run_over(tmp_path):
    images = np.full((400, 3, 16, 16), 255, np.uint8)
    images[::2] = 253
    run_in(tmp_path, replace(QUICK, epochs=1, batch_size=400), images)
    given = input_of(tmp_path / ENCODER)
    assert given["mean"] == [round(254 / 255, 4)] * 3
    assert given["std"] == [round(1 / 255, 4)] * 3


# --- snapshots -----------------------------------------------------------------------------------


def embedded(folder, views, output="embedding"):
    return load(str(folder), EncoderOptions(device="cpu", output=output)).embed(views)


def weights_by_epoch(folder, config):
    """What the net was after each epoch, as the checkpoints of another run have it."""
    nets = []

    def look(_epoch):
        path = folder / "checkpoints/checkpoint.safetensors"
        if path.exists():
            nets.append(load_file(path))

    run_in(folder, config, checkpoint_every_s=0, on_epoch=look)
    look(None)
    assert len(nets) == config.epochs
    return [
        {name.removeprefix("net."): value for name, value in one.items() if name[:4] == "net."}
        for one in nets
    ]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_snapshot_is_an_encoder_as_the_net_was_after_its_epoch(tmp_path, algorithm):
    config = replace(QUICK, algorithm=algorithm)
    expected = weights_by_epoch(tmp_path / "other", config)
    run_in(tmp_path / "run", config, snapshots=[1, 3, 4])
    views = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for epoch in (1, 3, 4):
        folder = snapshot(tmp_path / "run", epoch)
        assert folder == tmp_path / "run" / f"epoch-{epoch}"
        assert_same(weights_of(folder), expected[epoch - 1])
        assert input_of(folder) == input_of(tmp_path / "run" / ENCODER)

        net = build("resnet-tiny", 8, 0, head_of(algorithm)).eval()
        net.load_state_dict(expected[epoch - 1])
        mean, std = (torch.tensor(input_of(folder)[of]).view(3, 1, 1) for of in ("mean", "std"))
        with torch.no_grad():
            trunk = net.get_submodule("trunk")((views - mean) / std)
            torch.testing.assert_close(embedded(folder, views, "trunk"), trunk)
            torch.testing.assert_close(embedded(folder, views), net((views - mean) / std))
    assert files_of(tmp_path / "run/epoch-4") == files_of(tmp_path / "run" / ENCODER)
    assert files_of(tmp_path / "run/epoch-3") != files_of(tmp_path / "run" / ENCODER)


def test_a_run_is_the_same_with_snapshots_and_without(tmp_path):
    run_in(tmp_path / "with", snapshots=(1, 2, 3, 4))
    run_in(tmp_path / "without")
    for name in ("encoder", "checkpoints"):
        assert files_of(tmp_path / "with" / name) == files_of(tmp_path / "without" / name)


# --- killed --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    torch.set_num_threads(1)
    folders = {}
    for algorithm in ALGORITHMS:
        folders[algorithm] = tmp_path_factory.mktemp("undisturbed") / algorithm
        run_in(folders[algorithm], replace(QUICK, algorithm=algorithm), snapshots=(2, 4))
    return folders


def assert_finished_as(undisturbed, folder):
    assert contents(folder) == contents(undisturbed)
    for key in ("number", "of", "loss"):
        assert [line[key] for line in log_of(folder)] == [line[key] for line in log_of(undisturbed)]


@pytest.mark.parametrize(
    ("algorithm", "stops"),
    [("simclr", [1]), ("simclr", [2, 3, 4]), ("simclr", [4, 4]), ("byol", [1, 3])],
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, undisturbed, algorithm, stops):
    how = {"checkpoint_every_s": 0, "snapshots": (2, 4)}
    config = replace(QUICK, algorithm=algorithm)
    for epoch in stops:
        with pytest.raises(Killed):
            run_in(tmp_path, config, on_epoch=stop_after(epoch), **how)
        assert not has_encoder(tmp_path)
        assert [line["number"] for line in log_of(tmp_path)] == list(range(1, epoch + 1))
    told: list[Epoch] = []
    run_in(tmp_path, config, on_epoch=told.append, **how)
    # What stopped an epoch came before its checkpoint, so that epoch is done again.
    assert [epoch.number for epoch in told] == list(range(max(stops), 5))
    assert_finished_as(undisturbed[algorithm], tmp_path)


def test_epochs_that_no_checkpoint_has_are_done_and_logged_again(tmp_path, undisturbed):
    for epoch in (3, 2, 4):
        with pytest.raises(Killed):
            run_in(tmp_path, on_epoch=stop_after(epoch), checkpoint_every_s=3600, snapshots=(2, 4))
    run_in(tmp_path, snapshots=(2, 4))
    assert_finished_as(undisturbed["simclr"], tmp_path)


@pytest.mark.parametrize("torn", ['{"number": 3, "lo', "", "\n\n", '{"number": 3}\n{"number": 4}'])
def test_what_a_crash_left_at_the_end_of_the_log_is_forgotten(tmp_path, undisturbed, torn):
    with pytest.raises(Killed):
        run_in(tmp_path, on_epoch=stop_after(3), checkpoint_every_s=0, snapshots=(2, 4))
    path = tmp_path / "log.jsonl"
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:2]) + torn)
    run_in(tmp_path, snapshots=(2, 4))
    assert_finished_as(undisturbed["simclr"], tmp_path)


def test_a_run_without_its_encoder_only_writes_it(tmp_path, undisturbed):
    """Killed after the last checkpoint, here by a file that is in the way of the encoder."""
    (tmp_path / ENCODER).touch()
    with pytest.raises(FileError, match="cannot write"):
        run_in(tmp_path, snapshots=(2, 4))
    assert not has_encoder(tmp_path)
    (tmp_path / ENCODER).unlink()
    log = log_of(tmp_path)
    run_in(tmp_path, on_epoch=no_epoch, snapshots=(2, 4))
    assert log_of(tmp_path) == log
    assert_finished_as(undisturbed["simclr"], tmp_path)


def test_an_encoder_without_its_card_is_none_and_is_written_again(tmp_path, undisturbed):
    """The weights are written first, so this is what a crash between the two leaves."""
    run_in(tmp_path, snapshots=(2, 4))
    (tmp_path / ENCODER / "encoder.json").unlink()
    (tmp_path / ENCODER / "encoder.safetensors").write_bytes(b"half")
    assert not has_encoder(tmp_path)
    run_in(tmp_path, on_epoch=no_epoch, snapshots=(2, 4))
    assert_finished_as(undisturbed["simclr"], tmp_path)


KILLED = """
import sys
from pathlib import Path
import torch
from tests.made.trainings import LONG, run_in
torch.set_num_threads(1)
run_in(Path(sys.argv[1]), LONG, checkpoint_every_s=0, snapshots=range(1, 400))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_run_that_was_killed_leaves_no_half_snapshot_and_continues(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, stderr=subprocess.PIPE
    )
    while not has_snapshot(tmp_path, 5):
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)
            pytest.fail(present(process.stderr).read().decode())
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    present(process.stderr).close()
    there = [epoch for epoch in range(1, 400) if has_snapshot(tmp_path, epoch)]
    last = max(there)
    assert there == list(range(1, last + 1))
    assert 5 <= last < 399, "killed too late"
    for epoch in there[-10:]:
        load(str(snapshot(tmp_path, epoch)), EncoderOptions(device="cpu"))

    told: list[int] = []

    def stop_later(epoch):
        told.append(epoch.number)
        if epoch.number == last + 3:
            raise Killed

    with pytest.raises(Killed):
        run_in(tmp_path, LONG, on_epoch=stop_later, snapshots=range(1, 400))
    assert last <= told[0] <= last + 2  # the snapshot comes between the log and the checkpoint
    assert [line["number"] for line in log_of(tmp_path)] == list(range(1, last + 4))


# --- finished, or another's ----------------------------------------------------------------------


def test_a_finished_run_is_left_as_it_is(tmp_path):
    run_in(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    contents_before = files_of(tmp_path)
    run_in(tmp_path, on_epoch=no_epoch)
    run_in(
        tmp_path, images=coloured_noise(1), on_epoch=no_epoch, snapshots=(2,), checkpoint_every_s=0
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert files_of(tmp_path) == contents_before


OTHER: dict[str, Any] = {
    "epochs": 5,
    "seed": 1,
    "algorithm": "byol",
    "learning_rate": 0.01,
    "batch_size": 5,
}


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize("name", OTHER)
def test_a_run_of_other_options_is_refused_and_left_alone(tmp_path, is_finished, name):
    if is_finished:
        run_in(tmp_path)
    else:
        with pytest.raises(Killed):
            run_in(tmp_path, on_epoch=stop_after(2), checkpoint_every_s=0)
    before = files_of(tmp_path)
    with pytest.raises(UsageError, match=rf"other options \({name}\)") as caught:
        run_in(tmp_path, replace(QUICK, **{name: OTHER[name]}), on_epoch=no_epoch)
    assert "--output" in caught.value.hint
    assert files_of(tmp_path) == before


def test_a_finished_encoder_whose_options_nobody_knows_is_not_passed_off_as_ours(tmp_path):
    run_in(tmp_path)
    (tmp_path / "checkpoints/checkpoint.json").unlink()
    before = files_of(tmp_path)
    with pytest.raises(EncoderError, match="cannot be read") as caught:
        run_in(tmp_path, on_epoch=no_epoch)
    assert "encoder beside it" in caught.value.hint
    assert files_of(tmp_path) == before


def test_a_run_that_got_out_of_hand_has_no_encoder_and_keeps_its_log(tmp_path):
    wild = replace(QUICK, learning_rate=1e30)
    with pytest.raises(EncoderError, match="out of hand in epoch 1"):
        run_in(tmp_path, wild, snapshots=(1,))
    assert not has_encoder(tmp_path)
    assert not has_snapshot(tmp_path, 1)
    assert not (tmp_path / "log.jsonl").exists()


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write"):
        run_in(tmp_path / "file" / "run")
