"""`clipaudit lab`, as people run it: from pictures to tables, stopped, killed, with a full disk."""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from clipaudit.cli.app import main
from clipaudit.lab.collecting import judge_cell
from clipaudit.lab.experiments.baselines import EMBEDDING, IMAGE
from clipaudit.lab.matrix import read_matrix
from clipaudit.lab.results import accuracy, over_seeds, read_results
from clipaudit.lab.run import LabConfig, run_lab
from clipaudit.lab.tables import tables
from clipaudit.lab.worker import make
from clipaudit.shadow.training_folder import has_encoder
from tests.made.labs import LONG, SHORT, SMALL, Lab, draw_pictures, matrix_of, plan_of
from tests.made.present import present
from tests.made.score_runs import wait_for

pytestmark = pytest.mark.timeout(900)  # a worker takes seconds to start, on a busy machine many
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")

OPTIONS = ("--device=cpu", f"--jobs={os.cpu_count()}")  # as many as that run on one core each


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Own caches, and one thread."""
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    torch.set_num_threads(1)


@pytest.fixture
def fresh(small_lab, tmp_path):
    """The small lab with nothing in it."""
    return replace(small_lab, folder=tmp_path / "lab")


@pytest.fixture
def copied(small_lab, tmp_path):
    """A copy of the small lab with its encoders."""
    return replace(small_lab, folder=Path(shutil.copytree(small_lab.folder, tmp_path / "lab")))


@pytest.fixture(scope="module")
def expected(small_lab, tmp_path_factory):
    """Results of the small lab, whose encoders were made in this process."""
    folder = tmp_path_factory.mktemp("expected") / "lab"
    shutil.copytree(small_lab.folder, folder)
    config = LabConfig(
        read_matrix(str(small_lab.matrix)),
        "cpu",
        folder,
        {"drawn": str(small_lab.drawn), "other": str(small_lab.other)},
        device="cpu",
    )
    ran = run_lab(config)
    assert ran.failed == ()
    return ran.results


def line(lab, *more):
    """The command that runs a lab."""
    return ["lab", "run", lab.matrix, "-o", lab.folder, *lab.data, *OPTIONS, *more]


def called(capsys, *arguments):
    """Exit code, stdout and stderr of a command, in this process."""
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, arguments)))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return caught.value.code or 0, said.out, said.err


def unit_of(lab, role, data="drawn"):
    (unit,) = (one for one in plan_of(lab).units.values() if (one.role, one.data) == (role, data))
    return unit


def results_of(lab):
    return read_results(lab.folder / "results" / "small-cpu.json")


def figures(results):
    """All that must be alike, however the results came about: everything but times."""
    encoders = {replace(one, seconds=0, seconds_outside=0) for one in results.encoders}
    return set(results.outcomes), set(results.downstream), encoders, results.experiments


def weights_of(unit):
    return (unit.folder / "encoder" / "encoder.safetensors").read_bytes()


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def n_lines(unit):
    log = unit.folder / "log.jsonl"
    return len(log.read_bytes().splitlines()) if log.exists() else 0


def workers_of(pid):
    """The workers of a lab's process."""
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def worker_on(pid, unit):
    """The worker that makes a unit; it is known by where its errors go."""
    log = str(unit.folder / "worker.log")
    for one in workers_of(pid):
        if log in {file.path for file in one.open_files()}:
            return one
    return None


# --- from pictures to tables ---------------------------------------------------------------------


