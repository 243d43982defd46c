"""How long `clipaudit lookup` takes over ten million rows, and how much memory.

    python benchmarks/lookup.py [--rows 10000000] [--scratch FOLDER]

Two lists are made in a scratch folder: one like DataComp's (uid, url, text, width, height, sha256)
and one like COYO's (id, url, text, width, height, image_phash), 10 M rows each and some 3 GB
together; --scratch keeps them for the next time. Hashes and addresses of pictures made here are
planted in some rows, and every run has to find exactly those. The installed command runs in a
process of its own; memory is the most that it and its decoders held together, looked at every
20 ms.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import imagehash
import psutil
from PIL import Image

from clipaudit.listings.engine import MEMORY_MB
from clipaudit.listings.matching import sieve
from clipaudit.listings.urls import path_of
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture

N_PICTURES = 100

URL = """
    CASE i % 10
    WHEN 0 THEN 'https://live.staticflickr.com/' || (i % 6000) || '/' || (1000000000 + i * 7)
        || '_' || left(md5('s' || i), 10) || '_b.jpg'
    WHEN 1 THEN 'http://www.site' || (i % 50000) || '.com/wp-content/uploads/2015/0'
        || (i % 9 + 1) || '/' || left(md5('f' || i), 12) || '-300x200.jpg'
    WHEN 2 THEN 'https://i.pinimg.com/736x/' || left(md5('p' || i), 2) || '/' || md5('p' || i)
        || '.jpg'
    WHEN 3 THEN 'https://cdn.shopify.com/s/files/1/0' || (i % 9999) || '/products/'
        || left(md5('q' || i), 20) || '_grande.jpg?v=' || (1500000000 + i)
    ELSE 'https://images' || (i % 200000) || '.example-' || (i % 300) || '.org/photos/'
        || left(md5('u' || i), 16) || '/' || i || '.jpg' END
"""
TEXT = "'A photo of number ' || i || ', with a caption as long as most are ' || md5('t' || i)"
COLUMNS = {
    "datacomp.parquet": f"""md5('uid' || i) AS uid, {URL} AS url, {TEXT} AS text,
        i % 2000 + 200 AS original_width, i % 1500 + 200 AS original_height,
        coalesce(planted.sha256, md5('a' || i) || md5('b' || i)) AS sha256""",
    "coyo.parquet": f"""i AS id, {URL} AS url, {TEXT} AS text,
        i % 2000 + 200 AS width, i % 1500 + 200 AS height,
        coalesce(planted.phash, left(md5('h' || i), 16)) AS image_phash""",
}
PLAIN_SIEVE = (
    "lower(split_part(split_part(url, '#', 1), '?', 1)) IN (SELECT lower(unnest($wanted)))"
)
EXPRESSION_SIEVE = (
    "regexp_replace(lower(url), '^https?://(www\\.)?([^/:?#]+)(:\\d+)?([^?#]*).*$', '\\2\\4') "
    "IN (SELECT unnest($wanted))"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--scratch", type=Path, help="kept, and used again where it has lists")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = arguments.scratch or Path(name)
        scratch.mkdir(parents=True, exist_ok=True)
        pictures = make_pictures(scratch / "pictures")
        made = [scratch / list_name for list_name in COLUMNS]
        for path in made:
            if not path.exists():
                make_list(path, COLUMNS[path.name], pictures, arguments.rows)
        report(scratch, pictures, made)


def make_pictures(folder: Path) -> list[Path]:
    """JPEGs of 1600 × 1200."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:03}.jpg" for number in range(N_PICTURES)]
    for number, path in enumerate(paths):
        if not path.exists():
            drawing = draw_picture(stream(0, str(number), "benchmark of lookup"), 256)
            Image.fromarray(drawing).resize((1600, 1200)).save(path, quality=90)
    return paths


