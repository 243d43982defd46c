"""`--method` and `--shadow`: what is done is named, and the folder that does it is found."""

import json
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch

import clipaudit
from clipaudit.errors import InferrerError, UsageError
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.inferrer_choice import choose
from clipaudit.reports.formats import dump, render
from clipaudit.results.audit import Audit
from clipaudit.statistics.metrics import auc
from tests.made.commands import exit_code

FAST: dict[str, Any] = {"workers": 0, "device": "cpu", "backend": "torch"}


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    torch.set_num_threads(1)


@pytest.fixture
def score(known_truth):
    """Score members and non-members with the shipped inferrers."""

    def call(encoder=known_truth.overfitted, **options) -> Audit:
        paths = [known_truth.folder / "members", known_truth.folder / "nonmembers"]
        return clipaudit.score(paths, encoder=encoder, **FAST, **options)

    return call


@pytest.fixture
def command(known_truth, capfdbinary):
    """`clipaudit NAME …` on the same; gives exit code, stdout and stderr."""

    def run(name, *arguments):
        sides = [known_truth.folder / side for side in ("members", "nonmembers")]
        named = {
            "score": sides,
            "calibrate": ["--nonmembers", sides[1]],
            "evaluate": ["--members", sides[0], "--nonmembers", sides[1], "--no-blind"],
        }[name]
        fast = ["--workers", "0", "--device", "cpu", "--backend", "torch", "--quiet"]
        code = exit_code(name, *named, "--encoder", known_truth.overfitted, *fast, *arguments)
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def names(audit):
    return [facts.name for facts in audit.run.inferrers]


def test_the_default_is_one_method_and_finds_members(score):
    audit = score()
    assert names(audit) == ["cifar10-combined"]
    scores = np.array([row.findings[0].score for row in audit])
    is_member = np.array(["nonmembers" not in row.path for row in audit])
    assert auc(scores, is_member).low > 0.8


def test_with_a_reference_the_default_reads_it(score, known_truth):
    audit = score(references=known_truth.stranger)
    assert names(audit) == ["cifar10-reference-combined"]
    assert all(row.reference is not None for row in audit)
    trunk = score(references=known_truth.stranger, output="trunk")
    assert names(trunk) == ["tiny-imagenet-trunk-reference-adjusted"]


def test_a_lone_name_will_do_in_python(score):
    assert names(score(methods="norm")) == ["cifar10-norm"]
    with pytest.raises(UsageError, match="--method combind is not known"):
        score(methods="combind")


def test_a_method_gives_the_scores_of_its_folder_bit_by_bit(score):
    by_method = score(methods=("v", "t"), shadow="tiny-imagenet")
    by_folder = score(inferrers=("tiny-imagenet-v", "tiny-imagenet-t"))
    assert [row.findings for row in by_method] == [row.findings for row in by_folder]


def test_the_test_against_the_control_reads_the_first_method(known_truth):
    audit = clipaudit.score(
        known_truth.folder / "members",
        encoder=known_truth.overfitted,
        methods=("t", "norm"),
        control=known_truth.folder / "nonmembers",
        **FAST,
    )
    assert names(audit) == ["cifar10-t", "cifar10-norm"]
    assert audit.comparison is not None
    assert audit.comparison.by_inferrer[0].inferrer == "cifar10-t"


def test_every_command_takes_the_same_methods(command):
    code, out, _ = command("score", "--method", "t", "--method", "norm", "-f", "json")
    assert code == 0
    assert [facts["name"] for facts in json.loads(out)["run"]["inferrers"]] == [
        "cifar10-t",
        "cifar10-norm",
    ]
    code, out, _ = command("calibrate", "--method", "norm", "--shadow", "tiny-imagenet")
    assert code == 0
    assert "tiny-imagenet-norm" in out
    code, out, _ = command("evaluate", "--method", "norm", "-f", "json")
    assert code == 0
    found = [method["inferrer"] for method in json.loads(out)["methods"]]
    assert found == ["cifar10-norm", "tiny-imagenet-norm"]


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["--method", "combind"], 2, "--method combind is not known", "combined"),
        (["--method", "v", "--inferrer", "cifar10-v"], 2, "exclude each other", "--method"),
        (["--shadow", "cifar10", "--inferrer", "cifar10-v"], 2, "exclude each other", "--shadow"),
        (["--shadow", "cifr10"], 2, "--shadow cifr10 is not known", "cifar10"),
        (["--method", "adjusted"], 5, "reads the signals of a reference", "--reference"),
        (["--method", "caption"], 5, "reads captions, and there are none", "--captions"),
        (["--method", "v", "--views", "7"], 5, "reads 7 views", "--views 10"),
        (["--method", "t", "--recipe", "clip@1", "--output", "trunk"], 5, "clip@1", "--recipe"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line_with_what_to_pass(
    command, monkeypatch, arguments, code, message, hint
):
    monkeypatch.setenv("COLUMNS", "200")
    got, _, err = command("score", *arguments)
    assert got == code
    assert message in err
    assert hint in err.partition("hint:")[2]
    assert "Traceback" not in err


def test_a_figure_is_never_without_what_it_was_measured_on(score):
    (facts,) = score().run.inferrers
    on, _, rest = facts.evidence.partition(": accuracy")
    assert "3 encoders that it never met" in on
    assert "its kind elsewhere" in rest
    assert "nobody knows" in rest  # of this encoder


def test_a_picture_below_the_threshold_is_not_called_a_non_member_in_the_report(score):
    audit = score()
    assert {row.findings[0].prediction for row in audit} == {"member", "non-member"}
    file = BytesIO()
    dump(audit, "html", file)
    page = file.getvalue().decode()
    assert "uncalibrated: member-like" in page
    assert "uncalibrated: –" in page
    assert "reads as" not in page
    assert '"prediction":"non-member"' in render(audit, "jsonl").replace(": ", ":")


@pytest.mark.parametrize(
    ("reference", "has_captions", "expected"),
    [
        ("ViT-B-32/openai", True, "openclipart-reference-fine-tune"),
        ("ViT-B-32/openai", False, "openclipart-reference-combined"),
        ("RN50/openai", True, "openclipart-reference-caption"),
    ],
)
def test_the_base_of_a_fine_tune_as_reference_makes_its_method_the_default(
    tmp_path, reference, has_captions, expected
):
    card = "---\nbase_model: openai/clip-vit-base-patch32\n---\n# Mine\n"
    (tmp_path / "README.md").write_text(card)
    config = ScoreConfig(encoder=f"local-dir:{tmp_path}", references=(reference,), recipe="clip@1")
    choice = choose(config, has_captions=has_captions)
    assert [found.card.name for found in choice.inferrers(config, "embedding")] == [expected]


def test_a_method_that_the_recipe_of_an_encoder_has_not_takes_the_papers():
    config = ScoreConfig(encoder="ViT-B-32/openai", methods=("v",))
    choice = choose(config, has_captions=False)
    assert choice.recipe == "encodermi@1"
    assert "no shipped inferrer of method v reads clip@1" in choice.reason
    assert choose(replace(config, methods=("t",)), has_captions=False).recipe == "clip@1"
    with pytest.raises(InferrerError, match="method v"):
        choose(replace(config, recipe="clip@1"), has_captions=False)
    with pytest.raises(UsageError, match="exclude each other"):
        replace(config, inferrers=("cifar10-v",))
