"""What `import clipaudit` offers: by name, by type, and at no cost before it is used."""

import subprocess
import sys
from dataclasses import fields

import pytest

import clipaudit
from clipaudit.encoders.base import EncoderOptions
from clipaudit.pipelines.config import ScoreConfig

NOT_FOR_CALLERS = {"command", "options", "n_views_ahead", "every_data_set"}
NAMED = {"encoder", "inferrers", "references"}


def test_importing_it_imports_nothing_heavy():
    heavy = "{'torch', 'sklearn', 'numpy', 'PIL', 'onnxruntime', 'open_clip', 'rich', 'typer'}"
    code = f"import clipaudit, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_option_of_a_run_is_an_option_of_the_function_with_the_same_type():
    known = {}
    for config in (ScoreConfig, EncoderOptions):
        for field in fields(config):
            known[field.name] = field.type
    options = clipaudit.Options.__annotations__
    assert options.keys() == known.keys() - NOT_FOR_CALLERS - NAMED
    for name, annotation in options.items():
        assert annotation.__forward_arg__ == known[name], name


def test_the_default_encoder_is_written_twice_and_is_the_same():
    import inspect

    parameters = inspect.signature(clipaudit.score).parameters
    assert parameters["encoder"].default == ScoreConfig().encoder


def test_how_scores_are_judged_has_the_same_defaults_here_and_there():
    import inspect

    from clipaudit.pipelines.config import JudgeConfig

    parameters = inspect.signature(clipaudit.score).parameters
    for field in fields(JudgeConfig):
        assert parameters[field.name].default == getattr(JudgeConfig(), field.name), field.name


def test_rates_that_are_none_are_errors_with_a_hint():
    for option in ("fpr", "fnr", "fdr", "alpha"):
        with pytest.raises(clipaudit.ClipAuditError, match="must be above 0 and below") as caught:
            clipaudit.score("pictures", **{option: 1.0})
        assert caught.value.hint


def test_an_unknown_option_is_a_programming_mistake():
    with pytest.raises(TypeError, match="no option batchsize"):
        clipaudit.score("pictures", batchsize=3)
    with pytest.raises(TypeError, match=r"clipaudit\.calibrate has no option control"):
        clipaudit.calibrate("pictures", control="others")


def test_wrong_values_are_errors_with_a_hint():
    with pytest.raises(clipaudit.ClipAuditError, match="make no pair") as caught:
        clipaudit.score("pictures", n_views=1)
    assert caught.value.hint
    for option in ({"batch_size": 0}, {"workers": -1}, {"limit": 0}):
        with pytest.raises(clipaudit.ClipAuditError, match="too low"):
            clipaudit.score("pictures", **option)


def test_errors_can_be_caught_by_the_name_at_the_top():
    from clipaudit.errors import EncoderError, InferrerError, InputError

    assert all(
        issubclass(kind, clipaudit.ClipAuditError)
        for kind in (EncoderError, InferrerError, InputError)
    )


def test_the_names_are_listed():
    assert set(clipaudit.__all__) <= set(dir(clipaudit))
