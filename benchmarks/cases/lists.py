"""Lookup: pictures by their hash in a list of millions of rows, from process to process."""

from __future__ import annotations

import json

from benchmarks.cases.processes import clipaudit, python, require_equal
from benchmarks.contest import Case, Contest, Way, Workplace
from benchmarks.lookup import COLUMNS, make_list, make_pictures

_LIST = "datacomp.parquet"
_NAIVE = """
import hashlib, json, pathlib, sys
import pyarrow.parquet
rows = pyarrow.parquet.read_table(sys.argv[1]).to_pylist()
files = [path.read_bytes() for path in pathlib.Path(sys.argv[2]).iterdir()]
wanted = {hashlib.sha256(data).hexdigest() for data in files}
print(json.dumps(sorted(row["url"] for row in rows if row["sha256"] in wanted)))
"""
_FLOOR = """
import sys
import duckdb
query = "SELECT count(DISTINCT left(sha256, 1)) FROM read_parquet(?)"
duckdb.execute(query, [sys.argv[1]]).fetchall()
"""


def _prepare(size: int, place: Workplace) -> Contest:
    pictures = make_pictures(place.folder / "pictures")
    path = place.folder / _LIST
    make_list(path, COLUMNS[_LIST], pictures, size)
    command = clipaudit(
        "lookup", place.folder / "pictures", "--metadata", path, "--format", "json", "--quiet"
    )
    naive = python("-c", _NAIVE, str(path), str(place.folder / "pictures"))

    def product() -> list[str]:
        answers = json.loads(command())["answers"]
        return sorted(match["url"] for answer in answers for match in answer["matches"])

    return Contest(
        (
            Way("product", "`clipaudit lookup`, pHashes too", product),
            Way("naive", "all rows into Python, a set of hashes", lambda: json.loads(naive())),
            Way("floor", "DuckDB reads the one column", python("-c", _FLOOR, str(path))),
        ),
        require_equal,
    )


CASE = Case("100 pictures among rows", "rows", (10_000, 100_000, 1_000_000), (10_000,), _prepare)
