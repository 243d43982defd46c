"""More files than rows stay in memory: the result is the same as of few, in every form."""

import json
import os
from collections import Counter

import pyarrow.parquet as pq
import pytest

import clipaudit
from clipaudit.results.rows import MOST_IN_MEMORY, RowsOnDisk
from tests.made.score_runs import draw_pictures

N_FILES = MOST_IN_MEMORY + 50


@pytest.fixture
def folders(tmp_path):
    """Four files, one of them broken; and thousands of hard links to them."""
    few, many = tmp_path / "few", tmp_path / "many"
    draw_pictures(few, 3)
    (few / "broken.png").write_bytes(b"broken")
    many.mkdir()
    originals = sorted(few.iterdir())
    for number in range(N_FILES):
        os.link(originals[number % len(originals)], many / f"{number:06}.png")
    return few, many


def test_rows_that_outgrow_memory_are_those_of_few_files(api, folders, tmp_path):
    few, many = folders
    by_content = {row.sha256: row for row in api(few)}
    audit = api(many)
    assert isinstance(audit.rows, RowsOnDisk)
    assert len(audit) == N_FILES
    for number, row in enumerate(audit):
        expected = by_content[row.sha256]
        assert row.path == str(many / f"{number:06}.png")
        assert (row.status, row.error, row.findings) == (
            expected.status,
            expected.error,
            expected.findings,
        )
    n_files = Counter(row.sha256 for row in audit.scored)
    assert {place.row.sha256: place.n_copies + 1 for place in audit.places()} == n_files
    assert audit.skip_reasons() == {"not_an_image": sum(row.status == "skipped" for row in audit)}

    saved = audit.save(tmp_path / "all.jsonl")
    head, *lines = saved.read_text(encoding="utf-8").splitlines()
    assert json.loads(head)["summary"]["n_files"] == len(lines) == N_FILES
    again = clipaudit.read(saved)
    assert isinstance(again.rows, RowsOnDisk)
    assert again.rows == audit.rows
    assert pq.read_table(audit.save(tmp_path / "all.parquet")).num_rows == N_FILES
    assert audit.save(tmp_path / "all.html").stat().st_size > 10_000


def test_parts_that_are_put_together_may_outgrow_memory_too(api, folders, tmp_path):
    _, many = folders
    parts = [api(many, shard=f"{number}/2").save(tmp_path / f"{number}.jsonl") for number in (1, 2)]
    whole = clipaudit.merge(parts)
    assert isinstance(whole.rows, RowsOnDisk)
    assert sorted(row.path for row in whole) == sorted(str(path) for path in many.iterdir())