def make_list(path: Path, columns: str, pictures: Sequence[Path], n_rows: int) -> None:
    """Rows that look like those of the web, with the hashes of the pictures in some of them."""
    places = [number * n_rows // len(pictures) for number in range(len(pictures))]
    planted = {
        "i": places,
        "sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures],
        "phash": [str(imagehash.phash(Image.open(path))) for path in pictures],
    }
    temporary = path.with_suffix(".part")
    with duckdb.connect(config={"memory_limit": "2GB"}) as database:
        database.execute(
            "CREATE TABLE planted AS SELECT unnest($i) AS i, unnest($sha256) AS sha256, "
            "unnest($phash) AS phash",
            planted,
        )
        database.execute(
            f"COPY (SELECT {columns} FROM range({n_rows}) rows(i) LEFT JOIN planted USING (i) "
            f"ORDER BY i) TO '{temporary}' (FORMAT parquet)"
        )
    temporary.rename(path)


def report(scratch: Path, pictures: Sequence[Path], lists: Sequence[Path]) -> None:
    hashes, looks = lists
    addresses = planted_addresses(hashes, len(pictures))
    single, many = scratch / "one.txt", scratch / "many.txt"
    changed = [address.replace("https://", "http://www.") + "#top" for address in addresses]
    single.write_text(changed[0])
    many.write_text("\n".join(changed))
    folder = scratch / "pictures"
    cases: list[tuple[str, list[str | Path], Path, int]] = [
        ("1 picture, by SHA-256", [pictures[0]], hashes, 1),
        (f"{len(pictures)} pictures, by SHA-256", [folder], hashes, len(pictures)),
        ("1 address", ["--urls", single], hashes, 1),
        (f"{len(pictures)} addresses", ["--urls", many], hashes, len(pictures)),
        ("1 picture, by pHash", [pictures[0]], looks, 1),
        (f"{len(pictures)} pictures, by pHash", [folder], looks, len(pictures)),
        ("rows of one site", ["--domain", "staticflickr.com"], hashes, 0),
    ]
    n_rows = duckdb.execute("SELECT count(*) FROM read_parquet($file)", {"file": str(hashes)})
    print(f"{n_rows.fetchone()[0]:,} rows, {psutil.cpu_count()} cores")  # type: ignore[index]
    for name, asked, listed, n_found in cases:
        seconds, memory, found = run([*asked, "--metadata", listed])
        assert found["summary"]["n_listed"] == n_found, found["summary"]
        print(f"{name:28} {seconds:6.1f} s {memory / 1e6:6.0f} MB")
    for name, seconds in compare_sieves(hashes, addresses).items():
        print(f"100 addresses, {name}: {seconds:.1f} s of processor time")


def planted_addresses(path: Path, n: int) -> list[str]:
    """As many addresses, from all over the list."""
    query = (
        "SELECT url FROM read_parquet($file, file_row_number = true) WHERE file_row_number % "
        "((SELECT count(*) FROM read_parquet($file)) // $n) = 0 ORDER BY file_row_number LIMIT $n"
    )
    return [url for (url,) in duckdb.execute(query, {"file": str(path), "n": n}).fetchall()]


def run(arguments: Sequence[str | Path]) -> tuple[float, int, dict[str, Any]]:
    """Seconds, the most bytes held at a time, and what the command printed."""
    command = shutil.which("clipaudit", path=str(Path(sys.executable).parent)) or "clipaudit"
    began, most = time.perf_counter(), 0
    with tempfile.TemporaryFile() as out:
        process = psutil.Popen([command, "lookup", *map(str, arguments), "-f", "json"], stdout=out)
        while process.poll() is None:
            most = max(most, held(process))
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        assert process.returncode == 0
        out.seek(0)
        return seconds, most, json.load(out)


def held(process: psutil.Process) -> int:
    """Bytes in memory of a process and all below it."""
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.Error:  # it has just ended
        pass
    return total


def compare_sieves(path: Path, addresses: Sequence[str]) -> dict[str, float]:
    """Processor time of the sieve that is used, and of what one would write first."""
    plain = [url.partition("?")[0] for url in addresses]
    bare = [url.partition("://")[2].lower().removeprefix("www.") for url in plain]
    paths = [path for path in map(path_of, addresses) if path is not None]
    sieves: list[tuple[str, str, dict[str, list[str]]]] = [
        ("every spelling", sieve(paths), {"wanted": plain, "paths": paths}),
        ("plain spellings alone", PLAIN_SIEVE, {"wanted": plain}),
        ("one regular expression", EXPRESSION_SIEVE, {"wanted": bare}),
    ]
    times = {}
    for name, where, values in sieves:
        query = f"SELECT url FROM (SELECT url FROM read_parquet($file)) WHERE {where}"
        with duckdb.connect(config={"memory_limit": f"{MEMORY_MB}MB"}) as database:
            began = time.process_time()
            found = database.execute(query, {"file": str(path), **values}).fetchall()
            times[name] = time.process_time() - began
            assert len(found) >= len(addresses), name
    return times


if __name__ == "__main__":
    main()
