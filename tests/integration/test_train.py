"""`clipaudit train`, as people run it: on files, killed, continued, repeated, with a full disk."""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import clipaudit
from clipaudit.cli.app import main
from clipaudit.errors import EncoderError, InputError, UsageError
from clipaudit.files import FileError
from clipaudit.inferrers.base import Inferrer, Reads
from clipaudit.inferrers.card_text import render
from clipaudit.inferrers.library import load, save
from clipaudit.inferrers.threshold import MeanRule
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import score
from clipaudit.pipelines.train import train
from clipaudit.pipelines.train_config import TrainConfig
from clipaudit.pipelines.train_split import read_split
from clipaudit.seeding import stream
from clipaudit.shadow.config import PretrainConfig
from clipaudit.shadow.pretrain import Epoch, pretrain
from clipaudit.shadow.procedural import draw_picture
from clipaudit.statistics.metrics import auc
from tests.made.inferrers import card
from tests.made.present import present

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Own caches, and one thread."""
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of 60 small pictures, in two folders, and a text file."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(60):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw_picture(stream(1, str(number), "train test"), 16)).save(path)
    (folder / "licence.txt").write_text("free")
    return folder


def config(data, output, **changes):
    how = PretrainConfig(architecture="resnet-tiny", epochs=3, batch_size=10)
    small = TrainConfig(
        data=str(data),
        output=output,
        data_name="drawn",
        size_px=16,
        n_members=25,
        n_nonmembers=20,
        pretrain=how,
        outputs=("embedding",),
        n_views=4,
        n_draws=2,
        device="cpu",
        command="clipaudit train pictures -o run",
    )
    return replace(small, **changes)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
    """A finished run of all kinds on both outputs, and its result."""
    folder = tmp_path_factory.mktemp("run") / "run"
    seen: list[Epoch] = []
    everything = config(
        pictures, folder, similarities=("euclidean",), outputs=("embedding", "trunk")
    )
    return folder, train(everything, seen.append), seen, everything


# --- what a run leaves ---------------------------------------------------------------------------


def test_a_run_leaves_the_split_the_log_the_encoder_and_every_inferrer(run):
    folder, trained, _, _ = run
    inferrers = {one.card.name for one in trained.inferrers}
    assert inferrers == {
        f"drawn{output}-euclidean-{kind}" for output in ("", "-trunk") for kind in "vst"
    }
    of_inferrers = {
        f"inferrers/{name}/{file}"
        for name in inferrers
        for file in ("inferrer.json", "card.md", "weights.safetensors")
    }
    assert set(files_of(folder)) == of_inferrers | {
        *("split.json", "log.jsonl", "run.json"),
        *("checkpoints/checkpoint.safetensors", "checkpoints/checkpoint.json"),
        *("encoder/encoder.safetensors", "encoder/encoder.json"),
    }


def test_the_split_names_pictures_by_their_content(run, pictures):
    folder, _, _, _ = run
    split = read_split(folder)
    assert (len(split.members), len(split.nonmembers)) == (25, 20)
    assert not set(split.members) & set(split.nonmembers)
    known = {sha256(path) for path in pictures.rglob("*.png")}
    assert {*split.members, *split.nonmembers} <= known


def test_the_log_has_a_line_for_every_epoch(run):
    folder, _, seen, _ = run
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3]
    assert [line["loss"] for line in lines] == [epoch.loss for epoch in seen]


def test_every_card_says_what_was_done(run):
    folder, trained, _, _ = run
    fingerprints: dict[str, set[str]] = {}
    for inferrer in trained.inferrers:
        card = load(folder / "inferrers" / inferrer.card.name).card
        assert card == inferrer.card
        assert (card.reads.n_views, card.reads.recipe) == (4, "encodermi@1")
        assert (card.shadow.data, card.shadow.architecture) == ("drawn", "resnet-tiny")
        assert (card.shadow.n_members, card.shadow.n_nonmembers) == (25, 20)
        assert (card.shadow.epochs, card.shadow.size_px) == (3, 16)
        assert card.n_fitted == 36  # four fifths of each
        assert (card.evidence.tpr.n, card.evidence.fpr.n) == (5, 4)
        assert card.command == "clipaudit train pictures -o run"
        assert card.clipaudit_version == clipaudit.__version__
        text = (folder / "inferrers" / card.name / "card.md").read_text(encoding="utf-8")
        assert text == render(card)
        fingerprints.setdefault(card.reads.output, set()).add(card.shadow.encoder)
    assert {output: len(some) for output, some in fingerprints.items()} == {
        "embedding": 1,
        "trunk": 1,
    }


def test_the_shadow_encoder_saw_the_members_and_nothing_else(small_run, pictures):
    paths = {sha256(path): path for path in pictures.rglob("*.png")}
    seen = np.stack([np.array(Image.open(paths[one])) for one in read_split(small_run).members])
    mean, std = (
        tuple(of.round(4)) for of in (seen.mean((0, 1, 2)) / 255, seen.std((0, 1, 2)) / 255)
    )
    how = config(pictures, small_run).pretrain
    net = pretrain(torch.from_numpy(seen.transpose(0, 3, 1, 2).copy()), mean, std, how)
    saved = load_file(small_run / "encoder/encoder.safetensors")
    assert saved.keys() == net.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in net.state_dict().items())


def test_scoring_with_what_was_trained_gives_the_evidence_on_the_card(run, pictures):
    """The same rule on the same held-out pictures, by way of `clipaudit score`."""
    folder, trained, _, _ = run
    split = read_split(folder)
    paths = {sha256(path): path for path in pictures.rglob("*.png")}
    ids = split.members + split.nonmembers
    held_out = []
    for name, group in (("members", split.members), ("nonmembers", split.nonmembers)):
        order = stream(0, name, "held out").permutation(len(group))
        places = zip(group, order, strict=True)
        held_out += [one for one, place in places if place < len(group) // 5]
    chosen = [one for one in trained.inferrers if one.card.reads.output == "embedding"]
    audit = score(
        [paths[one] for one in ids],
        ScoreConfig(
            encoder=f"shadow:{folder}",
            inferrers=tuple(str(folder / "inferrers" / one.card.name) for one in chosen),
            n_views=4,
            use_store=False,
            workers=0,
        ),
    )
    by_id = {row.sha256: row for row in audit.rows}
    assert set(by_id) == set(ids)
    is_member = np.array([one in split.members for one in held_out])
    for inferrer in chosen:
        found = [
            next(f for f in by_id[one].findings if f.inferrer == inferrer.card.name)
            for one in held_out
        ]
        scores = np.array([one.score for one in found])
        evidence = inferrer.card.evidence
        assert auc(scores, is_member).value == pytest.approx(evidence.auc.value)
        called = np.array([one.prediction == "member" for one in found])
        assert called[is_member].mean() == evidence.tpr.value
        assert called[~is_member].mean() == evidence.fpr.value


def test_a_finished_run_does_nothing_again(run):
    folder, trained, _, everything = run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    def on_epoch(_epoch):
        raise AssertionError("an epoch was done again")

    again = train(everything, on_epoch)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [one.card for one in again.inferrers] == [one.card for one in trained.inferrers]
    assert again.seconds == trained.seconds


def test_the_folder_of_a_run_may_be_moved_and_the_data_be_gone(run, tmp_path):
    folder, trained, _, everything = run
    (tmp_path / "moved").symlink_to(folder)
    again = train(replace(everything, output=tmp_path / "moved", device="auto", command="other"))
    assert [one.card for one in again.inferrers] == [one.card for one in trained.inferrers]


# --- the same bytes ------------------------------------------------------------------------------


def contents(folder):
    """All that must be alike: everything but times."""
    files = files_of(folder)
    del files["run.json"], files["log.jsonl"]
    return files


@pytest.fixture(scope="module")
def small_run(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "run"
    train(config(pictures, folder))
    return folder


def test_another_run_with_the_same_options_writes_the_same_bytes(pictures, small_run, tmp_path):
    train(config(pictures, tmp_path / "run"))
    assert contents(tmp_path / "run") == contents(small_run)


def test_a_zip_gives_what_its_folder_gave(pictures, small_run, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for number, path in enumerate(sorted(pictures.rglob("*.png"), reverse=True)):
            archive.write(path, f"renamed/{number}.png")
    train(config(tmp_path / "set.zip", tmp_path / "run"))
    assert contents(tmp_path / "run") == contents(small_run)


def test_a_run_without_its_inferrers_makes_them_again_and_the_encoder_not(
    pictures, small_run, tmp_path
):
    train(config(pictures, tmp_path / "run"))
    (tmp_path / "run/inferrers/drawn-v/weights.safetensors").write_bytes(b"broken")
    before = (tmp_path / "run/encoder/encoder.safetensors").stat().st_mtime_ns

    def on_epoch(_epoch):
        raise AssertionError("an epoch was done again")

    train(config(pictures, tmp_path / "run"), on_epoch)
    assert contents(tmp_path / "run") == contents(small_run)
    assert (tmp_path / "run/encoder/encoder.safetensors").stat().st_mtime_ns == before


# --- killed --------------------------------------------------------------------------------------

OPTIONS = (
    *("--data-name", "drawn", "--size", "16", "--members", "25", "--nonmembers", "20"),
    *("--architecture", "resnet-tiny", "--epochs", "40", "--batch-size", "10", "--views", "4"),
    *("--kind", "T", "--encoder-output", "embedding", "--device", "cpu"),
)


def command(data, output, *more):
    line = [sys.executable, "-m", "clipaudit", "train", str(data), "-o", str(output)]
    return [*line, *OPTIONS, *more]


def n_lines(path):
    return len(path.read_bytes().splitlines()) if path.exists() else 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("algorithm", ["simclr", "mocov2"])
def test_a_killed_run_continues_to_the_same_weights(pictures, tmp_path, algorithm):
    folder = tmp_path / "run"
    line = command(pictures, folder, "--algorithm", algorithm, "--checkpoint-every", "0")
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE)
    while n_lines(folder / "log.jsonl") < 6:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.01)
            pytest.fail(present(process.stderr).read().decode())
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    present(process.stderr).close()
    n_done = n_lines(folder / "log.jsonl")
    assert 6 <= n_done < 40, "killed too late"
    assert not (folder / "encoder").exists()
    saved = json.loads((folder / "checkpoints/checkpoint.json").read_text())["epochs_done"]
    assert n_done - 2 <= saved <= n_done

    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "drawn-t: accuracy" in done.stdout

    how = PretrainConfig(architecture="resnet-tiny", algorithm=algorithm, epochs=40, batch_size=10)
    train(config(pictures, tmp_path / "undisturbed", pretrain=how, kinds=("T",)))
    assert encoder_of(folder) == encoder_of(tmp_path / "undisturbed")
    numbers = [
        [json.loads(line)["number"] for line in (one / "log.jsonl").read_text().splitlines()]
        for one in (folder, tmp_path / "undisturbed")
    ]
    assert numbers == [list(range(1, 41))] * 2


def encoder_of(folder):
    return (folder / "encoder/encoder.safetensors").read_bytes()


# --- the command ---------------------------------------------------------------------------------


def called(capsys, *arguments):
    """Exit code, stdout and stderr of the command, in this process."""
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, arguments)))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return caught.value.code, said.out, said.err


def test_the_command_prints_what_it_made_and_the_card_how(pictures, tmp_path, capsys):
    line = [*command(pictures, tmp_path / "run")[3:], "--epochs", "2", "--similarity", "pearson"]
    code, out, err = called(capsys, *line)
    assert code in (0, None), err
    assert out.splitlines() == [
        f"{tmp_path / 'run/inferrers/drawn-pearson-t'}: accuracy "
        + str(load(tmp_path / "run/inferrers/drawn-pearson-t").card.evidence.accuracy)
        + " on held-out pictures of drawn, with its own shadow encoder"
    ]
    card = load(tmp_path / "run/inferrers/drawn-pearson-t").card
    assert shlex.split(card.command) == ["clipaudit", *line]


ERRORS = {
    "no such data": (["/nowhere/at/all"], 6, "no data set", "Pass a folder"),
    "too many members": (["{data}", "--members", "50"], 3, "60 different pictures", "60 together"),
    "few members": (["{data}", "--members", "3"], 2, "at least 10 members", "--members"),
    "one view": (["{data}", "--views", "1"], 2, "1 views", "--views"),
    "tiny pictures": (["{data}", "--size", "4"], 2, "4 pixels", "--size 8"),
    "no epochs": (["{data}", "--epochs", "0"], 2, "epochs cannot be 0", "1 or more"),
    "no temperature": (["{data}", "--temperature", "0"], 2, "temperature", "above 0"),
    "no kind": (["{data}", "--kind", "X"], 2, "--kind X", "V, S, T"),
    "no similarity": (["{data}", "--similarity", "dot"], 2, "dot", "cosine"),
    "no output": (["{data}", "--encoder-output", "head"], 2, "head", "trunk"),
    "no device": (["{data}", "--device", "abacus"], 4, "abacus", "cpu"),
    "no earlier run": (["{data}", "--without", "/nowhere"], 3, "holds no run", "--output"),
    "negative seed": (["{data}", "--seed", "-1"], 2, "seed cannot be -1", "within 0"),
    "name with a slash": (["{data}", "--data-name", "../x"], 2, "no name for a data set", "slash"),
}


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_every_wrong_option_is_a_message_and_an_exit_code(pictures, tmp_path, capsys, case):
    given, expected, message, hint = case
    data, *more = (one.replace("{data}", str(pictures)) for one in given)
    line = [*command(data, tmp_path / "run")[3:], *more]
    code, out, err = called(capsys, *line)
    said, _, advice = " ".join(err.split()).partition("hint:")
    assert code == expected, err
    assert not out
    assert message in said
    assert hint in advice


@pytest.mark.skipif(os.name != "posix", reason="POSIX file systems only")
def test_a_data_set_whose_name_is_no_text_ends_in_a_card_that_is(pictures, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\x1b[2J"))
    shutil.copytree(pictures, odd)
    trained = train(config(odd, tmp_path / "run", data_name=None, command=f"clipaudit train {odd}"))
    names = {one.card.shadow.data for one in trained.inferrers}
    assert names == {"caf\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[2J"}
    for inferrer in trained.inferrers:
        assert load(trained.folder / inferrer.card.name).card == inferrer.card


# --- what a run refuses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"n_members": 24},
        {"n_nonmembers": 19},
        {"seed": 1},
        {"size_px": 32},
        {"data_name": "other"},
        {"pretrain": PretrainConfig(architecture="resnet-tiny", epochs=4, batch_size=10)},
        {"pretrain": PretrainConfig(architecture="resnet-tiny", epochs=3, batch_size=9)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_folder_with_a_run_of_other_options_is_left_alone(pictures, small_run, changes):
    before = files_of(small_run)
    with pytest.raises(UsageError, match="other options") as caught:
        train(config(pictures, small_run, **changes))
    assert "--output" in caught.value.hint
    assert files_of(small_run) == before


def test_a_finished_encoder_whose_options_nobody_knows_is_not_used(pictures, tmp_path):
    train(config(pictures, tmp_path / "run"))
    (tmp_path / "run/checkpoints/checkpoint.json").unlink()
    (tmp_path / "run/run.json").unlink()
    with pytest.raises(EncoderError, match="cannot be read"):
        train(config(pictures, tmp_path / "run"))


def test_runs_without_one_another_share_no_picture(pictures, tmp_path):
    wanted = {"n_members": 15, "n_nonmembers": 14, "kinds": ("T",)}
    train(config(pictures, tmp_path / "one", **wanted))
    train(config(pictures, tmp_path / "two", without=(tmp_path / "one",), **wanted))
    one, two = (read_split(tmp_path / name) for name in ("one", "two"))
    assert not {*one.members, *one.nonmembers} & {*two.members, *two.nonmembers}
    both = (tmp_path / "one", tmp_path / "two")
    with pytest.raises(InputError, match="has 2 different pictures"):
        train(config(pictures, tmp_path / "three", without=both, **wanted))
    with pytest.raises(UsageError, match="29 pictures that --without rules out"):
        train(config(pictures, tmp_path / "two", without=both, **wanted))


def test_data_that_changed_under_a_run_is_noticed(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "set")
    train(config(tmp_path / "set", tmp_path / "run"))
    (tmp_path / "run/run.json").unlink()
    for path in (tmp_path / "set/a").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"pictures of the run in .* are not in drawn"):
        train(config(tmp_path / "set", tmp_path / "run"))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"members": 3}', '{"members": [], "x": 1}'])
def test_a_broken_split_is_an_error_of_ours(pictures, tmp_path, content):
    (tmp_path / "split.json").write_text(content)
    with pytest.raises((InputError, UsageError)):
        train(config(pictures, tmp_path))


def test_an_output_that_is_no_folder_is_an_error_of_ours(pictures, tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(FileError, match="cannot write") as caught:
        train(config(pictures, tmp_path / "run"))
    assert caught.value.exit_code == 4


FULL = """
import resource, sys
from clipaudit.cli.app import main

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_is_a_message_and_exit_code_4(pictures, tmp_path):
    line = [*command(pictures, tmp_path / "run")[3:], "--epochs", "2"]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *line], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write" in done.stderr
    assert "Free some space" in done.stderr
    assert not list((tmp_path / "run").rglob("*.tmp"))


