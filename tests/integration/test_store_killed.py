"""kill -9 at any moment: the store is whole, and only the batch in flight is lost."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from clipaudit.features.store import FeatureStore
from clipaudit.features.stored_signals import FeatureKey
from tests.made.present import present
from tests.made.signals import FIELDS, signals_of

ROOT = Path(__file__).parents[2]
KEY = FeatureKey("f" * 64, "paper/1", n_views=4, seed=0)
BATCH = 20
N_BATCHES = 100
N_KILLS = 25

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.integration.test_store_killed import KEY, N_BATCHES, batch_of
from clipaudit.features.store import FeatureStore

signals = [batch_of(int(sys.argv[3]), number) for number in range(N_BATCHES)]
print("ready", flush=True)
with FeatureStore(Path(sys.argv[2])) as store:
    for number, batch in enumerate(signals):
        store.put_many(KEY, batch)
        print(number, flush=True)
"""


def ids_of(writer, number):
    return [f"{writer}-{number}-{i}" for i in range(BATCH)]


def batch_of(writer, number):
    return signals_of(ids_of(writer, number))


def start(path, writer):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, ROOT, path, str(writer)], stdout=subprocess.PIPE, text=True
    )
    assert present(process.stdout).readline() == "ready\n"
    return process


def check(path, acknowledged):
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with FeatureStore(path) as store:
        for writer, n_acknowledged in acknowledged.items():
            for number in range(n_acknowledged + 2):
                found = store.get_many(KEY, ids_of(writer, number))
                assert len(found) in {0, BATCH}, "a batch is there in part"
                if number < n_acknowledged:
                    assert found, "a batch that was reported as kept is lost"
                if found:
                    expected = batch_of(writer, number)
                    for index, image_id in enumerate(expected.image_ids):
                        for name in FIELDS:
                            np.testing.assert_array_equal(
                                getattr(found[image_id], name), getattr(expected, name)[index]
                            )


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_process_that_is_killed_at_random_moments_never_breaks_the_store(tmp_path):
    rng = random.Random(0)
    fresh = [tmp_path / f"fresh-{i}.sqlite" for i in range(N_KILLS // 2)]  # killed while creating
    shared = [tmp_path / "shared.sqlite"] * (N_KILLS - len(fresh))
    acknowledged: dict[Path, dict[int, int]] = {path: {} for path in {*fresh, *shared}}
    for writer, path in enumerate([*fresh, *shared]):
        process = start(path, writer)
        time.sleep(rng.uniform(0, 0.02 if path in fresh else 0.08))
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
        acknowledged[path][writer] = len(lines)
        check(path, {writer: len(lines)})
    check(shared[0], acknowledged[shared[0]])
    assert sum(acknowledged[shared[0]].values()) > 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_one_of_two_writers_is_killed_and_the_other_does_not_notice(tmp_path):
    path = tmp_path / "shared.sqlite"
    killed, other = start(path, 1), start(path, 2)
    for _ in range(5):
        killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    n_killed = 5 + len(killed.stdout.read().splitlines())
    n_other = len(other.stdout.read().splitlines())
    killed.stdout.close()
    other.stdout.close()
    killed.wait()
    assert other.wait() == 0
    assert n_other == N_BATCHES
    check(path, {1: n_killed, 2: n_other})
