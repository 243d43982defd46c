"""Entries beyond the first go to disk, and are found there as if they were in memory."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipaudit.overflow import Overflow


def key(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


@given(st.lists(st.tuples(st.integers(0, 99), st.booleans() | st.text())), st.integers(0, 10))
def test_it_is_a_dictionary(written, most_in_memory):
    overflow: Overflow[bool | str] = Overflow(most_in_memory)
    for number, value in written:
        overflow[key(number)] = value
    entries = dict(written)
    for number in range(100):
        assert (key(number) in overflow) == (number in entries)
        assert overflow.get(key(number)) == entries.get(number)
    for number, value in entries.items():
        assert overflow[key(number)] == value
    with pytest.raises(KeyError):
        overflow[key(100)]


_MUCH = """
import os
import subprocess
import sys
from pathlib import Path
from clipaudit.overflow import open_tables
tables = open_tables("CREATE TABLE t (x BLOB)")
tables.executemany("INSERT INTO t VALUES (?)", ((os.urandom(1 << 16),) for _ in range(400)))
assert tables.execute("SELECT COUNT(*) FROM t").fetchone() == (400,)
assert not os.listdir(os.environ["SQLITE_TMPDIR"])
links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
print(*(link.readlink() for link in links), sep="\\n")
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_what_is_much_is_in_a_file_that_no_other_program_can_open(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _MUCH],
        env={**os.environ, "SQLITE_TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    open_files = done.stdout.splitlines()
    assert any(f.startswith(str(tmp_path)) and f.endswith("(deleted)") for f in open_files)