# --- and whether it can tell ---------------------------------------------------------------------


def test_an_encoder_that_saw_them_tells_members_apart_and_a_stranger_does_not(
    known_truth, tmp_path
):
    """On ground truth: one encoder saw half of the pictures 400 times, the other none."""
    ten_views = Reads("cosine", 10, "encodermi@1", "embedding")
    save(Inferrer(card("T", reads=ten_views), MeanRule()), tmp_path / "t")
    estimates = {}
    for name in ("overfitted", "stranger"):
        audit = score(
            [known_truth.folder / "members", known_truth.folder / "nonmembers"],
            ScoreConfig(
                encoder=getattr(known_truth, name),
                inferrers=(str(tmp_path / "t"),),
                use_store=False,
                workers=0,
            ),
        )
        scores = np.array([row.mean_similarity for row in audit.rows])
        is_member = np.array(["/members/" in row.path for row in audit.rows])
        assert is_member.sum() == 48
        assert len(scores) == 96
        estimates[name] = auc(scores, is_member)
    assert estimates["overfitted"].low > 0.75
    assert estimates["stranger"].low < 0.5 < estimates["stranger"].high


def test_the_whole_command_on_cifar_pictures(cifar_zip, tmp_path, capsys):
    line = ["train", cifar_zip, "-o", tmp_path / "run", "--data-name", "cifar10", "--members", 60]
    line += ["--nonmembers", 40, "--epochs", 3, "--architecture", "resnet-tiny", "--device", "cpu"]
    line += ["--views", 4, "--encoder-output", "embedding"]
    code, out, err = called(capsys, *line)
    assert code in (0, None), err
    assert len(out.splitlines()) == 3
    assert "pre-training: epoch 3 of 3" in err
    names = {path.name for path in (tmp_path / "run/inferrers").iterdir()}
    assert names == {"cifar10-v", "cifar10-s", "cifar10-t"}
    code, again, _ = called(capsys, *line)
    assert again == out
