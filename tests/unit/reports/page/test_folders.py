"""A page that others will see names no folder of the machine, unless asked to."""

import io
from dataclasses import replace

import pytest

from clipaudit.reports.page.folders import without_folders
from clipaudit.reports.page.html import dump
from tests.made.audits import calibrated, controlled, realistic

HOME = "/home/Maria Rossi/art"


def page(audit, **options):
    file = io.BytesIO()
    dump(audit, file, n_pictures=0, **options)
    return file.getvalue().decode()


@pytest.fixture(scope="module")
def audit():
    audit = controlled(calibrated(realistic(20)))
    rows = tuple(replace(row, path=f"{HOME}/{i % 2}/{i}.jpg") for i, row in enumerate(audit.rows))
    run = replace(
        audit.run,
        command=f"clipaudit score '{HOME}' --control='{HOME}/later' -o /tmp/x/report.html",
        config={"encoder": f"local-dir:{HOME}/model", "control": [f"{HOME}/later"]},
        encoder=replace(audit.run.encoder, spec=f"local-dir:{HOME}/model"),
    )
    comparison = replace(
        audit.comparison,
        control=f"{HOME}/later",
        sentence=audit.comparison.sentence + f" By local-dir:{HOME}/model.",
    )
    return replace(audit, rows=rows, run=run, comparison=comparison)


def test_names_alone_stand_in_the_page(audit):
    text = page(audit)
    for folder in ("Maria", "Rossi", "/home", "/tmp"):
        assert folder not in text
    assert "local-dir:model" in text
    assert "later" in text
    assert "report.html" in text
    assert "report --check" in text


def test_in_full_all_is_as_it_was(audit):
    assert HOME in page(audit, paths="full")
    assert without_folders(audit, "full") is audit


def test_relative_paths_are_seen_from_the_working_folder(audit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = replace(audit.run, command=f"clipaudit score {tmp_path}/a/b /elsewhere/c")
    assert without_folders(replace(audit, run=run), "relative").run.command == (
        "clipaudit score a/b c"
    )


def test_what_is_no_path_stays():
    audit = realistic(20)
    assert without_folders(audit, "names") == audit
