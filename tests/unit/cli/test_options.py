"""The options of scoring: written once, and the same for every command."""

import inspect
from dataclasses import dataclass, fields
from typing import Annotated, get_args

import pytest
import typer
from typer.testing import CliRunner

from clipaudit.cli.calibrate import calibrate
from clipaudit.cli.evaluate import evaluate
from clipaudit.cli.options import with_scoring_options
from clipaudit.cli.score import score
from clipaudit.pictures.base import Limits
from clipaudit.pipelines.calling import ScoringCall
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.scoring_options import Option, ScoringOptions

COMMANDS = (score, calibrate, evaluate)


@dataclass(frozen=True, slots=True, kw_only=True)
class WithNoise(ScoreConfig):
    """The options, and a new one."""

    noise: Annotated[int, Option("Noise that is added.", variables=("NOISE",), minimum=1)] = 3


@pytest.fixture
def configured():
    """Run a command that has the options; gives its exit code, its output and its config."""
    configs = []
    app = typer.Typer()

    @app.command()
    @with_scoring_options(limit={"help": "As few as you like."})
    def louder(*, scoring: WithNoise) -> None:
        configs.append(scoring)

    def run(*arguments, env=None):
        configs.clear()
        done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **(env or {})})
        return done.exit_code, done.output, configs[0] if configs else None

    return run


def test_a_new_field_is_an_option_with_its_help_its_variable_and_its_bound(configured):
    code, text, _ = configured("--help")
    assert code == 0
    assert "Noise that is added." in text
    assert configured()[2].noise == 3
    assert configured("--noise", "7")[2].noise == 7
    assert configured(env={"NOISE": "8"})[2].noise == 8
    code, text, _ = configured("--noise", "0")
    assert code == 2
    assert "--noise" in text


def test_what_is_not_typed_keeps_its_default(configured):
    config = configured()[2]
    for option in fields(ScoringOptions):
        assert getattr(config, option.name) == getattr(ScoreConfig(), option.name), option.name


def test_what_is_typed_fills_its_field(configured, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    words = ["--reference", "a", "--reference", "b", "--inferrer", "c", "--no-cache", "--offline"]
    words += ["--max-megapixels", "2.5", "--input-size", "32", "--mean", "0.1", "0.2", "0.3"]
    words += ["--similarity", "pearson", "--views", "4", "--include-hidden"]
    config = configured(*words)[2]
    assert config.references == ("a", "b")
    assert config.inferrers == ("c",)
    assert not config.use_store
    assert config.limits == Limits(max_pixels=2_500_000)
    assert (config.input.size_px, config.input.mean) == (32, (0.1, 0.2, 0.3))
    assert (config.similarity, config.n_views, config.include_hidden) == ("pearson", 4, True)
    assert config.options.offline


def test_a_command_may_say_otherwise_of_an_option(configured):
    text = configured("--help")[1]
    assert "As few as you like." in text
    assert "Stop after this many files." not in text


def test_every_command_has_the_same_options_of_scoring():
    names = set(inspect.signature(with_nothing_else).parameters)
    assert names > {"ctx", "encoder", "n_views", "input_size_px", "limits_max_pixels"}
    first, *others = (inspect.signature(command).parameters for command in COMMANDS)
    for name in names:
        same = all(shown(other[name]) == shown(first[name]) for other in others)
        assert same or name in {"limit", "methods", "shadow"}  # evaluate says of these what it does


@with_scoring_options()
def with_nothing_else(*, scoring: ScoreConfig) -> None:
    """Take the options, and nothing else."""


def shown(parameter):
    """What the help says of a parameter."""
    info = get_args(parameter.annotation)[1:]
    return parameter.annotation if not info else (vars(info[0]), parameter.default)


def test_an_option_is_listed_in_one_place():
    listed = {option.name for option in fields(ScoringOptions)}
    for command in COMMANDS:
        assert not listed & set(inspect.signature(inspect.unwrap(command)).parameters)
    assert listed & set(ScoringCall.__annotations__) == {"references", "methods", "inferrers"}
    assert not listed & set(ScoreConfig.__annotations__)
