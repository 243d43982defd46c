"""Rows leave a run one by one: a sink may write them, and nothing holds them all."""

import gc
import json
import weakref
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipaudit.errors import InputError
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import score, score_into
from clipaudit.reports.audit.json_document import record
from clipaudit.results.rows import Row
from clipaudit.text.escaping import as_json
from tests.made.score_runs import N_VIEWS, draw_pictures


@pytest.fixture
def config(api, world):
    """As `api` runs it, which has made the encoder known and the store its own."""
    return ScoreConfig(
        encoder="probe:plain",
        device="cpu",
        inferrers=(str(world.inferrers / "v"), str(world.inferrers / "t")),
        n_views=N_VIEWS,
        workers=0,
        batch_size=2,
        use_store=False,
    )


@pytest.fixture
def folder(tmp_path):
    draw_pictures(tmp_path / "some", 7)
    (tmp_path / "some" / "0003 broken.png").write_bytes(b"broken")
    (tmp_path / "some" / "copy.png").write_bytes((tmp_path / "some" / "0000.png").read_bytes())
    return tmp_path / "some"


def test_a_sink_gets_the_rows_and_a_list_the_same(config, folder):
    rows: list[Row] = []
    run = score_into(rows.append, [folder], config)
    audit = score([folder], config)
    assert tuple(rows) == audit.rows
    assert len(rows) == 9
    assert run.inferrers == audit.run.inferrers


def test_rows_are_written_as_json_lines_while_the_run_goes_on(config, folder, tmp_path):
    lengths = []
    with (tmp_path / "rows.jsonl").open("w", encoding="utf-8") as file:
        score_into(
            lambda row: file.write(as_json(record(row)) + "\n"),
            [folder],
            config,
            lambda progress: lengths.append((progress.done, file.tell())),
        )
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert lines == [json.loads(as_json(record(row))) for row in score([folder], config)]
    assert len(lengths) > 2
    assert sorted(set(lengths)) == lengths


def test_rows_are_written_as_parts_of_a_parquet_file(config, folder, tmp_path):
    schema = pa.schema([("path", pa.string()), ("scores", pa.list_(pa.float64()))])
    with pq.ParquetWriter(tmp_path / "rows.parquet", schema) as parts:

        def write(row):
            scores = [finding.score for finding in row.findings]
            part = pa.RecordBatch.from_pylist([{"path": row.path, "scores": scores}], schema)
            parts.write_batch(part)

        score_into(write, [folder], config)
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    assert file.num_row_groups == 9
    assert file.read().to_pylist() == [
        {"path": row.path, "scores": [finding.score for finding in row.findings]}
        for row in score([folder], config)
    ]


def test_no_row_is_kept_by_the_run(config, folder):
    class Watched(list):
        """What dies with the tuple of a row that nobody holds."""

    watched, n_alive = [], []

    def watch(row: Row):
        mark = Watched()
        watched.append(weakref.ref(mark))
        object.__setattr__(row, "notes", (mark,))

    def count(progress):
        gc.collect()
        n_alive.append(sum(mark() is not None for mark in watched))

    score_into(watch, [folder], config, count)
    assert len(watched) == 9
    assert max(n_alive) <= 1  # the last one, in the hands of the loop


def test_a_strict_run_has_given_the_rows_before_the_first_bad_file(config, folder):
    rows: list[Row] = []
    with pytest.raises(InputError, match=r"broken\.png' cannot be scored"):
        score_into(rows.append, [folder], replace(config, strict=True))
    assert [row.path.rpartition("/")[2] for row in rows] == [f"{n:04}.png" for n in range(3)]
