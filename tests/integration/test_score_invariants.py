"""What may not change a score, and what the store may and may not do, through the real pipeline.

Called in this process, so that a run costs no start; `test_score_command.py` holds the outside.
"""

import csv
import gc
import io
import logging
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from clipaudit.features import database
from clipaudit.features.database import StoreUnavailable
from clipaudit.features.store import FeatureStore
from clipaudit.pipelines import read_ahead
from clipaudit.reports.formats import render
from tests.made.score_runs import N_VIEWS, draw_pictures

TOLERANCE = 1e-5
FACTS = {"started_at", "command", "versions", "interrupted"}


@pytest.fixture(scope="module")
def shadow(tmp_path_factory):
    """A convolutional encoder of random weights, whose sums depend on the shape of a batch."""
    from clipaudit.encoders.base import InputSpec
    from clipaudit.shadow.architectures import build
    from clipaudit.shadow.encoder import save

    folder = tmp_path_factory.mktemp("shadow")
    save(
        build("resnet-tiny", 32, seed=0).eval(),
        folder,
        "resnet-tiny",
        InputSpec(32, (0.5,) * 3, (0.25,) * 3, "bicubic"),
    )
    return f"shadow:{folder}"


def by_content(audit):
    return {row.sha256: (row.mean_similarity, *(f.score for f in row.findings)) for row in audit}


def predictions(audit):
    return {row.sha256: tuple(finding.prediction for finding in row.findings) for row in audit}


def agrees(audit, other):
    assert all(row.status == "ok" for row in audit)
    one, two = by_content(audit), by_content(other)
    assert one.keys() == two.keys()
    for sha256, numbers in one.items():
        assert numbers == pytest.approx(two[sha256], rel=0, abs=TOLERANCE)
    assert predictions(audit) == predictions(other)


@pytest.fixture(scope="module")
def plain(shadow, world):
    """The scores to compare with, from the simplest run."""
    import clipaudit

    folders = [world.inferrers / name for name in "vst"]
    audit = clipaudit.score(
        world.pictures,
        encoder=shadow,
        inferrers=folders,
        n_views=N_VIEWS,
        workers=0,
        batch_size=1,
        use_store=False,
    )
    assert len(set(by_content(audit).values())) == 12
    return audit


@pytest.mark.parametrize("batch_size", [2, 5, 12, 64])
def test_the_batch_size_changes_no_score(api, shadow, plain, batch_size):
    agrees(api(encoder=shadow, inferrers="vst", batch_size=batch_size, use_store=False), plain)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_no_score(api, shadow, plain, workers):
    audit = api(encoder=shadow, inferrers="vst", workers=workers, use_store=False)
    agrees(audit, plain)
    assert [row.path for row in audit] == [row.path for row in plain]


