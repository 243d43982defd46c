import copy
import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from clipaudit.encoders.base import EncoderOptions, InputSpec
from clipaudit.errors import EncoderError, UsageError
from clipaudit.features.views import ENCODERMI, OVERLAPS, RECIPES, draw_for_training, make_views
from clipaudit.files import FileError
from clipaudit.seeding import stream
from clipaudit.shadow.architectures import Head, build
from clipaudit.shadow.config import ALGORITHMS, Algorithm, PretrainConfig, head_of
from clipaudit.shadow.encoder import load, save
from clipaudit.shadow.pretrain import Epoch
from tests.made.present import present
from tests.made.trainings import MEAN, QUICK, STD, Killed, noise, run, stop_after

ROOT = Path(__file__).parents[3]
HEAD: dict[Algorithm, Head] = {
    "simclr": "mlp",
    "mocov1": "linear",
    "mocov2": "mlp",
    "mocov2-split": "mlp",
    "byol": "mlp-bn",
}
TEMPERATURE = {"simclr": 0.2, "mocov1": 0.07, "mocov2": 0.2, "byol": 0.2, "mocov2-split": 0.2}
WITH_MOMENTUM = [algorithm for algorithm in ALGORITHMS if algorithm != "simclr"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def weights(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("stops", [[1], [3], [2, 3, 4]])
def test_a_run_that_was_stopped_continues_to_the_same_weights(tmp_path, algorithm, stops):
    config = replace(QUICK, algorithm=algorithm)
    undisturbed = weights(run(config))
    for epoch in stops:
        with pytest.raises(Killed):
            run(config, checkpoints=tmp_path, checkpoint_every_s=0, on_epoch=stop_after(epoch))
    seen: list[Epoch] = []
    net = run(config, checkpoints=tmp_path, checkpoint_every_s=0, on_epoch=seen.append)
    assert_same(weights(net), undisturbed)
    # What stopped an epoch came before its checkpoint, so that epoch is done again.
    assert [progress.number for progress in seen] == list(range(max(stops), 5))


def test_a_run_that_is_finished_does_nothing_again(tmp_path):
    first = weights(run(checkpoints=tmp_path))
    before = (tmp_path / "checkpoint.safetensors").stat().st_mtime_ns
    again = run(checkpoints=tmp_path, on_epoch=stop_after(1))
    assert_same(weights(again), first)
    assert (tmp_path / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_checkpoints_come_at_intervals_and_at_the_end(tmp_path):
    seen: list[bool] = []

    def on_epoch(progress):
        seen.append((tmp_path / "checkpoint.safetensors").exists())

    run(checkpoints=tmp_path, checkpoint_every_s=3600, on_epoch=on_epoch)
    assert seen == [False] * 4
    assert (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_seed_decides_all_of_it(algorithm):
    config = replace(QUICK, algorithm=algorithm, epochs=2)
    first = weights(run(config))
    assert_same(weights(run(config)), first)
    other = weights(run(replace(config, seed=1)))
    assert not torch.equal(first["trunk.0.weight"], other["trunk.0.weight"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_global_generators_are_neither_seeded_nor_used(algorithm, tmp_path):
    torch.manual_seed(11)
    np.random.seed(11)
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()
    for _ in range(2):
        run(replace(QUICK, algorithm=algorithm), checkpoints=tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_equal(np.random.get_state(), numpy_before)


@pytest.mark.parametrize(
    ("architecture", "algorithm"),
    [*(("resnet18", algorithm) for algorithm in ALGORITHMS), ("vgg11", "simclr")],
)
def test_a_net_of_full_size_takes_a_step(architecture, algorithm):
    config = replace(QUICK, architecture=architecture, algorithm=algorithm, epochs=1)
    before = weights(build(architecture, 32, config.seed, HEAD[algorithm]))
    after = weights(run(config, noise(4, 32)))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert set(changed) == set(before) == set(after)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_bfloat16_trains_float32_weights(algorithm):
    config = replace(QUICK, algorithm=algorithm, epochs=1)
    # At 8 × 8 the last stride of 2 meets a single pixel, and oneDNN's gradient of that in
    # bfloat16 holds what happened to be in memory.
    images = noise(side=16)
    net = run(replace(config, precision="bfloat16"), images)
    assert {value.dtype for value in net.state_dict().values()} == {torch.float32, torch.int64}
    assert_different(weights(net), weights(run(config, images)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_has_its_own_temperature_unless_another_is_given(algorithm):
    config = PretrainConfig(algorithm=algorithm)
    assert config.temperature == config.tau == TEMPERATURE[algorithm]
    assert config == PretrainConfig(algorithm=algorithm, temperature=TEMPERATURE[algorithm])
    given = PretrainConfig(algorithm=algorithm, temperature=0.31)
    assert given.temperature == given.tau == 0.31


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_net_is_that_of_its_architecture_and_head_and_no_more(tmp_path, algorithm):
    assert head_of(algorithm) == HEAD[algorithm]
    net = run(replace(QUICK, algorithm=algorithm, epochs=1))
    bare = build("resnet-tiny", 8, 0, HEAD[algorithm])
    assert [(k, v.shape) for k, v in net.state_dict().items()] == [
        (k, v.shape) for k, v in bare.state_dict().items()
    ]
    save(net, tmp_path, "resnet-tiny", InputSpec(8, MEAN, STD, "bicubic"), head_of(algorithm))
    views = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net((views - 0.5) / 0.25)
    got = load(str(tmp_path), EncoderOptions(device="cpu")).embed(views)
    torch.testing.assert_close(got, expected)


def assert_different(one, other):
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_progress_counts_every_epoch_and_its_time():
    seen: list[Epoch] = []
    run(on_epoch=seen.append)
    assert [(progress.number, progress.of) for progress in seen] == [(n, 4) for n in (1, 2, 3, 4)]
    assert all(0 < progress.seconds_outside < progress.seconds for progress in seen)
    assert all(math.isfinite(progress.loss) for progress in seen)


def test_the_network_comes_back_ready_to_embed():
    net = run()
    assert not net.training
    assert all(value.device.type == "cpu" for value in net.state_dict().values())


@pytest.mark.parametrize(("n", "batch", "steps"), [(10, 4, 2), (10, 5, 2), (10, 128, 1), (3, 2, 1)])
def test_an_epoch_has_as_many_whole_batches_as_there_are(n, batch, steps):
    net = run(replace(QUICK, epochs=3, batch_size=batch), noise(n))
    assert int(net.state_dict()["trunk.1.num_batches_tracked"]) == 3 * steps


def test_only_the_pictures_given_are_learned():
    other = noise()
    other[3] = 255 - other[3]
    one_batch = replace(QUICK, batch_size=10, epochs=2)
    assert_different(weights(run(one_batch)), weights(run(one_batch, other)))


def slow_nt_xent(first, second, temperature):
    """Chen et al. (2020), equation 1, pair by pair."""
    both = torch.nn.functional.normalize(torch.cat([first, second]), dim=1)
    n = len(first)
    terms = []
    for i in range(2 * n):
        others = [k for k in range(2 * n) if k != i]
        similarities = torch.stack([both[i] @ both[k] / temperature for k in others])
        partner = others.index((i + n) % (2 * n))
        terms.append(similarities.logsumexp(0) - similarities[partner])
    return torch.stack(terms).mean()


def test_simclr_is_what_the_paper_says_step_by_step():
    """A second version: order and views of each epoch, loss, AdamW, rate along half a cosine."""
    config = replace(QUICK, epochs=3, learning_rate=1e-3, seed=2)
    images, n_steps = noise(), 2
    net = build("resnet-tiny", 8, config.seed).train()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=config.weight_decay)
    step = 0
    for epoch in range(config.epochs):
        numbers = stream(config.seed, f"epoch {epoch}", "pre-training")
        order = numbers.permutation(len(images))
        for batch in (order[:4], order[4:8]):
            views = make_views(images[batch], draw_for_training(4, 2, ENCODERMI, 8, numbers))
            embedded = net(((views - 0.5) / 0.25).transpose(0, 1).flatten(0, 1))
            loss = slow_nt_xent(embedded[:4], embedded[4:], config.temperature)
            done = step / (config.epochs * n_steps)
            optimizer.param_groups[0]["lr"] = 1e-3 * (0.5 + 0.5 * math.cos(math.pi * done))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    ours = run(config, images).state_dict()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4)


# --- each algorithm, a step at a time ------------------------------------------------------------


def checkpoints_of(config, images, folder, on_epoch=lambda epoch: None, **options):
    """The state after every epoch."""
    states = []

    def look(progress):
        if (folder / "checkpoint.safetensors").exists():
            states.append(load_file(folder / "checkpoint.safetensors"))
        on_epoch(progress)

    run(config, images, checkpoints=folder, checkpoint_every_s=0, on_epoch=look, **options)
    return [*states, load_file(folder / "checkpoint.safetensors")]


def part(state, prefix):
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def queue_of(state):
    """The keys of earlier steps, the oldest first: it is where the next will go."""
    bank = state["loss.memory_bank.bank"]
    return list(bank.roll(-int(state["loss.memory_bank.bank_ptr"]), dims=0))


def slow_info_nce(queries, keys, queue, temperature):
    """He et al. (2020), equation 1, query by query."""
    terms = []
    for query, key in zip(queries, keys, strict=True):
        similarities = torch.stack([query @ other / temperature for other in (key, *queue)])
        terms.append(similarities.logsumexp(0) - similarities[0])
    return torch.stack(terms).mean()


def slow_byol(foretold, followed):
    """Grill et al. (2020), equation 2: the squared distance of what was foretold and what is.

    Differs: a mean over pictures and directions, shifted and scaled to end in [-1, 1], as the
    negative cosine does. Adam notices neither.
    """
    terms = []
    for one, other in zip(foretold, followed, strict=True):
        distance = (one / one.norm() - other / other.norm()).square().sum()
        terms.append((distance - 2) / 2)
    return torch.stack(terms).mean()


def follow(follower, net, momentum):
    """He et al. (2020), equation 2; Grill et al. (2020), equation 1."""
    with torch.no_grad():
        for theirs, ours in zip(follower.parameters(), net.parameters(), strict=True):
            theirs.copy_(momentum * theirs + (1 - momentum) * ours)


class Step:
    """A second version of one step of each algorithm, from the state that a checkpoint holds.

    Differs from the papers: batch norms see what goes through a net together, which for BYOL
    is both views of a batch, and MoCo does not shuffle, but where it is split; the momentum is
    constant.
    """

    def __init__(self, state, algorithm: Algorithm, temperature, momentum, order):
        self.order = order
        self.algorithm, self.temperature = algorithm, temperature
        self.net = build("resnet-tiny", 16, 0, HEAD[algorithm])
        self.follower = copy.deepcopy(self.net)
        self.predictor = nn.Sequential(
            nn.Linear(128, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 128)
        )
        self.net.load_state_dict(part(state, "net."))
        self.learned = [*self.net.parameters()]
        if algorithm != "simclr":
            self.follower.load_state_dict(part(state, "momentum."))
            # The papers' steps end with this, ours begin with it.
            follow(self.follower, self.net, momentum)
        if algorithm == "byol":
            self.predictor.load_state_dict(part(state, "predictor.layers."))
            self.learned += self.predictor.parameters()
        self.queue = queue_of(state) if algorithm.startswith("moco") else []

    def loss(self, first, second):
        n, unit = len(first), functional.normalize
        if self.algorithm == "simclr":
            embedded = self.net(torch.cat([first, second]))
            return slow_nt_xent(embedded[:n], embedded[n:], self.temperature)
        if self.algorithm == "byol":
            foretold = self.predictor(self.net(torch.cat([first, second])))
            followed = self.follower(torch.cat([first, second])).detach()
            return slow_byol(foretold, [*followed[n:], *followed[:n]])
        if self.algorithm == "mocov2-split":  # five machines with two pictures each
            queries = unit(torch.cat([self.net(first[at : at + 2]) for at in range(0, n, 2)]))
            keys = torch.empty_like(queries)
            for at in range(0, n, 2):
                places = self.order[at : at + 2]
                keys[places] = unit(self.follower(second[places])).detach()
            keys = keys.detach()
        else:
            queries, keys = unit(self.net(first)), unit(self.follower(second)).detach()
        queue, self.queue = self.queue, [*self.queue, *keys][n:]
        return slow_info_nce(queries, keys, queue, self.temperature)


@pytest.mark.parametrize(
    ("algorithm", "recipe"),
    [
        *((algorithm, ENCODERMI.id) for algorithm in (*ALGORITHMS, "mocov2-split")),
        ("mocov2", OVERLAPS[-1].id),
    ],
)
def test_every_step_is_what_the_papers_say(tmp_path, algorithm, recipe):
    """Gradients, not weights: Adam makes much of the rounding of a gradient that is nearly zero."""
    images = noise(10, 16)
    seen: list[Epoch] = []
    how: dict[str, Any] = {
        "epochs": 6,
        "batch_size": 10,
        "queue": 30,
        "momentum": 0.7,
        "learning_rate": 3e-3,
    }
    config = PretrainConfig("resnet-tiny", algorithm, recipe=recipe, seed=2, **how)
    states = checkpoints_of(config, images, tmp_path, on_epoch=seen.append)
    for epoch, (before, after) in enumerate(pairwise(states), start=1):
        numbers = stream(2, f"epoch {epoch}", "pre-training")
        batch = images[numbers.permutation(10)]
        views = make_views(batch, draw_for_training(10, 2, RECIPES[recipe], 16, numbers))
        order = numbers.permutation(10) if algorithm == "mocov2-split" else None
        step = Step(before, algorithm, TEMPERATURE[algorithm], momentum=0.7, order=order)
        loss = step.loss(*((views - 0.5) / 0.25).unbind(1))
        loss.backward()
        torch.testing.assert_close(seen[epoch].loss, loss.item(), rtol=1e-4, atol=1e-5)

        moments = [name for name in after if name.endswith(".exp_avg")]
        assert len(moments) == len(step.learned)
        # Batch norm over a pair of views makes much of their rounding.
        slack = 1e-2 if algorithm == "mocov2-split" else 1e-3
        for number, parameter in enumerate(step.learned):
            name = f"optimizer.{number}.exp_avg"  # 0.9 of what it was, 0.1 of the gradient
            off = 10 * after[name] - 9 * before[name] - parameter.grad
            assert off.norm() <= slack * present(parameter.grad).norm() + 1e-5

        for prefix, net in (("net.", step.net), ("predictor.layers.", step.predictor)):
            for name, buffer in net.named_buffers():
                if prefix + name in after:
                    torch.testing.assert_close(after[prefix + name], buffer)
        for name, value in step.follower.state_dict().items():
            if f"momentum.{name}" in after:
                torch.testing.assert_close(after[f"momentum.{name}"], value)
        if step.queue:
            torch.testing.assert_close(queue_of(after), step.queue, rtol=1e-3, atol=1e-5)


STATE = {
    "simclr": {"net", "optimizer"},
    "mocov1": {"net", "momentum", "loss", "optimizer"},
    "mocov2": {"net", "momentum", "loss", "optimizer"},
    "byol": {"net", "momentum", "predictor", "optimizer"},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checkpoint_holds_all_that_an_algorithm_has_and_no_more(tmp_path, algorithm):
    run(replace(QUICK, algorithm=algorithm), checkpoints=tmp_path)
    names = load_file(tmp_path / "checkpoint.safetensors")
    assert {name.split(".")[0] for name in names} == STATE[algorithm]


@pytest.mark.parametrize(
    ("algorithm", "what"),
    [("byol", "predictor.layers.0.weight"), ("mocov2", "loss.memory_bank.bank")],
)
def test_what_an_algorithm_begins_with_beside_its_net_depends_on_the_seed(
    tmp_path, algorithm, what
):
    still: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-30, "weight_decay": 0.0, "queue": 30}
    config = replace(QUICK, algorithm=algorithm, **still)
    first, again, other = (
        checkpoints_of(replace(config, seed=seed), noise(), tmp_path / folder)[-1][what]
        for folder, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert torch.equal(first, again)
    assert not (first == other).all(dim=1).any()


def test_the_predictor_learns_and_is_continued_after_a_stop(tmp_path):
    config = replace(QUICK, algorithm="byol")
    states = [part(one, "predictor.") for one in checkpoints_of(config, None, tmp_path / "whole")]
    for before, after in pairwise(states):
        assert all(not torch.equal(before[name], after[name]) for name in before)
    for epoch in (3, 4):
        with pytest.raises(Killed):
            run(
                config,
                checkpoints=tmp_path / "parts",
                checkpoint_every_s=0,
                on_epoch=stop_after(epoch),
            )
    run(config, checkpoints=tmp_path / "parts")
    assert_same(
        part(load_file(tmp_path / "parts/checkpoint.safetensors"), "predictor."), states[-1]
    )


# --- the momentum encoder and the queue ----------------------------------------------------------


@pytest.mark.parametrize("algorithm", WITH_MOMENTUM)
def test_the_momentum_encoder_follows_at_its_pace(tmp_path, algorithm):
    config = replace(QUICK, algorithm=algorithm, batch_size=10, momentum=0.9)  # a step an epoch
    states = checkpoints_of(config, noise(), tmp_path)
    parameters = dict(build("resnet-tiny", 8, config.seed, HEAD[algorithm]).named_parameters())
    start = {f"{net}.{k}": v for k, v in parameters.items() for net in ("net", "momentum")}
    assert len(states) == 4
    for before, after in pairwise([start, *states]):
        for name in parameters:
            expected = 0.9 * before[f"momentum.{name}"] + 0.1 * before[f"net.{name}"]
            torch.testing.assert_close(after[f"momentum.{name}"], expected.detach())


@pytest.mark.parametrize("algorithm", ["mocov1", "mocov2"])
def test_the_queue_takes_the_keys_of_every_step_in_turn(tmp_path, algorithm):
    config = replace(QUICK, algorithm=algorithm, batch_size=4, queue=10)  # two steps an epoch
    states = checkpoints_of(config, noise(8), tmp_path)
    name = "loss.memory_bank.bank"
    for state in states:
        assert state[name].shape == (10, 128)
        torch.testing.assert_close(state[name].norm(dim=1), torch.ones(10))
    # Two batches of four go into ten places; the batch that reaches the end is cut.
    changed = [(one[name] != other[name]).any(dim=1) for one, other in pairwise(states)]
    assert [int(places.sum()) for places in changed] == [6, 6, 8]
    assert [int(state["loss.memory_bank.bank_ptr"]) for state in states] == [8, 4, 0, 8]


# --- snapshots -----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_snapshot_is_the_net_as_it_was_after_its_epoch(tmp_path, algorithm):
    config = replace(QUICK, algorithm=algorithm)
    handed: dict[int, nn.Module] = {}
    options = {"snapshots": {4, 1, 3}, "on_snapshot": handed.__setitem__}
    states = checkpoints_of(config, noise(), tmp_path, **options)
    assert list(handed) == [1, 3, 4]
    for epoch, net in handed.items():  # looked at when all training is over
        assert not net.training
        assert_same(weights(net), part(states[epoch - 1], "net."))
        assert all(value.is_contiguous() for value in net.state_dict().values())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_does_not_notice_what_is_done_to_its_snapshots(algorithm):
    def spoil(_epoch, net):
        net.train()
        with torch.no_grad():
            for value in net.state_dict().values():
                value.zero_()

    config = replace(QUICK, algorithm=algorithm)
    spoiled = run(config, snapshots=range(1, 5), on_snapshot=spoil)
    assert_same(weights(spoiled), weights(run(config)))
    assert not spoiled.training


def test_a_run_that_was_stopped_hands_over_the_snapshots_after_its_checkpoint(tmp_path):
    undisturbed: dict[int, nn.Module] = {}
    handed: dict[int, nn.Module] = {}
    run(snapshots=(1, 2, 3, 4), on_snapshot=undisturbed.__setitem__)

    def note(epoch, net):
        handed[epoch] = net
        if epoch == 3:  # after the checkpoint of epoch 2, before that of epoch 3
            raise Killed

    options = {"checkpoints": tmp_path, "checkpoint_every_s": 0, "snapshots": (1, 2, 3, 4)}
    with pytest.raises(Killed):
        run(on_snapshot=note, **options)
    assert list(handed) == [1, 2, 3]
    handed.clear()
    run(on_snapshot=handed.__setitem__, **options)
    assert list(handed) == [3, 4]
    for epoch, net in handed.items():
        assert_same(weights(net), weights(undisturbed[epoch]))
    handed.clear()
    run(on_snapshot=handed.__setitem__, **options)  # finished: nothing is left to hand over
    assert not handed


# --- what is refused, and what goes wrong --------------------------------------------------------

WRONG: dict[str, list[Any]] = {
    "architecture": ["vgg"],
    "algorithm": ["mocov3"],
    "precision": ["float16"],
    "recipe": ["other@1"],
    "epochs": [0, -1],
    "batch_size": [1, 0, -4],
    "learning_rate": [0.0, -1.0, math.nan, math.inf, 1e38],
    "weight_decay": [-1.0, math.nan],
    "temperature": [0.0, -1.0, math.nan],
    "queue": [0],
    "momentum": [-0.1, 1.1, math.nan],
    "seed": [-1, 2**63],
}


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, some in WRONG.items() for v in some])
def test_an_option_that_cannot_work_is_refused_by_name(name, value):
    with pytest.raises(UsageError) as caught:
        PretrainConfig(**{name: value})
    assert name in str(caught.value)
    assert caught.value.hint


OTHER: dict[str, Any] = {
    "architecture": "resnet-small",
    "algorithm": "mocov2",
    "epochs": 5,
    "batch_size": 5,
    "learning_rate": 0.5,
    "weight_decay": 0.5,
    "temperature": 0.5,
    "queue": 5,
    "momentum": 0.5,
    "recipe": OVERLAPS[-1].id,
    "precision": "bfloat16",
    "seed": 5,
}


@pytest.mark.parametrize("begun", ["just begun", "with a checkpoint"])
def test_checkpoints_of_a_run_with_other_options_are_left_alone(tmp_path, begun):
    assert OTHER.keys() == asdict(QUICK).keys()
    epoch, every = (1, 3600) if begun == "just begun" else (3, 0)
    with pytest.raises(Killed):
        run(checkpoints=tmp_path, checkpoint_every_s=every, on_epoch=stop_after(epoch))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert ("checkpoint.safetensors" in before) == (begun == "with a checkpoint")
    for name, value in OTHER.items():
        with pytest.raises(UsageError) as caught:
            run(replace(QUICK, **{name: value}), checkpoints=tmp_path)
        assert f"({name})" in str(caught.value)
        assert "--output" in caught.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["empty", "cut", "missing", "list"])
def test_a_broken_checkpoint_is_an_error_of_ours(tmp_path, name, damage):
    with pytest.raises(Killed):
        run(checkpoints=tmp_path, checkpoint_every_s=0, on_epoch=stop_after(3))
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
        if name == "checkpoint.safetensors":
            run(checkpoints=tmp_path)  # from the start
            return
    else:
        content = {"empty": b"", "cut": path.read_bytes()[:-9], "list": b"[1]"}[damage]
        path.write_bytes(content)
    with pytest.raises(EncoderError, match="cannot be read") as caught:
        run(checkpoints=tmp_path)
    assert "Delete that folder" in caught.value.hint


def test_a_checkpoint_of_another_network_is_an_error_of_ours(tmp_path):
    run(checkpoints=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    tensors = load_file(path)
    tensors.pop("net.trunk.0.weight")
    save_file(tensors, path, {"state": json.dumps({"epochs_done": 1})})
    with pytest.raises(EncoderError, match="cannot be read"):
        run(checkpoints=tmp_path)


def test_a_loss_that_gets_out_of_hand_is_one_clear_error(tmp_path):
    wild = replace(QUICK, learning_rate=1e30, epochs=50)
    with pytest.raises(EncoderError, match="out of hand in epoch 1: the loss is nan") as caught:
        run(wild, checkpoints=tmp_path, checkpoint_every_s=0)
    assert "--learning-rate" in caught.value.hint
    assert "--output" in caught.value.hint
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_weights_that_are_infinite_are_never_a_checkpoint(tmp_path):
    """The loss alone does not tell: what is normalised by an infinite variance is zero."""
    blinding = noise().float() * 1e25
    with pytest.raises(EncoderError, match=r"out of hand in epoch 1: the loss is \d"):
        run(images=blinding, checkpoints=tmp_path, checkpoint_every_s=0)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_after_that_the_last_checkpoint_still_continues(tmp_path):
    """Pictures that suddenly are not finite, as a broken disk or driver would make them."""
    undisturbed = weights(run())
    with pytest.raises(Killed):
        run(checkpoints=tmp_path, checkpoint_every_s=0, on_epoch=stop_after(3))
    broken = noise().float() / 255
    broken[:] = math.nan
    with pytest.raises(EncoderError, match="out of hand in epoch 3"):
        run(images=broken, checkpoints=tmp_path, checkpoint_every_s=0)
    assert_same(weights(run(checkpoints=tmp_path)), undisturbed)


FULL = """
import resource, sys
from pathlib import Path
import torch
from clipaudit.errors import ClipAuditError
from tests.made.trainings import run
torch.set_num_threads(int(sys.argv[2]))  # sums round by the number of threads
def fill_the_disk(epoch):
    if epoch.number == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    run(checkpoints=Path(sys.argv[1]), checkpoint_every_s=0, on_epoch=fill_the_disk)
except ClipAuditError as error:
    print(f"{error} | {error.hint} | {error.exit_code}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_is_one_clear_error_and_leaves_the_last_checkpoint(tmp_path):
    command = [sys.executable, "-c", FULL, tmp_path, str(torch.get_num_threads())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "cannot write" in done.stdout
    assert "Free some space" in done.stdout
    assert done.stdout.endswith("| 4\n")
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint.safetensors",
        "checkpoint.json",
    }
    assert json.loads((tmp_path / "checkpoint.json").read_text())["epochs_done"] == 2
    assert_same(weights(run(checkpoints=tmp_path)), weights(run()))


def test_a_folder_for_checkpoints_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write"):
        run(checkpoints=tmp_path / "file" / "checkpoints")


def test_nothing_is_written_without_a_folder_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run()
    assert not list(tmp_path.iterdir())
