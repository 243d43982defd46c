import io
import json
import os
import shutil
import sys
import threading
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file as load_tensors
from sklearn.linear_model import LogisticRegression

from clipaudit.encoders.base import EncoderOptions
from clipaudit.errors import EncoderError, InputError
from clipaudit.features.views import RECIPES, draw, make_views
from clipaudit.inferrers import find_rule
from clipaudit.lab.collecting import read_facts
from clipaudit.lab.measurements import read_fit, read_probe, read_signals
from clipaudit.lab.splits import read_split
from clipaudit.lab.units import VIEWS, Fit, Look
from clipaudit.lab.worker import ERROR, main, make
from clipaudit.seeding import derive
from clipaudit.shadow.encoder import load
from clipaudit.shadow.pretrain import pretrain
from clipaudit.shadow.training_folder import has_encoder, has_snapshot, pretrain_in, snapshot
from tests.made.labs import plan_of
from tests.made.present import present

N_MEMBERS = 10


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def of(small_lab):
    """The units of the small lab: `target`, `shadow` and, with other data, `other`."""
    units = plan_of(small_lab).units.values()
    return {"other" if one.data == "other" else one.role: one for one in units}


@pytest.fixture
def quick(of, tmp_path):
    """A shadow encoder of four epochs, not made yet, in a lab of its own."""
    unit = of["shadow"]
    looks = [Look("trunk", epoch, number, 3) for epoch in (None, 2) for number in range(2)]
    return replace(
        unit,
        lab=tmp_path / "lab",
        key="quick",
        pretrain=replace(unit.pretrain, epochs=4),
        looks=tuple(looks),
        fits=(Fit("trunk", "T", "cosine", 3, 2),),
        probes=(),
    )


@pytest.fixture(scope="module")
def made(small_lab, tmp_path_factory):
    """Two of the same: of all that can be wanted, and of the same with fewer views."""
    shadow = next(one for one in plan_of(small_lab).units.values() if one.role == "shadow")
    units = []
    for n_views in (4, 2):
        looks = tuple(Look("embedding", None, number, n_views) for number in range(3))
        fits = [Fit("embedding", kind, "euclidean", 2, 2) for kind in "VST"] * (n_views == 4)
        unit = replace(
            shadow,
            lab=tmp_path_factory.mktemp(f"made-{n_views}"),
            pretrain=replace(shadow.pretrain, epochs=4),
            looks=looks,
            fits=tuple(fits),
            probes=(),
        )
        make(unit, "cpu")
        units.append(unit)
    return units


def states(unit):
    """Bytes and time of every file but the description, which is written each time."""
    paths = [path for path in unit.folder.rglob("*") if path.is_file()]
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in paths
        if path.name != "about.json"
    }


def contents(unit):
    """All that two makings have in common: everything but times."""
    return {
        path.relative_to(unit.folder).as_posix(): path.read_bytes()
        for path in unit.folder.rglob("*")
        if path.is_file() and path.name != "log.jsonl"
    }


def log_of(unit):
    return [json.loads(line) for line in (unit.folder / "log.jsonl").read_text().splitlines()]


def pictures_of(unit):
    split = read_split(unit.split)
    ids, _ = split.pictures(unit.role, unit.n_members)
    return ids, split.pixels(ids)


# --- what is made --------------------------------------------------------------------------------


def test_a_unit_that_was_made_is_done_and_keeps_no_checkpoint(of):
    for unit in of.values():
        assert unit.is_trained
        assert unit.is_done
        assert not (unit.folder / "checkpoints").exists()
        assert [line["number"] for line in log_of(unit)] == list(range(1, unit.pretrain.epochs + 1))
    assert has_snapshot(of["target"].folder, 2)
    about = json.loads((of["other"].folder / "about.json").read_text())
    assert (about["data"], about["role"], about["n_members"]) == ("other", "shadow", N_MEMBERS)
    assert about["pretrain"]["architecture"] == "vgg-tiny"


def test_an_encoder_saw_its_members_and_nothing_else(quick):
    make(quick, "cpu")
    members = pictures_of(quick)[1][:N_MEMBERS]
    mean, std = (
        tuple(of((0, 2, 3)).round(4)) for of in ((members / 255).mean, (members / 255).std)
    )
    net = pretrain(torch.from_numpy(members), mean, std, quick.pretrain)
    saved = load_tensors(quick.folder / "encoder" / "encoder.safetensors")
    assert saved.keys() == net.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in net.state_dict().items())


def test_making_again_leaves_all_that_is_finished_as_it_is(quick):
    make(quick, "cpu")
    before, about = states(quick), (quick.folder / "about.json").read_bytes()
    make(quick, "cpu")
    assert states(quick) == before
    assert (quick.folder / "about.json").read_bytes() == about


