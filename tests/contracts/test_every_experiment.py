"""What holds for every kind of experiment of the lab, a new one included."""

import re
import shutil
from pathlib import Path

import pytest

from clipaudit.cli.app import main
from clipaudit.encoders.base import Output
from clipaudit.errors import InputError
from clipaudit.lab.experiments import EXPERIMENTS, experiment_kind
from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.plan import make_plan
from clipaudit.lab.results import read_results
from tests.made.examples import entry, example
from tests.made.labs import PAIRS, SMALL, made_up_splits, matrix_of

FOR_ALL = {
    "draws = 2": "draws = 2\nreferences = 1",
    "[2, 3]": "[2, 3]\npasses = [1, 3]",
    'other = "other"\n': 'other = "other"\n\n[captions]\ndrawn = "names"\n',
    "epochs = [2, 120]\n": "epochs = [2, 120]\n" + PAIRS,
}
"""What the small matrix needs so that every kind of experiment can be run."""


def matrix_with(folder, kind, more=()):
    """The small matrix with one experiment, of this kind."""
    text = SMALL
    for before, after in dict(more).items():
        text = text.replace(before, after)
    entry = f'[[experiment]]\nkind = "{kind}"\ndata = "drawn"\nunknown_data = "other"\n\n'
    head, _, rest = text.partition("[[experiment]]")
    return matrix_of(folder, head + entry + rest[rest.index("[scale.cpu]") :])


@pytest.mark.parametrize("name", EXPERIMENTS)
class TestEveryExperiment:
    def test_it_says_how_it_is_shown(self, name):
        kind = experiment_kind(name)
        assert isinstance(kind, ExperimentKind)
        assert kind.title[0].isupper()
        assert kind.setting
        assert not kind.remark or kind.remark.startswith("Paper")
        assert not kind.is_logarithmic or kind.is_numeric
        assert all(re.fullmatch(r"#[0-9a-f]{6}", colour) for colour in kind.colours.values())

    def test_its_cells_have_settings_of_their_own_and_encoders_that_are_planned(
        self, name, tmp_path
    ):
        matrix = matrix_with(tmp_path, name, FOR_ALL)
        plan = make_plan(matrix, matrix.scale["cpu"], tmp_path, made_up_splits(matrix))
        assert plan.cells
        assert len({cell.setting for cell in plan.cells}) == len(plan.cells)
        for cell in plan.cells:
            assert (cell.kind, cell.experiment) == (name, f"{name}-drawn")
            keys = (cell.target, cell.shadow, *cell.references)
            roles = [plan.units[key].role for key in keys]
            if plan.units[cell.target].base_key:
                assert roles == ["tuned-target", "tuned-shadow", "target", "shadow"]
                assert [plan.units[key].base_key for key in keys[:2]] == list(keys[2:])
            else:
                assert roles == ["target", "shadow", *["reference"] * len(cell.references)]
            if experiment_kind(name).is_numeric:
                assert float(cell.setting) > 0
            output: Output = "embedding" if plan.units[cell.target].reads_captions else "trunk"
            fits = list(experiment_kind(name).fits(cell, plan, output, matrix.kinds))
            assert fits
            assert cell.references or set(fits) <= set(plan.units[cell.shadow].fits)


def test_a_kind_that_does_not_exist_is_an_error_that_offers_the_nearest():
    with pytest.raises(InputError, match="no kind of experiment called vews") as caught:
        experiment_kind("vews")
    assert "views" in caught.value.hint


# --- a new one ----------------------------------------------------------------------------------


def test_a_new_experiment_is_one_module_and_one_line(small_lab, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    kind, place = entry(example("experiment").install(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(EXPERIMENTS, kind, place)
    matrix_with(tmp_path, "coins")
    lab = Path(shutil.copytree(small_lab.folder, tmp_path / "lab"))  # the encoders are there

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["lab", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert not ended.value.code, err
        return out

    matrix = tmp_path / "matrix.toml"
    out = call("run", matrix, "-o", lab, *small_lab.data, "--device=cpu", "--only=coins")
    assert "2 of 2 cells filled" in out
    results = read_results(lab / "results" / "small-cpu.json")
    judged = {(outcome.setting, outcome.method) for outcome in results.outcomes}
    assert judged == {(setting, method) for setting in "12" for method in ("V", "T", "coin")}

    shown = call("show", lab, "-f", "md")
    assert "### Coins, drawn, embedding output, accuracy" in shown
    assert "| tosses | V | T | coin | seeds |" in shown
    assert "says nothing of coins" in shown
    assert (lab / "figures" / "small-cpu-coins-drawn.png").exists()
