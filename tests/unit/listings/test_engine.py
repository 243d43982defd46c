"""DuckDB, shut in."""

import os
import signal
import sys
import threading
import time

import duckdb
import pytest

from clipaudit.errors import InputError
from clipaudit.listings.engine import Engine
from clipaudit.listings.files import open_tables
from clipaudit.listings.rows import details
from tests.made import lists


@pytest.fixture
def listed(tmp_path):
    return lists.datacomp(tmp_path / "a.parquet", range(50))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_parquet('{other}')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT content FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '{folder}/made.csv'",
        "ATTACH '{folder}/made.db'",
        "EXPORT DATABASE '{folder}/made'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM read_parquet('https://example.org/a.parquet')",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/passwd']",
        "SET memory_limit = '64GB'",
        "SET temp_directory = '{folder}/spill'",
        "RESET lock_configuration",
    ],
)
def test_nothing_but_the_named_files_can_be_reached(listed, tmp_path, query):
    other = lists.datacomp(tmp_path / "other.parquet", range(3))
    before = sorted(tmp_path.iterdir())
    with (
        Engine([listed]) as engine,
        pytest.raises(InputError, match=r"Permission|disabled|locked|configuration"),
    ):
        engine.all(listed, query.format(other=other, folder=tmp_path))
    assert sorted(tmp_path.iterdir()) == before


def test_a_value_is_never_code(listed):
    with Engine([listed]) as engine:
        evil = "x' OR 1=1; DROP TABLE a; --"
        found = engine.row(
            listed, "SELECT count(*) FROM read_parquet($file) WHERE url = $url", url=evil
        )
    assert found == (0,)


def test_memory_has_a_bound_and_an_overrun_is_said(listed):
    query = "SELECT max(len(l)) FROM (SELECT list(md5(i::VARCHAR)) AS l FROM range(20000000) t(i))"
    with Engine([listed], memory_mb=50) as engine:
        with pytest.raises(InputError, match="needs more memory") as caught:
            engine.all(listed, query)
        assert engine.row(listed, "SELECT 7") == (7,)
    assert str(listed) in str(caught.value)


def test_large_row_groups_are_read_one_after_the_other_where_memory_is_short(tmp_path):
    """Two threads at a time need some 110 MB here, one 50."""
    path = tmp_path / "a.parquet"
    duckdb.execute(
        "COPY (SELECT 'https://a.example/' || i || '.jpg' AS url, repeat(md5('a' || i), 4) AS text "
        f"FROM range(400000) t(i)) TO '{path}' (FORMAT parquet, COMPRESSION zstd, "
        "ROW_GROUP_SIZE 200000)"
    )
    with Engine([path], memory_mb=80) as engine:
        (table,) = open_tables(engine, [path], {})
        said = details(engine, table, range(0, 400_000, 1000))
        assert engine.row(path, "SELECT current_setting('threads')") == (1,)
    assert said[399_000].url == "https://a.example/399000.jpg"
    assert len(said) == 400


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_a_query_in_its_midst(listed):
    """Alone it would take minutes."""
    query = "SELECT count(*) FROM range(200000000) a(i) WHERE contains(md5(md5(i::VARCHAR)), 'zz')"
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    began = time.monotonic()
    with Engine([listed]) as engine:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            engine.all(listed, query)
        assert time.monotonic() - began < 10
        assert engine.row(listed, "SELECT 7") == (7,)


def test_rows_come_some_at_a_time(listed):
    with Engine([listed]) as engine:
        batches = list(engine.stream(listed, "SELECT i FROM range(20000) t(i)"))
    assert len(batches) > 1
    assert [row for batch in batches for (row,) in batch] == list(range(20000))


def test_a_file_that_goes_away_is_an_error_of_the_file(listed):
    with Engine([listed]) as engine:
        listed.unlink()
        with pytest.raises(InputError, match="cannot be read"):
            engine.columns(listed, "read_parquet($file)")


def test_closing_it_twice_is_no_harm(listed):
    engine = Engine([listed])
    engine.close()
    engine.close()