@posix
def test_a_lab_goes_from_pictures_to_tables_whatever_becomes_of_some_workers(
    fresh, small_lab, expected, warm, capsys
):
    """One worker is killed, one gets out of hand, one makes what the others can be told from."""
    wild = fresh.folder.with_name("wild.toml")
    wild.write_text(
        SMALL.replace(
            "[scale.cpu.sweeps]",
            "[scale.cpu.algorithm.mocov2]\nlearning_rate = 1e30\n\n[scale.cpu.sweeps]",
        )
    )
    running = warm.start(*line(replace(fresh, matrix=wild)))
    wait_for((fresh.folder / "encoders").exists, running, 300)
    target = unit_of(fresh, "target")
    wait_for(lambda: n_lines(target) >= 5, running, 300)
    worker_on(running.pid, target).send_signal(signal.SIGKILL)
    done = running.wait(600)
    assert not has_encoder(target.folder), "killed too late"

    # The third is done, and all that went wrong is told of.
    assert done.code == 4, done.err
    assert "Traceback" not in done.err
    assert "2 of 3 encoders failed" in done.err
    assert "killed by signal 9" in done.err
    assert "run the same command again" in done.err
    assert "pre-training got out of hand" in done.err
    assert "Lower the learning rate" in done.err
    assert done.err.count("done: ") == 1
    shadow = unit_of(fresh, "shadow")
    assert shadow.is_done
    assert weights_of(shadow) == weights_of(unit_of(small_lab, "shadow"))
    assert results_of(fresh).outcomes == ()
    assert [one.key for one in results_of(fresh).encoders] == [shadow.key]
    assert "0 of 7 cells filled" in done.out.decode()

    # The next run goes on where the killed worker was, and takes encoders that it finds.
    other = unit_of(small_lab, "shadow", "other")
    shutil.copytree(other.folder, unit_of(fresh, "shadow", "other").folder)
    n_done = n_lines(target)
    code, out, err = called(capsys, *line(fresh))
    assert code == 0, err
    assert err.count("done: ") == 1
    assert f"{fresh.folder / 'results' / 'small-cpu.json'}: 7 of 7 cells filled" in out
    assert f"clipaudit lab show {fresh.folder}" in out
    assert 5 <= n_done < n_lines(target) == 120
    assert weights_of(target) == weights_of(unit_of(small_lab, "target"))
    assert figures(results_of(fresh)) == figures(expected)

    # And once more: nothing is made, nothing is written again but the results.
    before = files_of(fresh.folder)
    code, again, err = called(capsys, *line(fresh))
    assert (code, again) == (0, out)
    assert "done" not in err
    after = files_of(fresh.folder)
    assert after.keys() == before.keys()
    assert {one for one in after if after[one] != before[one]} <= {"results/small-cpu.json"}
    assert figures(results_of(fresh)) == figures(expected)

    code, shown, _ = called(capsys, "lab", "show", fresh.folder, "-f", "md")
    assert code == 0
    for table in tables(expected):
        assert f"### {table.title}\n" in shown
    assert len(list((fresh.folder / "figures").iterdir())) == 2 * 4


def test_a_lab_whose_encoders_are_there_needs_no_data_set(copied, expected, capsys):
    shutil.copytree(copied.drawn, copied.folder / "away")
    lab = replace(copied, drawn=copied.folder / "nowhere", other=copied.folder / "nowhere.zip")
    code, _, err = called(capsys, *line(lab))
    assert code == 0, err
    assert figures(results_of(lab)) == figures(expected)


def test_experiments_can_be_run_one_by_one(copied, expected, capsys):
    for kind, n_cells in (("views", 2), ("background-drawn", 2), ("baselines", 1), ("epochs", 2)):
        code, out, err = called(capsys, *line(copied, "--only", kind))
        assert code == 0, err
        assert n_cells > 0
        assert "cells filled" in out
    assert figures(results_of(copied)) == figures(expected)


def test_every_cell_has_its_outcomes(expected):
    counts: dict[tuple, list[tuple[str, str]]] = {}
    for one in expected.outcomes:
        assert one.found + one.missed == one.accused + one.spared == 10
        counts.setdefault((one.experiment, one.setting), []).append((one.output, one.method))
    both, inferrers = ("embedding", "trunk"), ("V", "T")
    plain = {(output, method) for output in both for method in inferrers}
    baselines = {(output, method) for output in both for method in (EMBEDDING, IMAGE)}
    baselines |= {("trunk", "downstream classifier")}
    assert {cell: set(some) for cell, some in counts.items()} == {
        ("views-drawn", "2"): plain,
        ("views-drawn", "3"): plain,
        ("background-drawn", "nothing"): plain,
        ("background-drawn", "data + architecture + algorithm"): plain,
        ("baselines-drawn", "everything"): plain | baselines,
        ("epochs-drawn", "2"): plain,
        ("epochs-drawn", "120"): plain,
    }
    assert all(len(some) == len(set(some)) for some in counts.values())
    told = {(one.experiment, one.setting, one.n) for one in expected.downstream}
    assert told == {
        ("baselines-drawn", "everything", 12),
        ("epochs-drawn", "2", 12),
        ("epochs-drawn", "120", 12),
    }


def test_one_cell_that_two_experiments_share_has_the_same_figures(expected):
    def of(experiment, setting):
        return {
            replace(one, experiment="", setting="")
            for one in expected.outcomes
            if (one.experiment, one.setting) == (experiment, setting) and one.method in "VT"
        }

    full = of("background-drawn", "data + architecture + algorithm")
    assert len(full) == 4
    assert full == of("views-drawn", "3") == of("baselines-drawn", "everything")
    assert full == of("epochs-drawn", "120")
    assert full != of("epochs-drawn", "2")


# --- stopped -------------------------------------------------------------------------------------


