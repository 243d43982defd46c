import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from clipaudit.seeding import derive, stream

ROOT = Path(__file__).parents[2]
SUBJECT = "a3" * 32
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=8)  # lone surrogates too
FOR = st.tuples(st.integers(), ANY_TEXT, st.text("abc", max_size=3))


def test_a_seed_is_the_hash_of_what_it_is_for():
    key = hashlib.blake2b(f"7/views/{SUBJECT}".encode(), digest_size=16).hexdigest()
    assert derive(7, SUBJECT, "views") == int(key, 16)


def test_seeds_do_not_move_with_a_version():
    assert derive(0, "", "") == 0xD2715F116A6E2A43935F23F5A56D2CC8
    assert derive(7, SUBJECT, "views") == 0xB54D1D9AFA979AFF2F0A099BAD2E0EE4


def test_a_stream_is_numpys_pcg64_on_that_seed():
    expected = np.random.Generator(np.random.PCG64(derive(7, SUBJECT, "views"))).random(5)
    np.testing.assert_array_equal(stream(7, SUBJECT, "views").random(5), expected)


@given(FOR, FOR)
def test_another_seed_subject_or_purpose_gives_other_numbers(one, other):
    assume(one != other)
    assert derive(*one) != derive(*other)


def test_the_same_numbers_come_in_another_process():
    code = f"from clipaudit.seeding import stream; print(stream(1, {SUBJECT!r}, 'x').random())"
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert [float(text) for text in printed] == [stream(1, SUBJECT, "x").random()] * 2
