"""The notebook of the docs: its cells run, and what stands below them is what they give."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorials" / "notebook.ipynb"


def code_cells():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_every_cell_was_run_from_first_to_last_without_an_error():
    cells = code_cells()
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
    answers = [
        "".join(output["data"]["text/plain"])
        for cell in cells
        for output in cell["outputs"]
        if "".join(cell["source"]).endswith(".comparison.grade")
    ]
    assert answers == ["'evidence'", "'no conclusion'", "'no evidence'"]


@pytest.mark.timeout(600)
def test_its_cells_run_one_after_another(tmp_path):
    """With fewer pictures and rounds, which take seconds."""
    script = "\n".join("".join(cell["source"]) for cell in code_cells())
    assert "n_pictures=60, epochs=300" in script
    script = script.replace("n_pictures=60, epochs=300", "n_pictures=20, epochs=10")
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "report.html").exists()
    assert "20 suspect pictures" in run.stdout