@posix
def test_a_lab_that_is_stopped_in_every_way_continues_to_the_same(
    copied, small_lab, expected, warm, capsys
):
    target = unit_of(copied, "target")
    shutil.rmtree(target.folder)

    # Ctrl-C, to the lab alone, which ends its workers.
    running = warm.start(*line(copied, "--only=views"))
    wait_for(lambda: n_lines(target) >= 3, running, 300)
    workers = workers_of(running.pid)
    assert len(workers) == 1
    code, out, err = called(capsys, *line(copied, "--only=views"))  # a second run at the same time
    assert (code, out) == (2, "")
    assert "another `clipaudit lab run` is at work" in err
    assert "--output" in err
    os.kill(running.pid, signal.SIGINT)
    done = running.wait(60)
    assert done.code == 130
    assert done.err.splitlines()[-1] == "stopped"
    assert "Traceback" not in done.err
    assert not any(one.is_running() for one in workers)
    assert not has_encoder(target.folder), "stopped too late"

    # kill -9, to the lab alone, which can end nothing.
    before = n_lines(target)
    running = warm.start(*line(copied, "--only=views"))
    wait_for(lambda: n_lines(target) not in {0, before}, running, 300)
    workers = workers_of(running.pid)
    assert len(workers) == 1
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, "a worker outlived its lab"
    assert not has_encoder(target.folder), "killed too late"

    code, out, err = called(capsys, *line(copied, "--only=views"))
    assert code == 0, err
    assert "2 of 2 cells filled" in out
    assert n_lines(target) == 120
    assert weights_of(target) == weights_of(unit_of(small_lab, "target"))
    of_views = {one for one in expected.outcomes if one.experiment == "views-drawn"}
    assert set(results_of(copied).outcomes) == of_views
    assert not list(copied.folder.rglob("*.tmp"))


# --- workers that fail ---------------------------------------------------------------------------

ENDS = {
    "killed": ("kill -9 $$", 4, "it was killed by signal 9", "if memory was short, lower --jobs"),
    "a bug": ("echo Traceback >&2; exit 1", 70, "it ended with code 1", "worker.log has its last"),
    "told of": ("exit 3", 3, "it ended with code 3", "run the same command again"),
}


@posix
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_end_of_a_worker_without_a_word_is_an_exit_code(copied, capsys, monkeypatch, end):
    """A shell in the place of Python, which does not even read what it shall do."""
    program, expected, message, hint = end
    shutil.rmtree(unit_of(copied, "target").folder)
    shell = copied.folder / "python"
    shell.write_text(f"#!/bin/sh\n{program}\n")
    shell.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shell))
    code, out, err = called(capsys, *line(copied))
    assert code == expected
    assert "0 of 7 cells filled" in out
    said, _, advice = " ".join(err.split()).partition("hint:")
    assert "1 of 3 encoders failed" in said
    assert message in said
    assert hint in advice
    assert (unit_of(copied, "target").folder / "worker.log").exists()


# --- a full disk ---------------------------------------------------------------------------------


@posix
def test_a_full_disk_is_told_of_and_what_was_made_stays_usable(copied, small_lab, expected, capsys):
    import resource

    other = unit_of(copied, "shadow", "other")
    shutil.rmtree(other.folder)
    kept = files_of(copied.folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # workers have it too
    try:
        code, out, err = called(capsys, *line(copied))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 4
    assert "6 of 7 cells filled" in out
    assert "cannot write" in err
    assert "Free some space" in err
    assert not list(copied.folder.rglob("*.tmp"))
    assert {name: files_of(copied.folder)[name] for name in kept} == kept
    outcomes, *_ = figures(results_of(copied))
    assert outcomes == {one for one in expected.outcomes if one.setting != "nothing"}

    make(other, "cpu")  # with some space
    code, out, err = called(capsys, *line(copied))
    assert code == 0, err
    assert figures(results_of(copied)) == figures(expected)
    assert weights_of(other) == weights_of(unit_of(small_lab, "shadow", "other"))


@posix
def test_a_disk_that_is_full_before_anything_is_drawn_is_told_of(fresh, capsys):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        code, out, err = called(capsys, *line(fresh))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, out) == (4, "")
    assert "cannot write" in err
    assert "Free some space" in err
    assert not [path for path in fresh.folder.rglob("*") if path.is_file() and path.stat().st_size]


# --- what is refused -----------------------------------------------------------------------------

