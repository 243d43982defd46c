"""The lab's experiments with encoders that are trained with captions, on a matrix of one seed."""

from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from clipaudit.cli.app import main
from clipaudit.inferrers.library import load
from clipaudit.lab.collecting import collect
from clipaudit.lab.experiments.clip import BLIND, PAPERS_VIEWS, PLAIN_SIGNALS
from clipaudit.lab.matrix import read_matrix
from clipaudit.lab.plan import make_plan
from clipaudit.lab.run import LabConfig, run_lab
from clipaudit.lab.splits import make_split, read_split, split_folder
from clipaudit.lab.worker import make
from clipaudit.seeding import stream
from clipaudit.shadow.datasets import open_data
from clipaudit.shadow.procedural import draw_picture

pytestmark = pytest.mark.slow  # seven encoders, each with a whole vocabulary

WORDS = (
    "apple",
    "boat",
    "cloud",
    "drum",
    "eagle",
    "flag",
    "goat",
    "house",
    "jug",
    "kite",
    "lamp",
    "moon",
)
MATRIX = """\
name = "toy"
outputs = ["embedding"]
kinds = ["T"]

[data]
drawn = "drawn"

[captions]
drawn = "names"

[[experiment]]
kind = "clip"
data = "drawn"

[[experiment]]
kind = "fine-tune"
data = "drawn"

[scale.cpu]
about = "for tests"
seeds = [0]
size_px = 32
members = 20
split = { target = 20, shadow = 20, probe = 20, probe_test = 10 }
views = 2
references = 1
known = { architecture = "resnet-tiny", algorithm = "simclr" }
unknown = { architecture = "vgg-tiny", algorithm = "mocov2" }

[scale.cpu.pretrain]

[scale.cpu.pairs]
architectures = ["clip-vit-tiny"]
epochs = 12
batch_size = 10
few_views = 2
fine_tunes = { members = [10], epochs = [2], learning_rates = [1e-3], batch_size = 5 }
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab whose encoders are all made, in this process."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "drawn").mkdir()
    for number in range(120):
        picture = draw_picture(stream(0, f"pair {number}", "lab test"), 32)
        name = f"{WORDS[number % 12]} {WORDS[number // 12]}.png"
        Image.fromarray(picture).save(folder / "drawn" / name)
    path = folder / "toy.toml"
    path.write_text(MATRIX)
    plan = planned(folder)
    for unit in plan.units.values():
        make(unit, "cpu")
    return folder


def planned(folder):
    matrix = read_matrix(str(folder / "toy.toml"))
    scale = matrix.scale["cpu"]
    where = split_folder(folder / "lab", "drawn", scale.split, 32, 0, "names")
    opened = partial(open_data, str(folder / "drawn"), "drawn", Path("nowhere"))
    split = make_split(where, "drawn", opened, scale.split, 32, 0, "names")
    return make_plan(matrix, scale, folder / "lab", {("drawn", 0): split})


def results(folder):
    return collect(planned(folder), read_matrix(str(folder / "toy.toml")), "cpu", "cpu")


def test_every_signal_is_judged_alone_and_with_a_reference(lab):
    found = results(lab)
    methods = {outcome.method for outcome in found.outcomes if outcome.experiment == "clip-drawn"}
    for method in ("norm", "combined", "caption", "caption-loss", *PLAIN_SIGNALS):
        assert {method, f"{method} + reference"} <= methods
    assert {"T", "difference", PAPERS_VIEWS, BLIND} <= methods
    assert "fine-tune" not in methods
    tuned = {o.method for o in found.outcomes if o.experiment == "fine-tune-drawn"}
    assert {"fine-tune", "caption-loss + reference"} <= tuned


def test_members_are_known_by_their_captions(lab):
    by_method = {
        outcome.method: outcome.auc
        for outcome in results(lab).outcomes
        if outcome.setting == "clip-vit-tiny, 20 members, 12 epochs"
    }
    assert by_method["cosine"] > 0.8
    assert by_method["caption-loss"] > 0.8


def test_no_picture_has_two_roles_for_an_encoder_and_its_bank(lab):
    plan = planned(lab)
    for cell in plan.cells:
        target, shadow = plan.units[cell.target], plan.units[cell.shadow]
        split = read_split(target.split)
        of_target, _ = split.pictures(target.role, target.n_members)
        of_shadow, _ = split.pictures(shadow.role, shadow.n_members)
        assert not set(of_target) & set(of_shadow)
        for unit in (target, shadow):
            seen = [unit, *(plan.units[key] for key in cell.references)]
            if unit.base_key:
                seen = [unit, plan.units[unit.base_key]]
            trained_on = set()
            for encoder in seen:
                pictures, n = split.pictures(encoder.role, encoder.n_members, encoder.number)
                trained_on |= set(pictures[:n])
            assert not set(split.bank(unit.role)) & trained_on


def test_lab_run_makes_the_same_in_processes_of_its_own(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    matrix = read_matrix(str(lab / "toy.toml"))
    config = LabConfig(
        matrix,
        "cpu",
        tmp_path / "lab",
        {"drawn": str(lab / "drawn")},
        jobs=1,
        device="cpu",
        only=("fine-tune",),
    )
    ran = run_lab(config)
    assert not ran.failed, ran.failed[0].error
    expected = [o for o in results(lab).outcomes if o.experiment == "fine-tune-drawn"]
    assert list(ran.results.outcomes) == expected


def test_inferrers_are_made_of_a_lab_with_captions(lab, tmp_path, capsys):
    for experiment, more in (
        ("clip", ["--kind=caption", "--kind=norm", "--kind=T"]),
        ("clip", ["--kind=caption", "--kind=combined", "--with-reference"]),
        ("fine-tune", ["--kind=fine-tune", "--with-reference"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    *("lab", "export", str(lab / "toy.toml"), "--data-set=drawn"),
                    *(f"--into={tmp_path}", "-o", str(lab / "lab"), "--views=2"),
                    *(f"--experiment={experiment}", *more),
                ]
            )
        assert not ended.value.code, capsys.readouterr().err
    cards = {path.parent.name: load(path.parent).card for path in tmp_path.glob("*/inferrer.json")}
    assert {name.removeprefix("drawn-") for name in cards} == {
        *("caption", "norm", "t", "reference-caption"),
        *("reference-combined", "reference-fine-tune"),
    }
    card = cards["drawn-reference-fine-tune"]
    assert (card.reads.recipe, card.shadow.algorithm) == ("clip@1", "clip")
    assert card.n_targets == 1  # it is looked at after one epoch alone
    assert "fine-tuned" in (tmp_path / card.name / "card.md").read_text()