@pytest.mark.parametrize("gone", ["signals/trunk-end-draw1-n3", "fits/trunk-cosine-n3-draws2-T"])
def test_what_is_missing_alone_is_made_again(quick, gone):
    make(quick, "cpu")
    before = states(quick)
    path = quick.folder / f"{gone}.safetensors"
    path.unlink()
    assert quick.is_trained
    assert not quick.is_done
    make(quick, "cpu")
    after = states(quick)
    assert after.keys() == before.keys()
    assert {one for one in after if after[one] != before[one]} == {path}
    assert after[path][0] == before[path][0]


def test_a_further_wish_leaves_the_encoder_as_it_is(quick):
    make(quick, "cpu")
    before = states(quick)
    more = replace(quick, looks=(*quick.looks, Look("embedding", None, 0, 2)))
    assert not more.is_done
    make(more, "cpu")
    assert more.is_done
    assert {path: states(more)[path] for path in before} == before


def test_an_encoder_whose_snapshot_is_missing_is_trained_anew_to_the_same(quick):
    make(quick, "cpu")
    before = contents(quick)
    shutil.rmtree(snapshot(quick.folder, 2))
    (quick.folder / "log.jsonl").unlink()
    assert has_encoder(quick.folder)
    assert not quick.is_trained
    make(quick, "cpu")
    assert contents(quick) == before
    assert len(log_of(quick)) == 4


class Killed(Exception):  # noqa: N818
    pass


def test_a_snapshot_from_before_the_checkpoint_of_a_stopped_run_is_made_too(quick):
    def stop(epoch):
        if epoch.number == 4:
            raise Killed

    images = pictures_of(quick)[1][:N_MEMBERS]
    with pytest.raises(Killed):  # when no snapshot was asked for yet
        pretrain_in(
            quick.folder,
            images,
            quick.pretrain,
            device="cpu",
            checkpoint_every_s=0,
            on_epoch=stop,
        )
    make(quick, "cpu")
    assert quick.is_done
    undisturbed = replace(quick, lab=quick.lab.parent / "undisturbed")
    make(undisturbed, "cpu")
    assert contents(quick) == contents(undisturbed)


def test_two_makings_differ_in_nothing_but_times(quick):
    make(quick, "cpu")
    again = replace(quick, lab=quick.lab.parent / "again")
    make(again, "cpu")
    assert contents(again) == contents(quick)


# --- signals -------------------------------------------------------------------------------------


def slow_cosine(one, other):
    products = sum(float(x) * float(y) for x, y in zip(one, other, strict=True))
    return products / np.sqrt(sum(float(x) ** 2 for x in one) * sum(float(y) ** 2 for y in other))


@pytest.mark.parametrize(("output", "epoch"), [("embedding", None), ("trunk", 2)])
def test_signals_are_those_of_the_pictures_members_first(of, output, epoch):
    unit = of["target"]
    ids, pixels = pictures_of(unit)
    assert len(ids) == 2 * N_MEMBERS
    signals, plain = read_signals(unit, Look(output, epoch, 0, 3))
    folder = unit.folder / "encoder" if epoch is None else snapshot(unit.folder, epoch)
    encoder = load(str(folder), EncoderOptions(output=output, device="cpu"))
    for row in (0, N_MEMBERS, 2 * N_MEMBERS - 1):
        picture = torch.from_numpy(pixels[row : row + 1])
        embedded = encoder.embed(picture / 255)[0].numpy()
        np.testing.assert_allclose(plain[row], embedded, rtol=1e-3, atol=1e-5)
        assert signals.plain_norm[row] == pytest.approx(np.linalg.norm(embedded), rel=1e-3)
        views = make_views(picture, draw([ids[row]], RECIPES[VIEWS], 3, 16, 0))[0]
        embeddings = encoder.embed(views).numpy()
        cosines = [slow_cosine(one, other) for one, other in combinations(embeddings, 2)]
        np.testing.assert_allclose(signals.cosine[row], cosines, atol=1e-4)


def test_every_draw_has_views_of_its_own(made):
    unit, _ = made
    drawn = [read_signals(unit, look)[0].cosine for look in unit.looks]
    for one, other in combinations(drawn, 2):
        assert not np.isclose(one, other).all(axis=1).any()


def test_the_first_of_more_views_are_the_views_of_fewer(made):
    more, fewer = made
    for number in range(3):
        four, _ = read_signals(more, Look("embedding", None, number, 4))
        two, _ = read_signals(fewer, Look("embedding", None, number, 2))
        assert four.cosine.shape == (20, 6)
        assert two.cosine.shape == (20, 1)
        np.testing.assert_allclose(two.cosine[:, 0], four.cosine[:, 0], atol=1e-5)
        np.testing.assert_allclose(two.euclidean[:, 0], four.euclidean[:, 0], atol=1e-4)
        np.testing.assert_allclose(two.norms, four.norms[:, :2], rtol=1e-4)