REFUSED = {
    "no such matrix": (["encodermy"], 2, "there is no matrix encodermy", "encodermi"),
    "no such scale": (["{m}", "--scale=gpu"], 2, "has no scale gpu", "cpu"),
    "no such data set": (["{m}", "--data=cifar=x"], 2, "has no data set cifar", "drawn, other"),
    "a data set without a path": (["{m}", "--data=drawn"], 2, "is not NAME=PATH", "--data"),
    "a data set with no path": (["{m}", "--data=drawn="], 2, "is not NAME=PATH", "--data"),
    "a path without a data set": (["{m}", "--data==x"], 2, "is not NAME=PATH", "--data"),
    "no such experiment": (["{m}", "--only=view"], 2, "has no experiment view", "views"),
    "a data set that is nowhere": (["{m}", "--data=drawn=/no"], 6, "no data set /no", "folder"),
    "no such device": (["{m}", "--device=abacus", "{d}"], 4, "abacus", "cpu"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_run_is_a_message_and_an_exit_code(small_lab, tmp_path, capsys, case):
    given, expected, message, hint = case
    data = [one for one in given if one == "{d}"] and small_lab.data
    given = [one.replace("{m}", str(small_lab.matrix)) for one in given if one != "{d}"]
    code, out, err = called(capsys, "lab", "run", *given, *data, "-o", tmp_path / "lab")
    said, _, advice = " ".join(err.split()).partition("hint:")
    assert (code, out) == (expected, ""), err
    assert message in said
    assert hint in advice


def test_a_data_set_that_is_too_small_is_told_of_with_counts(fresh, tmp_path, capsys):
    lab = replace(fresh, other=draw_pictures(tmp_path / "few", 30, "few"))
    code, out, err = called(capsys, *line(lab))
    assert (code, out) == (3, "")
    assert "other has 30 different pictures" in err
    for group in ("target-members", "shadow-nonmembers", "probe-test"):
        assert f"12 {group}" in err
    assert "Ask for 30 together at most" in err


def test_an_output_that_is_no_folder_is_a_message_and_exit_code_4(fresh, capsys):
    fresh.folder.write_text("")
    code, out, err = called(capsys, *line(fresh))
    assert (code, out) == (4, "")
    assert "cannot write" in err


def test_a_broken_file_of_the_lab_is_a_message_that_names_it(copied, capsys):
    shadow = unit_of(copied, "shadow")
    path = shadow.fit_file(shadow.fits[0])
    path.write_bytes(b"broken")
    code, _, err = called(capsys, *line(copied))
    assert code == 4
    assert str(path) in err
    assert "Delete it, and run the lab again" in err
    path.unlink()
    make(shadow, "cpu")
    assert called(capsys, *line(copied))[0] == 0


def test_a_split_that_was_edited_so_that_it_overlaps_ends_the_run(copied, capsys):
    path = unit_of(copied, "target").split / "split.json"
    document = json.loads(path.read_text())
    document["groups"]["shadow-members"][0] = document["groups"]["target-members"][0]
    path.write_text(json.dumps(document))
    code, out, err = called(capsys, *line(copied))
    assert (code, out) == (3, "")
    assert "overlaps: 1 pictures" in err


# --- and whether it can tell ---------------------------------------------------------------------

OVERFITTED = {
    'kinds = ["V", "T"]': 'kinds = ["V", "S", "T"]',
    "members = 10": "members = 24",
    "{ target = 12, shadow = 12, probe = 12 }": "{ target = 24, shadow = 24, probe = 10 }",
    LONG: "epochs = 300",
    "batch_size = 10": "batch_size = 24",
    "\nviews = 3\n": "\nviews = 10\n",
    "[2, 120]": "[2]",
}


def test_inferrers_tell_members_of_an_overfitted_encoder_and_the_pictures_alone_do_not(tmp_path):
    text = SMALL
    for before, after in OVERFITTED.items():
        assert before in text
        text = text.replace(before, after)
    matrix_of(tmp_path, text)
    drawn = draw_pictures(tmp_path / "drawn", 136, "truth")
    lab = Lab(tmp_path / "lab", tmp_path / "matrix.toml", drawn, drawn)
    plan = plan_of(lab, only=("baselines",))
    for unit in plan.units.values():
        make(unit, "cpu")
    (cell,) = plan.cells
    found = judge_cell(cell, plan, ("embedding", "trunk"), ("V", "S", "T"))
    figure = {(one.output, one.method): over_seeds([accuracy(one)]) for one in found}
    for kind in "VST":
        assert present(figure["embedding", kind]).low > 0.6
    assert present(figure["embedding", IMAGE]).low < 0.5 < present(figure["embedding", IMAGE]).high
    areas = {one.method: one.auc for one in found if one.output == "embedding"}
    assert areas["T"] > 0.85
    assert SHORT in text
