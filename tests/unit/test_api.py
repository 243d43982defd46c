"""What `import clipaudit` offers: by name, by type, and at no cost before it is used."""

import inspect
import subprocess
import sys
from dataclasses import dataclass, fields
from typing import Annotated, Any

import pytest

import clipaudit
from clipaudit.encoders.base import EncoderOptions
from clipaudit.pipelines.calling import ScoringCall, called_with
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.scoring_options import Option, ScoringOptions
from tests.made.present import present

FUNCTIONS = (clipaudit.score, clipaudit.calibrate, clipaudit.evaluate)


def test_importing_it_imports_nothing_heavy():
    heavy = "{'torch', 'sklearn', 'numpy', 'PIL', 'onnxruntime', 'open_clip', 'rich', 'typer'}"
    code = f"import clipaudit, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_has_every_option_of_scoring_and_describes_it(function):
    parameters = inspect.signature(function).parameters
    for option in fields(ScoringOptions):
        assert parameters[option.name].default == getattr(ScoreConfig(), option.name)
        assert f"\n    {option.name}: " in function.__doc__


def test_options_of_encoders_are_options_of_scoring():
    names = {option.name for option in fields(ScoringOptions)}
    assert {option.name for option in fields(EncoderOptions)} - names == {"n_views_ahead"}
    assert ScoreConfig().options == EncoderOptions()
    assert ScoreConfig(device="mps", offline=True).options == EncoderOptions(
        device="mps", offline=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WithNoise(ScoringCall):
    """The options, and a new one."""

    noise: Annotated[int, Option("Noise that is added.")] = 3


def test_a_new_field_is_a_keyword_with_its_help():
    @called_with(WithNoise)
    def louder(call: WithNoise, command: str) -> tuple[int, str]:
        """Make it louder."""
        return call.noise, command

    assert louder(encoder="e", noise=5)[0] == 5
    assert inspect.signature(louder).parameters["noise"].annotation is int
    assert "    noise: Noise that is added." in present(louder.__doc__)


def test_how_scores_are_judged_has_the_same_defaults_here_and_there():
    from clipaudit.pipelines.config import JudgeConfig

    parameters = inspect.signature(clipaudit.score).parameters
    for field in fields(JudgeConfig):
        assert parameters[field.name].default == getattr(JudgeConfig(), field.name), field.name


def test_rates_that_are_none_are_errors_with_a_hint():
    for option in ("fpr", "fnr", "fdr", "alpha"):
        rate: dict[str, Any] = {option: 1.0}
        with pytest.raises(clipaudit.ClipAuditError, match="must be above 0 and below") as caught:
            clipaudit.score("pictures", **rate)
        assert caught.value.hint


def test_an_unknown_option_is_a_programming_mistake():
    with pytest.raises(TypeError, match="no option batchsize"):
        clipaudit.score("pictures", batchsize=3)  # type: ignore[call-arg]  # the mistake
    with pytest.raises(TypeError, match=r"clipaudit\.calibrate has no option control"):
        clipaudit.calibrate("pictures", control="others")  # type: ignore[call-arg]  # the mistake


def test_wrong_values_are_errors_with_a_hint():
    with pytest.raises(clipaudit.ClipAuditError, match="a pair needs two views") as caught:
        clipaudit.score("pictures", n_views=1)
    assert caught.value.hint
    options: list[dict[str, Any]] = [{"batch_size": 0}, {"workers": -1}, {"limit": 0}]
    for option in options:
        with pytest.raises(clipaudit.ClipAuditError, match="must be at least"):
            clipaudit.score("pictures", **option)


def test_errors_can_be_caught_by_the_name_at_the_top():
    from clipaudit.errors import EncoderError, InferrerError, InputError

    assert all(
        issubclass(kind, clipaudit.ClipAuditError)
        for kind in (EncoderError, InferrerError, InputError)
    )


def test_what_can_be_expected_needs_no_pictures():
    assert clipaudit.expect("ViT-B-32/openai", 300).needed == 10_305


def test_the_names_are_listed():
    assert set(clipaudit.__all__) <= set(dir(clipaudit))


TWINS = {
    "score": "score",
    "calibrate": "calibrate",
    "control": "control",
    "evaluate": "evaluate",
    "lookup": "lookup",
    "build-eval": "build_eval",
    "train": "train",
    "merge": "merge",
    "report": "read",
    "encoders": "list_encoders",
    "inferrers": "list_inferrers",
    "doctor": "doctor",
    "expect": "expect",
}


def test_every_command_that_gives_a_result_has_a_twin():
    from clipaudit.cli.app import COMMANDS

    without = {"demo", "lab", "cache", "calibrations"}  # what they give is on the screen or on disk
    assert TWINS.keys() == COMMANDS.keys() - without
    for command, function in TWINS.items():
        assert f"clipaudit {command}" in getattr(clipaudit, function).__doc__ or (
            command == function
        )


def test_types_of_results_are_named_at_the_top():
    from clipaudit.evaluation_sets.request import BuildConfig
    from clipaudit.results.audit import Audit

    assert clipaudit.Audit is Audit
    assert clipaudit.BuildConfig is BuildConfig
    for name in ("Calibration", "Evaluation", "Lookup", "Calibrated", "TrainConfig"):
        assert isinstance(getattr(clipaudit, name), type)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_is_drawn_where_somebody_looks(monkeypatch, is_terminal):
    from io import StringIO

    from clipaudit.pipelines.score import Progress

    stream = StringIO()
    stream.isatty = lambda: is_terminal  # type: ignore[method-assign]  # a terminal of the test
    monkeypatch.setattr(sys, "stderr", stream)
    advance = ScoringCall().progress
    for done, total in ((1, None), (2, 4), (4, 4), (1, 2)):
        advance(Progress(done, total, 0, 0))
    assert ("4/4" in stream.getvalue()) == is_terminal
    assert "scoring" in stream.getvalue() or not is_terminal


def test_encoders_and_inferrers_are_listed():
    assert "ViT-B-32/openai" in {entry.spec for entry in clipaudit.list_encoders("ViT-B-32/op")}
    assert "cifar10-v" in {card.name for card in clipaudit.list_inferrers()}