def test_order_names_and_folders_change_no_score(api, shadow, plain, world, tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for number, source in enumerate(sorted(world.pictures.iterdir(), reverse=True)):
        folder = tmp_path / "b" / ("deep" if number % 2 else "")
        shutil.copy(source, folder / f"other name {number}.jpg")
    audit = api(tmp_path / "b", encoder=shadow, inferrers="vst", use_store=False)
    assert [row.sha256 for row in audit] != [row.sha256 for row in plain]
    agrees(audit, plain)


def test_a_picture_alone_scores_as_in_company(api, shadow, plain, world):
    alone = api(world.pictures / "0007.png", encoder=shadow, inferrers="vst", use_store=False)
    (row,) = alone
    expected = by_content(plain)[row.sha256]
    assert by_content(alone)[row.sha256] == pytest.approx(expected, rel=0, abs=TOLERANCE)


@pytest.mark.parametrize("use_store", [True, False])
def test_copies_have_the_same_numbers_and_cost_nothing(api, world, tmp_path, calls, use_store):
    folder = tmp_path / "copies"
    folder.mkdir()
    for number in range(30):  # far enough apart to be in different batches
        shutil.copy(world.pictures / f"{number % 3:04}.png", folder / f"{number:02}.png")
    shutil.copy(folder / "00.png", tmp_path / "by another name.jpg")
    (folder / "10 broken.png").write_bytes(b"broken")
    (folder / "20 broken too.png").write_bytes(b"broken")
    audit = api([folder, tmp_path / "by another name.jpg"], batch_size=2, use_store=use_store)
    assert len(audit.scored) == 31
    assert len({(row.mean_similarity, row.findings) for row in audit.scored}) == 3
    assert [row.error.partition(":")[0] for row in audit.skipped] == ["not_an_image"] * 2
    assert sum(calls()) == 3 * (N_VIEWS + 1)
    assert audit.run.n_from_store == 0
    again = api([folder, tmp_path / "by another name.jpg"], use_store=use_store)
    assert again.run.n_from_store == (31 if use_store else 0)
    assert again.rows == audit.rows


def table(audit):
    """The CSV without the facts of its run."""
    records = csv.DictReader(io.StringIO(render(audit, "csv")))
    return [{k: v for k, v in record.items() if k not in FACTS} for record in records]


def test_a_second_run_is_from_the_store_and_gives_the_same_bytes(api, shadow, calls):
    first = api(encoder=shadow, inferrers="vst", batch_size=5)
    second = api(encoder=shadow, inferrers="vst", batch_size=3)
    assert (first.run.n_from_store, second.run.n_from_store) == (0, 12)
    assert second.rows == first.rows
    assert table(second) == table(first)


def test_a_second_run_does_not_call_the_encoder_whatever_the_inferrer(api, calls):
    api(inferrers="v")
    n_calls = len(calls())
    assert n_calls > 0
    for inferrers, similarity in (("vst", None), ("p", "pearson"), ("t", "cosine")):
        audit = api(inferrers=inferrers, similarity=similarity)
        assert audit.run.n_from_store == 12
        assert len(audit.scored) == 12
    assert len(calls()) == n_calls


@pytest.mark.parametrize("change", [{"seed": 1}, {"encoder": "probe:black=nan"}])
def test_another_seed_is_computed_anew_and_another_name_of_the_encoder_is_not(api, calls, change):
    api()
    audit = api(**change)
    assert audit.run.n_from_store == (0 if "seed" in change else 12)


def test_only_new_pictures_are_computed(api, tmp_path, calls):
    folder = tmp_path / "growing"
    draw_pictures(folder, 5)
    first = api(folder)
    draw_pictures(folder, 4, first=100)
    second = api(folder)
    assert (len(second), second.run.n_from_store) == (9, 5)
    assert second.rows[:5] == first.rows
    assert sum(calls()) == 9 * (N_VIEWS + 1)


def test_without_the_store_nothing_is_read_or_written(api, tmp_path, calls):
    api(use_store=False)
    assert not (tmp_path / "cache").exists()
    api()
    n_calls = len(calls())
    before = (tmp_path / "cache" / "features-v3.sqlite").read_bytes()
    assert api(use_store=False).run.n_from_store == 0
    assert len(calls()) == 3 * n_calls / 2
    assert (tmp_path / "cache" / "features-v3.sqlite").read_bytes() == before


def break_as_text(path):
    path.write_bytes(b"this is not a database, whatever its name may say" * 100)


def break_in_the_middle(path):
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def break_by_version(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def break_by_another_program(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")


def break_as_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "harm",
    [
        break_as_text,
        break_in_the_middle,
        break_by_version,
        break_by_another_program,
        break_as_folder,
    ],
)
def test_a_store_that_cannot_be_used_costs_one_warning_and_no_score(api, tmp_path, caplog, harm):
    expected = api()
    harm(tmp_path / "cache" / "features-v3.sqlite")
    caplog.clear()
    audit = api()
    assert audit.rows == expected.rows
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage()[:27] for record in warnings] == ["going on without the store:"]


def test_a_folder_that_cannot_be_written_costs_one_warning_and_no_score(
    api, tmp_path, caplog, monkeypatch
):
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "a file" / "cache"))
    audit = api()
    assert len(audit.scored) == 12
    assert len(caplog.records) == 1
    assert "CLIPAUDIT_CACHE_DIR" in caplog.text


def test_a_store_that_another_process_locks_is_given_up_once(api, tmp_path, caplog, monkeypatch):
    expected = api()
    path = tmp_path / "cache" / "features-v3.sqlite"
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        caplog.clear()
        audit = api()
    assert audit.rows == expected.rows
    assert len(caplog.records) == 1
    assert "locked" in caplog.text


def test_a_store_that_breaks_under_way_is_given_up_once(api, tmp_path, caplog, monkeypatch):
    """The disk fills up after some batches: no later batch tries again."""
    draw_pictures(tmp_path / "many", 20)
    expected = api(tmp_path / "many", use_store=False, batch_size=2)
    put, n_puts = FeatureStore.put_many, []

    def full(self, *arguments):
        n_puts.append(1)
        if len(n_puts) == 3:
            raise StoreUnavailable("no space is left", "Free some space.")
        return put(self, *arguments)

    monkeypatch.setattr(FeatureStore, "put_many", full)
    audit = api(tmp_path / "many", batch_size=2)
    assert by_content(audit) == by_content(expected)
    assert len(n_puts) == 3
    assert len(caplog.records) == 1
    assert "going on without the store: no space is left. Free some space." in caplog.text