# --- inferrers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", "VST")
def test_a_fit_is_that_of_its_kind_on_the_very_signals(made, kind):
    """On two of three draws, the first two of four views, members first in each draw."""
    unit, _ = made
    values, is_member = [], []
    for number in (0, 1):
        name = f"signals/embedding-end-draw{number}-n4.safetensors"
        for row, pairs in enumerate(load_arrays(unit.folder / name)["euclidean"]):
            values.append(pairs[:1])  # the pair of the first two
            is_member.append(row < N_MEMBERS)
    features, truth = np.array(values), np.array(is_member)
    seed = derive(unit.seed, f"{kind} embedding", "lab fit") % 2**63
    rule = find_rule(kind).train(features, truth, seed)
    found, threshold = read_fit(unit, Fit("embedding", kind, "euclidean", 2, 2))
    assert type(found) is type(rule)
    assert threshold == rule.threshold(features, truth)
    for name, array in rule.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array)
    np.testing.assert_array_equal(found.score(features), rule.score(features))


# --- the downstream classifier -------------------------------------------------------------------


@pytest.mark.parametrize(("role", "epoch"), [("target", None), ("target", 2), ("shadow", None)])
def test_a_probe_is_a_linear_classifier_on_the_trunk(of, role, epoch):
    unit = of[role]
    split = read_split(unit.split)
    folder = unit.folder / "encoder" if epoch is None else snapshot(unit.folder, epoch)
    encoder = load(str(folder), EncoderOptions(output="trunk", device="cpu"))

    def embedded(ids):
        pixels = torch.from_numpy(split.pixels(ids))
        return torch.cat([encoder.embed(one[None] / 255) for one in pixels]).double().numpy()

    train, test = (embedded(split.groups[f"probe-{part}"]) for part in ("train", "test"))
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread[spread < 1e-9] = 1
    classifier = LogisticRegression(C=0.1, max_iter=5000)
    labels = present(split.labels)
    classifier.fit((train - mean) / spread, labels["probe-train"])
    accuracy = classifier.score((test - mean) / spread, labels["probe-test"])

    found = read_probe(unit, epoch)
    assert len(found["right"]) == len(split.groups["probe-test"]) == 12
    assert found["right"].mean() == pytest.approx(accuracy)
    ids, _ = split.pictures(unit.role, N_MEMBERS)
    confidences = classifier.predict_proba((embedded(ids) - mean) / spread)
    assert found["confidences"].shape == (20, 3)
    np.testing.assert_allclose(found["confidences"], confidences, atol=0.02)


def test_a_probe_where_there_are_no_classes_is_an_error_of_ours(quick):
    split = Path(shutil.copytree(quick.split, quick.lab / "split"))
    document = json.loads((split / "split.json").read_text())
    (split / "split.json").write_text(json.dumps(document | {"labels": None}))
    with pytest.raises(EncoderError, match="has no classes") as caught:
        make(replace(quick, split=split, probes=(None,)), "cpu")
    assert "folder of its own" in caught.value.hint


# --- broken --------------------------------------------------------------------------------------

READ = {
    "signals": lambda unit: read_signals(unit, Look("trunk", None, 0, 3)),
    "fit": lambda unit: read_fit(unit, Fit("trunk", "T", "cosine", 3, 2)),
    "probe": lambda unit: read_probe(unit, None),
}


@pytest.mark.parametrize("what", READ)
@pytest.mark.parametrize("content", [None, b"", b"x" * 100, "cut", "other"])
def test_a_file_that_cannot_be_read_is_an_error_of_ours(of, tmp_path, what, content):
    shutil.copytree(of["shadow"].folder, tmp_path / "encoders" / of["shadow"].key)
    unit = replace(of["shadow"], lab=tmp_path)
    READ[what](unit)
    path = {
        "signals": unit.signals_file(Look("trunk", None, 0, 3)),
        "fit": unit.fit_file(Fit("trunk", "T", "cosine", 3, 2)),
        "probe": unit.probe_file(None),
    }[what]
    if content is None:
        path.unlink()
    elif content == "other":
        save_arrays({"something": np.zeros(3, np.float32)}, path)
    else:
        path.write_bytes(path.read_bytes()[:-5] if content == "cut" else content)
    with pytest.raises(EncoderError, match="cannot be read") as caught:
        READ[what](unit)
    assert str(path) in str(caught.value)
    assert "Delete it" in caught.value.hint


