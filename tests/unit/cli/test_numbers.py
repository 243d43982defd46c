"""Every numeric option of every command, found in the commands, at its edges and past them."""

import math
import typing

import pytest

from clipaudit.cli.app import COMMANDS, _load, main

NOWHERE = {
    "score": ["nowhere.png"],
    "calibrate": ["--nonmembers", "nowhere"],
    "evaluate": ["nowhere"],
    "control": ["nowhere", "--from", "nowhere", "-o", "nowhere-else"],
    "report": ["nowhere.json"],
    "lookup": ["nowhere.png", "-m", "nowhere.csv"],
    "build-eval": ["-k", "otter", "--dry-run"],
    "train": ["nowhere", "-o", "run"],
    "demo": ["--keep", "."],  # which is not empty
    "lab run": ["nowhere.toml"],
    "lab export": ["nowhere.toml", "--data-set", "x", "--into", "y"],
    "expect": ["-e", "nowhere:at-all"],
}
"""Arguments with which each command ends at once, and not for want of arguments."""

NO_NUMBERS = ("nan", "-nan", "inf", "-inf", "1e309", f"{10**30}", f"-{10**30}", f"{2**63}", "one")
EDGES = ("0", "-0", "-1", "1", "1e-320", "-1e-320", "5e-324", "1e300", f"{2**62}", f"{2**63 - 1}")


def leaves(command, words=()):
    """Each command that has none below it, with its words."""
    below = getattr(command, "commands", None)
    if not below:
        yield " ".join(words), command
        return
    for name, other in below.items():
        yield from leaves(other, (*words, name))


def numeric():
    for name in COMMANDS:
        for words, command in leaves(_load(name), (name,)):
            for parameter in command.params:
                kind = parameter.type_descriptor.annotation
                kinds = typing.get_args(kind) or (kind,)
                if {int, float} & set(kinds) and not getattr(parameter, "count", False):
                    yield words, parameter, len(typing.get_args(kind)) or 1


OPTIONS = [
    pytest.param(words, parameter, n, id=f"{words} {parameter.opts[0]}")
    for words, parameter, n in numeric()
]


@pytest.fixture
def run(capfd, tmp_path, monkeypatch):
    """Run a command with an option, in a folder that holds a file."""
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def call(words, option, *values):
        typed = [f"{option}={values[0]}"] if len(values) == 1 else [option, *values]
        with pytest.raises(SystemExit) as end:
            main([*words.split(), *NOWHERE[words], *typed])
        _, err = capfd.readouterr()
        assert "Traceback" not in err, (typed, err)
        return end.value.code or 0, " ".join(err.replace("│", " ").split())

    return call


def test_the_sweep_finds_them_all():
    assert len(OPTIONS) >= 54
    assert {words for words, _, _ in numeric()} == set(NOWHERE)


@pytest.mark.parametrize(("words", "parameter", "n"), OPTIONS)
def test_what_is_no_number_to_work_with_is_a_usage_error(run, words, parameter, n):
    option = parameter.opts[0]
    for value in NO_NUMBERS:
        code, err = run(words, option, *[value] * n)
        assert code == 2, (value, err)
        assert option in err or option.lstrip("-").replace("-", "_") in err, (value, err)


@pytest.mark.parametrize(("words", "parameter", "n"), OPTIONS)
def test_no_number_ends_in_a_traceback(run, words, parameter, n):
    info = parameter.type_descriptor.parameter_info
    for value in (*EDGES, *(f"{edge:.17g}" for edge in (info.min, info.max) if edge is not None)):
        code, err = run(words, parameter.opts[0], *[value] * n)
        assert code in {0, 2, 3, 4, 5, 6}, (value, err)


@pytest.mark.parametrize(("words", "parameter", "n"), OPTIONS)
def test_past_its_range_is_a_usage_error(run, words, parameter, n):
    info = parameter.type_descriptor.parameter_info
    past = [info.min - 1] if info.min is not None else []
    past += [info.max + 1] if info.max is not None else []
    for value in past:
        assert run(words, parameter.opts[0], *[str(value)] * n)[0] == 2


@pytest.mark.parametrize(("words", "parameter", "n"), OPTIONS)
def test_minus_nought_is_nought(run, words, parameter, n):
    if parameter.type_descriptor.annotation is float:
        codes = [run(words, parameter.opts[0], value)[0] for value in ("0", "-0.0")]
        assert codes[0] == codes[1]


@pytest.mark.parametrize("name", ["fpr", "fnr", "fdr", "alpha"])
@pytest.mark.parametrize("value", [1e-320, 5e-324, 1e-10, 0.0, -0.0, 1.0, math.nan, math.inf])
def test_a_level_that_no_pictures_allow_is_a_usage_error(run, name, value):
    code, err = run("score", f"--{name}", f"{value!r}")
    assert code == 2
    assert f"--{name}" in err