def test_both_threads_may_find_out_that_the_store_is_broken(api, tmp_path, caplog, monkeypatch):
    """One reads ahead while the other writes; still there is one warning."""
    draw_pictures(tmp_path / "many", 20)
    is_writing, reading_failed = threading.Event(), threading.Event()

    def broken_put(self, *arguments):
        is_writing.set()
        assert reading_failed.wait(timeout=20)
        raise StoreUnavailable("cannot write", "Free some space.")

    def broken_get(self, key, image_ids):
        n_reads.append(1)
        if len(n_reads) < 4:
            return {}
        assert is_writing.wait(timeout=20)
        reading_failed.set()
        raise StoreUnavailable("cannot read", "Look at the disk.")

    n_reads: list[int] = []
    monkeypatch.setattr(FeatureStore, "put_many", broken_put)
    monkeypatch.setattr(FeatureStore, "get_many", broken_get)
    monkeypatch.setattr(read_ahead, "_MOST_TOGETHER", 1)  # so that there are several questions
    assert len(api(tmp_path / "many", batch_size=2).scored) == 20
    assert len(n_reads) == 4
    assert [record.getMessage() for record in caplog.records] == [
        "going on without the store: cannot read. Look at the disk."
    ]


def test_only_the_row_that_was_damaged_is_made_again(api, tmp_path, caplog, calls):
    expected = api()
    n_views = sum(calls())
    with closing(sqlite3.connect(tmp_path / "cache" / "features-v3.sqlite")) as connection:
        connection.execute("UPDATE signals SET cosine = pearson WHERE rowid = 3")
        connection.commit()
    audit = api()
    assert audit.run.n_from_store == 11
    agrees(audit, expected)
    assert sum(calls()) == n_views + N_VIEWS + 1
    assert api().run.n_from_store == 12  # it is whole again


def test_two_runs_at_once_share_the_store(run, world, tmp_path):
    draw_pictures(tmp_path / "many", 20)
    running = [
        run(tmp_path / "many", "-f", "json", "--batch-size", "2", start=True) for _ in range(2)
    ]
    done = [one.wait() for one in running]
    assert [one.code for one in done] == [0, 0]
    assert [one.err for one in done] == ["", ""]
    one, other = (one.document["rows"] for one in done)
    for row, twin in zip(one, other, strict=True):
        assert row["findings"][0]["score"] == pytest.approx(twin["findings"][0]["score"], abs=1e-5)


@pytest.mark.parametrize(("similarity", "inferrers"), [("cosine", "t"), ("pearson", "p")])
def test_mean_similarity_is_of_the_kind_that_was_asked_for(api, similarity, inferrers):
    audit = api(inferrers=inferrers, similarity=similarity)
    assert audit.run.similarity == similarity
    assert all(row.mean_similarity == row.findings[0].score for row in audit)


def test_progress_counts_every_file_once(api, world, tmp_path):
    folder = tmp_path / "mixed"
    draw_pictures(folder, 9)
    (folder / "broken.png").write_bytes(b"broken")
    steps = []
    main = threading.get_ident()

    def on_progress(step):
        assert threading.get_ident() == main
        steps.append(step)

    api(folder, batch_size=2, on_progress=on_progress)
    assert [step.done for step in steps] == sorted({step.done for step in steps})
    assert len(steps) >= 4
    last = steps[-1]
    assert (last.done, last.total, last.skipped, last.from_store) == (10, 10, 1, 0)
    api(folder, on_progress=on_progress)
    assert (steps[-1].done, steps[-1].skipped, steps[-1].from_store) == (10, 1, 9)


def test_what_a_caller_raises_ends_the_run_and_leaves_nothing_behind(api):
    def stop(step):
        raise LookupError("mine")

    before = threading.active_count()
    with pytest.raises(LookupError, match="mine"):
        api(batch_size=1, workers=1, on_progress=stop)
    gc.collect()  # lets go of the encoder, whose own thread ends then
    give_up = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < give_up:
        time.sleep(0.01)
    assert threading.active_count() <= before
    assert api().run.n_from_store >= 1  # what was paid for is kept


def test_no_thread_outlives_a_run(api):
    before = set(threading.enumerate())
    api(workers=2)
    assert set(threading.enumerate()) == before