@pytest.mark.parametrize("content", [None, "", "{", "3", '{"seconds": 1}', '{"seconds": "x"}'])
def test_a_log_that_cannot_be_read_is_an_error_of_ours(of, tmp_path, content):
    unit = replace(of["shadow"], lab=tmp_path)
    unit.folder.mkdir(parents=True)
    if content is not None:
        (unit.folder / "log.jsonl").write_text(content)
    with pytest.raises(EncoderError, match=r"log\.jsonl cannot be read"):
        read_facts(unit)


def test_facts_of_an_encoder_are_those_of_its_log(of):
    found, log = read_facts(of["target"]), log_of(of["target"])
    assert found.seconds == pytest.approx(sum(line["seconds"] for line in log))
    assert found.seconds_outside == pytest.approx(sum(line["seconds_outside"] for line in log))
    assert found.loss == log[-1]["loss"]
    assert (found.role, found.epochs, found.n_members) == ("target", 120, N_MEMBERS)


def test_an_encoder_that_says_nothing_is_told_of(quick):
    make(quick, "cpu")
    weights = quick.folder / "encoder" / "encoder.safetensors"
    zeros = {name: np.zeros_like(array) for name, array in load_arrays(weights).items()}
    save_arrays(zeros, weights)
    shutil.rmtree(quick.folder / "signals")
    with pytest.raises(EncoderError, match=r"trunk output .* has collapsed") as caught:
        make(quick, "cpu")
    assert "learning_rate" in caught.value.hint


def test_a_split_that_is_gone_is_an_error_of_ours(quick):
    with pytest.raises(InputError, match="cannot be read"):
        make(replace(quick, split=quick.lab / "nowhere"), "cpu")


# --- the process ---------------------------------------------------------------------------------


@pytest.fixture
def worker(monkeypatch):
    """Call `main` as a worker's process does; gives its exit code."""

    def call(unit, lab_pid=None):
        pid = str(os.getppid() if lab_pid is None else lab_pid)
        monkeypatch.setattr(sys, "argv", ["worker", "1", "cpu", pid])
        monkeypatch.setattr(sys, "stdin", io.StringIO(unit.as_json()))
        try:
            main()
        except SystemExit as end:
            return end.code
        return 0

    return call


def test_a_worker_makes_what_its_input_says(quick, worker, capsys):
    quick.folder.mkdir(parents=True)
    (quick.folder / ERROR).write_text("of an earlier try")
    assert worker(quick) == 0
    assert quick.is_done
    assert not (quick.folder / ERROR).exists()
    assert capsys.readouterr() == ("", "")


def wild(quick):
    return replace(quick, pretrain=replace(quick.pretrain, learning_rate=1e30))


def test_what_goes_wrong_is_written_down(quick, worker, capsys):
    assert worker(wild(quick)) == 4
    said = json.loads((quick.folder / ERROR).read_text())
    assert said.keys() == {"message", "hint", "exit_code"}
    assert "out of hand in epoch" in said["message"]
    assert "learning_rate in a matrix" in said["hint"]
    assert said["exit_code"] == 4
    out, err = capsys.readouterr()
    assert (out, json.loads(err)) == ("", said)
    assert not quick.is_trained
    assert not list(quick.folder.rglob("*.tmp"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full of Linux")
def test_what_goes_wrong_where_nothing_can_be_written_keeps_its_exit_code(
    quick, worker, monkeypatch
):
    with Path("/dev/full").open("wb", buffering=0) as full:
        stderr = io.TextIOWrapper(full, write_through=True)
        monkeypatch.setattr(sys, "stderr", stderr)
        assert worker(wild(quick)) == 4
        stderr.detach()


@pytest.mark.skipif(os.name != "posix", reason="parents on Windows keep their id when dead")
def test_a_worker_whose_lab_is_gone_before_it_begins_does_nothing(quick, worker):
    assert worker(quick, lab_pid=2**22 + 1) == 143
    assert not (quick.folder / "log.jsonl").exists()


@pytest.mark.skipif(os.name != "posix", reason="parents on Windows keep their id when dead")
def test_a_worker_whose_lab_goes_ends_after_the_epoch_and_is_continued_to_the_same(quick):
    with pytest.raises(SystemExit) as caught:
        make(quick, "cpu", lab_pid=2**22 + 1)
    assert caught.value.code == 143
    assert len(log_of(quick)) == 1
    assert not quick.is_trained
    make(quick, "cpu", lab_pid=os.getppid())
    undisturbed = replace(quick, lab=quick.lab.parent / "undisturbed")
    make(undisturbed, "cpu")
    assert contents(quick) == contents(undisturbed)


def test_a_worker_waits_for_another_one_on_the_same_unit(quick, worker):
    quick.folder.mkdir(parents=True)
    codes = []
    with FileLock(quick.folder / ".lock"):
        second = threading.Thread(target=lambda: codes.append(worker(quick)))
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert not (quick.folder / "about.json").exists()
    second.join()
    assert codes == [0]
    assert quick.is_done
