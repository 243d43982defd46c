import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from clipaudit.cli.app import main
from clipaudit.files import FileError
from clipaudit.lab.figures import FOLDER, draw, draw_all
from clipaudit.lab.results import write_results
from clipaudit.lab.tables import DOWNSTREAM, tables
from tests.made.outcomes import KINDS, WITH_DOWNSTREAM, outcome, results, tables_of

ROOT = Path(__file__).parents[3]
TWO_PANELS = ("views", "baselines")
NUMERIC = {"views", "target-size", "shadow-size", "epochs", "reference"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    some = [one for one in tables_of() if one.output == "embedding" or one.kind in TWO_PANELS]
    return draw_all(results(), some, folder / "new")


@cache
def panels_of(kind, quantity="accuracy"):
    return [one for one in tables_of(quantity) if one.kind == kind]


@cache
def figure_of(kind):
    return draw(results(), panels_of(kind))


def drawn(figure):
    """For each panel and name: points as (setting's place, value, low, high)."""
    panels = []
    for ax in figure.axes:
        by_name = {}
        for container in ax.containers:
            line, _, (bars,) = container.lines
            xy = np.array(line.get_xydata())
            ends = np.array(bars.get_segments())
            by_name[container.get_label()] = xy, ends
        panels.append(by_name)
    return panels


# --- files ---------------------------------------------------------------------------------------


def test_every_kind_of_experiment_has_a_png_and_an_svg(files):
    assert [path.name for path in files] == [
        f"small-cpu-{kind}-cifar10.{ending}" for kind in KINDS for ending in ("png", "svg")
    ]
    for path in files:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.size[0] >= 600
                assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # not empty
        else:
            assert ET.parse(path).getroot().tag.endswith("svg")
    assert {path.parent.name for path in files} == {"new"}
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(
        path.name for path in files
    )


def test_the_same_results_give_the_same_bytes(files, tmp_path):
    again = draw_all(results(), [*panels_of(TWO_PANELS[0]), *panels_of(TWO_PANELS[1])], tmp_path)
    assert len(again) == 4
    first = {path.name: path.read_bytes() for path in files}
    for path in again:
        assert path.read_bytes() == first[path.name], path.name


def test_a_figure_needs_no_display_and_opens_none(tmp_path):
    write_results(tmp_path, results(outcomes=results().outcomes[:9], downstream=()))
    program = (
        "import sys\n"
        "from clipaudit.cli.app import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = os.environ | {"MPLBACKEND": "TkAgg", "DISPLAY": ""}
    done = subprocess.run(
        [sys.executable, "-c", program, "lab", "show", tmp_path, "-f", "md"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert names == {f"small-cpu-views-cifar10.{ending}" for ending in ("png", "svg")}
    assert f"2 figures in {tmp_path / FOLDER}" in done.stderr


def test_show_draws_where_it_is_told_to_and_not_where_it_is_told_not_to(tmp_path, capsys):
    write_results(tmp_path / "lab", results(outcomes=results().outcomes[:9], downstream=()))
    for more, expected in (
        (["--no-draw", "--figures", tmp_path / "a"], 0),
        (["--figures", tmp_path / "b"], 2),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["lab", "show", str(tmp_path / "lab"), *map(str, more)])
        assert not caught.value.code
        capsys.readouterr()
        folder = Path(more[-1])
        assert len(list(folder.iterdir()) if folder.exists() else []) == expected
    assert not (tmp_path / "lab" / FOLDER).exists()


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write"):
        draw_all(results(), panels_of("views"), tmp_path / "file" / "x")


# --- what they show ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(NUMERIC))
def test_the_points_of_a_sweep_are_the_figures_of_its_table(kind):
    for table, by_name in zip(panels_of(kind), drawn(figure_of(kind)), strict=True):
        expected = {method: [row.figures[method] for row in table.rows] for method in table.methods}
        if kind in WITH_DOWNSTREAM:
            expected[DOWNSTREAM] = [row.downstream for row in table.rows]
        assert by_name.keys() == expected.keys()
        settings = [float(row.setting) for row in table.rows]
        for name, estimates in expected.items():
            xy, ends = by_name[name]
            np.testing.assert_allclose(xy[:, 0], settings)
            np.testing.assert_allclose(xy[:, 1], [one.value for one in estimates])
            np.testing.assert_allclose(ends[:, :, 0], np.column_stack([settings, settings]))
            np.testing.assert_allclose(ends[:, :, 1], [[one.low, one.high] for one in estimates])


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - NUMERIC))
def test_the_points_of_settings_in_words_are_the_figures_of_their_table(kind):
    figure = figure_of(kind)
    for ax, table, by_name in zip(figure.axes, panels_of(kind), drawn(figure), strict=True):
        expected = {method: [row.figures[method] for row in table.rows] for method in table.methods}
        if kind in WITH_DOWNSTREAM:
            expected[DOWNSTREAM] = [row.downstream for row in table.rows]
        assert by_name.keys() == expected.keys()
        at_row = []
        for name, estimates in expected.items():
            xy, ends = by_name[name]
            np.testing.assert_allclose(xy[:, 0], [one.value for one in estimates])
            np.testing.assert_allclose(ends[:, :, 0], [[one.low, one.high] for one in estimates])
            np.testing.assert_array_equal(np.round(xy[:, 1]), range(len(table.rows)))
            at_row.append(xy[0, 1])
        assert len(set(at_row)) == len(at_row)  # no method hides another
        low, high = ax.get_ylim()
        assert low > high  # from top to bottom
    named = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert named == list(KINDS[kind])


def test_labels_say_what_is_what():
    for kind in ("views", "baselines"):
        panels = panels_of(kind, "recall")
        figure = draw(results(), panels)
        assert [ax.get_title() for ax in figure.axes] == ["embedding output", "trunk output"]
        assert "cifar10" in figure.get_suptitle()
        assert "3 repetitions" in figure.get_suptitle()
        named = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
        assert {"V", "S", "T"} <= named
        said = {figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()}
        assert "recall" in said
        assert not any("paper" in name for name in named)


def test_the_papers_numbers_are_hollow_marks_beside_ours():
    figure = figure_of("background")
    marks = [
        [line for line in ax.lines if line.get_label() == "V in the paper"] for ax in figure.axes
    ]
    (mark,) = [mark for found in marks for mark in found]  # of the setting whose number is known
    assert not marks[0]  # the embedding's
    np.testing.assert_allclose(mark.get_xdata(), [0.868, 0.868])
    np.testing.assert_array_equal(np.round(mark.get_ydata()), [1, 1])
    assert mark.get_markerfacecolor() == "none"
    named = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert named.count("V in the paper") == 1


def test_the_papers_numbers_stand_at_their_size():
    some = tuple(
        outcome(30, 5, experiment="target-size-stl10", setting=size, method=method, output="trunk")
        for size in ("5000", "25000")
        for method in ("V", "T")
    )
    found = results(
        outcomes=some,
        downstream=(),
        experiments={"target-size-stl10": {"kind": "target-size", "data": "stl10"}},
    )
    (ax,) = draw(found, tables(found)).axes
    marks = {
        (str(line.get_label()), *np.ravel(line.get_xdata()), *np.ravel(line.get_ydata()))
        for line in ax.lines
        if "paper" in str(line.get_label())
    }
    assert marks == {
        ("V in the paper", 5000, 5000, 0.96, 0.96),
        ("V in the paper", 25000, 25000, 0.80, 0.83),
        ("T in the paper", 5000, 5000, 0.94, 0.94),
        ("T in the paper", 25000, 25000, 0.82, 0.83),
    }
    assert ax.get_xscale() == "log"


def test_figures_that_are_missing_leave_a_gap():
    some = (outcome(30, 5), outcome(40, 5, method="T"), outcome(20, 5, setting="2"))
    found = results(outcomes=some, downstream=())
    (by_name,) = drawn(draw(found, tables(found)))
    assert {name: len(xy) for name, (xy, _) in by_name.items()} == {"V": 2, "T": 1}


def test_a_single_row_without_any_figure_can_be_drawn():
    found = results(outcomes=(outcome(0, 0),), downstream=())
    (by_name,) = drawn(draw(found, tables(found, "precision")))
    assert by_name == {}
