"""`python -m benchmarks`: that it runs, and that what it compares is the same."""

import json
from xml.etree import ElementTree

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.cases import CASES, find_case
from benchmarks.contest import Case, Contest, DifferentResultError, Measured, Role, Way, measure
from benchmarks.written import plot

QUICK = ("features", "inferrers", "store-write", "store-read")


@pytest.fixture(autouse=True)
def _cache_folder_as_it_was(monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", "")  # the command sets it for its process


def test_a_quick_run_prints_a_table_and_writes_every_time(tmp_path, capsys):
    file = tmp_path / "times.json"
    assert main([*QUICK, "--quick", "--json", str(file)]) == 0
    table = capsys.readouterr().out
    assert all(f"| {name} |" in table for name in QUICK)
    document = json.loads(file.read_text(encoding="utf-8"))
    assert [row["case"] for row in document["cases"]] == [*QUICK]
    for row in document["cases"]:
        assert row["ways"].keys() == {"product", "naive", "floor"}
        for way in row["ways"].values():
            assert len(way["seconds"]) == document["rounds"]
            assert min(way["seconds"]) <= way["median_s"] <= max(way["seconds"])


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_there_and_goes_from_small_to_large(name):
    case = find_case(name)
    assert [*case.sizes] == sorted(set(case.sizes))
    assert case.quick_sizes


def test_without_a_name_all_cases_are_meant(capsys):
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*CASES]


def test_an_unknown_case_suggests_the_nearest(capsys):
    with pytest.raises(SystemExit):
        main(["decoed"])
    assert "no case is called 'decoed'; try decode" in capsys.readouterr().err


def test_without_a_gpu_its_benchmark_ends_with_one_message(capsys):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert main(["gpu"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no cuda:0: torch ")


def test_a_way_that_gives_something_else_is_an_error(tmp_path):
    def prepare(size, place):
        ways = (Way("product", "right", lambda: 1), Way("naive", "wrong", lambda: 2))

        def require_same(product, naive):
            assert product == naive

        return Contest(ways, require_same)

    with pytest.raises(DifferentResultError, match="toy, 3 things: the two ways differ"):
        measure("toy", Case("a toy", "things", (3,), (3,), prepare), 3, 1, tmp_path)


def test_the_drawing_has_a_panel_for_each_case_of_several_sizes():
    def row(case, size):
        about: dict[Role, str] = {"product": "this", "naive": "that"}
        return Measured(case, "pictures", size, about, {"product": [0.1], "naive": [0.2 * size]})

    drawing = ElementTree.fromstring(plot([row("a <b>", 1), row("a <b>", 10), row("alone", 1)]))
    words = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert "a <b>" in words
    assert "alone" not in words
    assert "clipaudit" in words
