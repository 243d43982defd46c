"""Makes docs/tutorials/notebook.ipynb: its cells, run from first to last, with what they gave.

    pip install ".[train,pandas]" nbclient ipykernel && python docs/make_notebook.py

It takes some minutes, for it trains two small encoders. A test runs the cells of the file that is
there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "tutorials" / "notebook.ipynb"

CELLS = [
    """# In a notebook
Pictures and encoders are made here, so that the truth is known and nothing is downloaded: one
encoder is trained on the pictures in `seen`, another on neither `seen` nor `unseen`. With your own
pictures, leave out the next cell, and name your folder and the encoder, such as
`ViT-B-32/openai`.""",
    """
from pathlib import Path

import clipaudit as ca
from clipaudit.pipelines.demo import DemoConfig, demo

demo(Path(), DemoConfig(n_pictures=60, epochs=300))
sorted(path.name for path in Path().iterdir())
""",
    """## Scores alone
A cell that ends in an audit shows the answer and the table.""",
    """
audit = ca.score("seen", encoder="shadow:target")
audit
""",
    """## Against a control
`unseen` holds pictures of the same kind that cannot have been used, and the second encoder saw
neither folder: it tells whether the two differ in what they show.""",
    """
audit = ca.score("seen", encoder="shadow:target", control="unseen", references="shadow:control")
audit.comparison.grade
""",
    """
print(audit.comparison.sentence)
""",
    """## The other way round
The second encoder has seen none of them, and that is what comes out.""",
    """
other = ca.score("seen", encoder="shadow:control", control="unseen", references="shadow:target")
other.comparison.grade
""",
    """That reference saw the suspects, so it is no fair one: it tells the two folders apart, and no
conclusion is drawn. Without it:""",
    """
other = ca.score("seen", encoder="shadow:control", control="unseen")
other.comparison.grade
""",
    """## The numbers
A row a picture and inferrer; the same as files with `audit.save`.""",
    """
table = audit.to_pandas()
table[["path", "inferrer", "score", "prediction"]].sort_values("score", ascending=False).head()
""",
    """
audit.save("report.html")  # or .json, which ca.read gives back, .csv, .jsonl, .parquet
""",
    """What can be hoped for on a large encoder, before the run:""",
    """
ca.expect("ViT-B-32/openai", n_pictures=200)
""",
]
"""Text where it begins with a letter or a mark; code where it begins with a line feed."""


def main() -> None:
    """Write the notebook."""
    notebook = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python"}})
    for number, text in enumerate(CELLS):
        new = nbformat.v4.new_code_cell if text[0] == "\n" else nbformat.v4.new_markdown_cell
        notebook.cells.append(new(text.strip(), id=f"cell-{number:02}"))
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=1_200, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.clear()
        outputs = [output for output in cell.get("outputs", ()) if output.get("name") != "stderr"]
        if cell.cell_type == "code":
            cell.outputs = outputs  # without the bars of progress
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
