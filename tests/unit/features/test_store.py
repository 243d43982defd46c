import ctypes
import dataclasses
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from clipaudit.errors import ClipAuditError
from clipaudit.features import database
from clipaudit.features.database import StoreBusy, StoreUnavailable
from clipaudit.features.signals import Signals
from clipaudit.features.store import FeatureStore, clear, default_path
from clipaudit.features.stored_captions import CaptionKey, StoredCaptions, captions_id
from clipaudit.features.stored_signals import FeatureKey, stack_signals
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.pictures.preparing import Appearance, PictureFacts
from clipaudit.pictures.random_embedding import DIM
from tests.made.signals import FIELDS, KEY, signals_of


def assert_same(stored, signals, index):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(stored, name), getattr(signals, name)[index])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "features.sqlite"


@pytest.fixture
def store(path):
    with FeatureStore(path) as opened:
        yield opened


def test_what_was_put_comes_back_bit_for_bit(store):
    signals = signals_of(["a", "b", "c"])
    store.put_many(KEY, signals, [(), ("first of 12 frames",), ("größer", 'a "quote"')])
    found = store.get_many(KEY, ["c", "a", "b", "unknown"])
    assert set(found) == {"a", "b", "c"}
    for index, image_id in enumerate(signals.image_ids):
        assert_same(found[image_id], signals, index)
        assert found[image_id].cosine.dtype == np.float32
    assert found["b"].notes == ("first of 12 frames",)
    assert found["c"].notes == ("größer", 'a "quote"')


def test_pictures_asked_for_together_are_those_asked_for_one_by_one(store):
    image_ids = [f"{number:04}" for number in range(1203)]  # of more than one question to SQLite
    store.put_many(KEY, signals_of(image_ids[::2]), [(image_id,) for image_id in image_ids[::2]])
    store.put_facts({image_id: facts_of(int(image_id) % 7) for image_id in image_ids[::3]})
    captions = {image_id: captions_id([image_id]) for image_id in image_ids}
    rows = {key: StoredCaptions(ROW.values * int(key), int(key)) for key in image_ids[::5]}
    store.put_captions(CAPTION_KEY, rows, captions)
    store.connection.execute("UPDATE signals SET cosine = x'00' WHERE image_id = '0600'")
    for key in (KEY, dataclasses.replace(KEY, n_views=0, recipe="none")):
        together = store.get_many(key, image_ids)
        apart = {k: v for name in image_ids for k, v in store.get_many(key, [name]).items()}
        assert together.keys() == apart.keys() == {*image_ids[::2]} - {"0600"}
        for name, row in together.items():
            assert row.notes == apart[name].notes
            for field in FIELDS:
                np.testing.assert_array_equal(getattr(row, field), getattr(apart[name], field))
    together = store.get_captions(CAPTION_KEY, captions)
    assert together.keys() == rows.keys()
    for name, row in together.items():
        (alone,) = store.get_captions(CAPTION_KEY, {name: captions[name]}).values()
        np.testing.assert_array_equal(row.values, alone.values)
        assert row.n_cut == alone.n_cut
    together = store.get_facts(image_ids)
    assert [*together] == image_ids[::3]
    for name, facts in together.items():
        assert_same_facts(facts, store.get_facts([name])[name])


def test_it_is_there_after_reopening(path):
    signals = signals_of(["a"])
    with FeatureStore(path) as store:
        store.put_many(KEY, signals)
    with FeatureStore(path) as store:
        assert_same(store.get_many(KEY, ["a"])["a"], signals, 0)


@pytest.mark.parametrize(
    "other",
    [
        FeatureKey("e" * 64, "paper/1", 4, 0),
        FeatureKey("f" * 64, "paper/2", 4, 0),
        FeatureKey("f" * 64, "paper/1", 5, 0),
        FeatureKey("f" * 64, "paper/1", 4, 1),
        FeatureKey("f" * 64, "paper/1", 4, 2**80),
    ],
)
def test_every_part_of_the_key_tells_rows_apart(store, other):
    store.put_many(KEY, signals_of(["a"]))
    assert store.get_many(other, ["a"]) == {}
    theirs = signals_of(["a"], other.n_views, salt=1)
    store.put_many(other, theirs)
    assert_same(store.get_many(other, ["a"])["a"], theirs, 0)
    assert_same(store.get_many(KEY, ["a"])["a"], signals_of(["a"]), 0)


def test_the_name_of_the_encoder_is_no_part_of_the_key(store):
    store.put_many(KEY, signals_of(["a"]))
    renamed = FeatureKey(KEY.encoder, KEY.recipe, KEY.n_views, KEY.seed, "other-name")
    assert "a" in store.get_many(renamed, ["a"])


def test_putting_twice_replaces(store):
    store.put_many(KEY, signals_of(["a"]))
    newer = signals_of(["a"], salt=1)
    store.put_many(KEY, newer)
    assert_same(store.get_many(KEY, ["a"])["a"], newer, 0)
    assert store.info().n_images == 1


def test_more_images_than_one_query_takes(store):
    ids = [f"{i:064x}" for i in range(1203)]
    store.put_many(KEY, signals_of(ids))
    assert set(store.get_many(KEY, ids)) == set(ids)


def test_shapes_that_do_not_fit_the_key_are_refused_and_nothing_is_kept(store):
    with pytest.raises(ValueError, match="shape"):
        store.put_many(KEY, signals_of(["a"], n_views=5))
    with pytest.raises(ValueError, match="zip"):
        store.put_many(KEY, signals_of(["a", "b"]), [("a note",)])
    assert store.info().n_images == 0


def facts_of(number, *, appearance=True):
    rng = np.random.default_rng(number)
    phash = int(rng.integers(0, 2**64, dtype=np.uint64))
    if not appearance:
        return PictureFacts(phash, 64)
    embedding = rng.normal(size=DIM).astype(np.float32)
    return PictureFacts(phash, 64, Appearance(rng.normal(size=len(STATISTICS)), embedding))


def assert_same_facts(got, expected):
    assert (got.phash, got.n_pixels) == (expected.phash, expected.n_pixels)
    assert (got.appearance is None) == (expected.appearance is None)
    if expected.appearance is not None:
        for name in ("statistics", "embedding"):
            there, here = (getattr(facts.appearance, name) for facts in (got, expected))
            np.testing.assert_array_equal(there, here)
            assert there.dtype == here.dtype


def test_facts_of_pictures_come_back_bit_for_bit_whatever_the_encoder(store):
    facts = {
        "a": facts_of(1),
        "b": facts_of(2, appearance=False),
        "c": PictureFacts(2**64 - 1, 10**9),
    }
    store.put_facts(facts)
    found = store.get_facts(["c", "a", "unknown", "b"])
    assert set(found) == {"a", "b", "c"}
    for image_id, one in facts.items():
        assert_same_facts(found[image_id], one)


def test_an_appearance_outlives_a_later_run_that_does_not_ask_for_it(store):
    store.put_facts({"a": facts_of(1)})
    store.put_facts({"a": PictureFacts(facts_of(1).phash, 64)})
    assert_same_facts(store.get_facts(["a"])["a"], facts_of(1))


@pytest.mark.parametrize("column", ["statistics", "embedding"])
def test_a_damaged_appearance_is_as_good_as_absent(store, column):
    store.put_facts({"a": facts_of(1), "b": facts_of(2)})
    store.connection.execute(f"UPDATE appearances SET {column} = 'x' WHERE image_id = 'a'")
    found = store.get_facts(["a", "b"])
    assert found["a"].appearance is None
    assert_same_facts(found["b"], facts_of(2))
    store.connection.execute("UPDATE hashes SET phash = x'00' WHERE image_id = 'b'")
    assert set(store.get_facts(["a", "b"])) == {"a"}


def test_looks_are_known_by_their_kind(store):
    store.put_looks("large", {"a": b"1", "b": b"2"})
    store.put_looks("small", {"a": b"3"})
    assert store.get_looks("large", ["a", "b", "c"]) == {"a": b"1", "b": b"2"}
    assert store.get_looks("small", ["a", "b"]) == {"a": b"3"}
    store.connection.execute("UPDATE looks SET look = x'00' WHERE kind = 'small'")
    assert store.get_looks("small", ["a"]) == {}
    store.clear()
    assert store.get_looks("large", ["a"]) == {}


def test_info_counts_pictures_and_encoders(store, path):
    other = FeatureKey("e" * 64, "paper/1", 5, 0, "RN50/openai")
    store.put_many(KEY, signals_of(["a", "b"]))
    store.put_many(FeatureKey(KEY.encoder, KEY.recipe, 4, 1, KEY.encoder_name), signals_of(["a"]))
    store.put_many(other, signals_of(["b", "c", "d"], 5))
    info = store.info()
    assert info.path == path
    assert info.n_images == 4
    assert info.size_bytes > 4096
    assert [(e.name, e.fingerprint, e.n_images) for e in info.encoders] == [
        ("RN50/openai", "e" * 64, 3),
        ("ViT-B-32/openai", "f" * 64, 2),
    ]


CAPTION_KEY = CaptionKey("f" * 64, "t" * 64, "b" * 64, "ViT-B-32/openai")
ROW = StoredCaptions(np.arange(6, dtype=np.float32), n_cut=2)


def test_caption_signals_are_known_by_the_picture_its_captions_and_the_bank(store):
    captions = {"a": captions_id(["a red ball", "a toy"]), "b": captions_id(["a hat"])}
    store.put_captions(CAPTION_KEY, {"a": ROW, "b": ROW}, captions)
    again = {"a": captions_id(["a toy", "a red ball"]), "b": captions_id(["a cap"])}
    found = store.get_captions(CAPTION_KEY, again)
    assert list(found) == ["a"]
    np.testing.assert_array_equal(found["a"].values, ROW.values)
    assert found["a"].n_cut == 2
    for other in ({"bank": "c" * 64}, {"tower": "u" * 64}, {"encoder": "e" * 64}):
        assert store.get_captions(dataclasses.replace(CAPTION_KEY, **other), captions) == {}


def test_a_damaged_row_of_captions_is_as_good_as_absent(store):
    captions = {"a": captions_id(["a red ball"])}
    store.put_captions(CAPTION_KEY, {"a": ROW}, captions)
    store.connection.execute("UPDATE caption_signals SET measured = x'00'")
    assert store.get_captions(CAPTION_KEY, captions) == {}


def test_a_store_of_before_gets_the_tables_that_were_added(path):
    with FeatureStore(path) as store:
        store.put_many(KEY, signals_of(["a"]))
        for table in ("caption_signals", "caption_sets", "texts"):
            store.connection.execute(f"DROP TABLE {table}")
    with FeatureStore(path) as store:
        assert "a" in store.get_many(KEY, ["a"])
        store.put_captions(CAPTION_KEY, {"a": ROW}, {"a": captions_id(["a hat"])})


def test_rows_with_views_serve_a_run_without(store):
    signals = signals_of(["a", "b"])
    store.put_many(KEY, signals, [("first of 2 frames",), ()])
    plain = FeatureKey(KEY.encoder, "none", 0, 0)
    found = store.get_many(plain, ["a", "b", "c"])
    assert [*found] == ["a", "b"]
    assert found["a"].plain_norm == signals.plain_norm[0]
    assert found["a"].notes == ("first of 2 frames",)
    assert stack_signals(["a"], found).cosine.shape == (1, 0)


def test_clear_forgets_everything_and_gives_the_space_back(store):
    ids = [f"{i:064x}" for i in range(5000)]
    store.put_many(KEY, signals_of(ids))
    before = store.info().size_bytes
    store.clear()
    assert store.info().n_images == 0
    assert store.info().size_bytes < before / 8
    store.put_many(KEY, signals_of(["a"]))
    assert "a" in store.get_many(KEY, ["a"])


def test_clear_does_not_disturb_another_user_of_the_store(store, path):
    store.put_many(KEY, signals_of(["a"]))
    clear(path)
    assert store.get_many(KEY, ["a"]) == {}
    store.put_many(KEY, signals_of(["b"]))
    with FeatureStore(path) as second:
        assert "b" in second.get_many(KEY, ["b"])


def test_clearing_what_is_not_there_is_no_error_and_makes_no_file(path):
    clear(path)
    assert not path.exists()


def test_two_open_stores_see_each_other(path):
    with FeatureStore(path) as one, FeatureStore(path) as two:
        one.put_many(KEY, signals_of(["a"]))
        two.put_many(KEY, signals_of(["b"]))
        assert set(one.get_many(KEY, ["a", "b"])) == {"a", "b"}
        assert set(two.get_many(KEY, ["a", "b"])) == {"a", "b"}


def test_many_at_once_may_create_and_fill_one_store(tmp_path):
    path = tmp_path / "features.sqlite"

    def fill(number):
        with FeatureStore(path) as store:
            for batch in range(2):
                store.put_many(KEY, signals_of([f"{number}-{batch}"]))

    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(fill, range(8)))
        with FeatureStore(path) as store:
            assert store.info().n_images == 16
        path.unlink()


def test_threads_may_share_one_store(store):
    def use(number):
        store.put_many(KEY, signals_of([str(number)]))
        return store.get_many(KEY, [str(number)])

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(use, range(40))):
            assert_same(found[str(number)], signals_of([str(number)]), 0)


def test_a_row_whose_bytes_changed_is_absent_and_is_made_again(store, path, caplog):
    store.put_many(KEY, signals_of(["a", "b"]))
    changes = (
        "UPDATE signals SET cosine = zeroblob(24) WHERE image_id = 'a'",
        "UPDATE signals SET cosine = zeroblob(3) WHERE image_id = 'a'",
        "UPDATE signals SET cosine = 'text' WHERE image_id = 'a'",
        """UPDATE signals SET notes = '["x"]' WHERE image_id = 'a'""",
        "UPDATE signals SET checksum = 'x' WHERE image_id = 'a'",
    )
    for change in changes:
        other = sqlite3.connect(path)
        assert other.execute(change).rowcount == 1
        other.commit()
        other.close()
        assert set(store.get_many(KEY, ["a", "b"])) == {"b"}
        assert "is made again" in caplog.text
        store.put_many(KEY, signals_of(["a"]))
        assert_same(store.get_many(KEY, ["a"])["a"], signals_of(["a"]), 0)


def filled(path, n=300):
    with FeatureStore(path) as store:
        store.put_many(KEY, signals_of([f"{i:064x}" for i in range(n)]))


def overwrite(path, start, content):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


@pytest.mark.parametrize("where", ["header", "first page", "a later page", "all text"])
def test_a_damaged_file_says_how_to_start_afresh_and_clear_does_it(path, where):
    filled(path)
    match where:
        case "header":
            overwrite(path, 0, b"\xff" * 64)
        case "first page":
            overwrite(path, 100, b"\xff" * 3900)
        case "a later page":
            overwrite(path, 4096, b"\xff" * (path.stat().st_size - 4096))
        case "all text":
            path.write_text("this is no database, but it is long enough to be looked at" * 20)
    with pytest.raises(StoreUnavailable) as caught, FeatureStore(path) as store:
        store.get_many(KEY, [f"{i:064x}" for i in range(300)])
    assert "damaged" in str(caught.value) or "another program" in str(caught.value)
    assert "cache clear" in caught.value.hint
    clear(path)
    with FeatureStore(path) as store:
        assert store.info().n_images == 0
        store.put_many(KEY, signals_of(["a"]))


def test_an_empty_file_is_a_new_store(path):
    path.parent.mkdir()
    path.touch()
    with FeatureStore(path) as store:
        store.put_many(KEY, signals_of(["a"]))


def test_a_store_of_a_newer_version_is_left_alone(path):
    filled(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="version 7") as caught:
        FeatureStore(path)
    assert "Update clipaudit" in caught.value.hint
    assert path.read_bytes() == before
    clear(path)
    with FeatureStore(path) as store:
        assert store.info().n_images == 0


def test_the_database_of_another_program_is_left_alone_even_by_clear(path):
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE diary (day TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="another program"):
        FeatureStore(path)
    with pytest.raises(StoreUnavailable, match="another program"):
        clear(path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable) as caught:
        FeatureStore(tmp_path / "file" / "features.sqlite")
    assert "CLIPAUDIT_CACHE_DIR" in caught.value.hint
    assert "--no-cache" in caught.value.hint
    assert isinstance(caught.value, ClipAuditError)
    assert caught.value.exit_code == 4


def test_a_folder_in_the_place_of_the_file_is_unavailable(path):
    path.mkdir(parents=True)
    with pytest.raises(StoreUnavailable):
        FeatureStore(path)


def test_a_lock_that_is_never_given_back_is_an_error_and_clear_deletes_nothing(path, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.05)
    filled(path, 3)
    with FeatureStore(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another process"):
            store.put_many(KEY, signals_of(["a"]))
        with pytest.raises(StoreBusy):
            clear(path)
        other.execute("ROLLBACK")
        other.close()
        assert store.info().n_images == 3


WRITER = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from clipaudit.features.database import StoreUnavailable
from clipaudit.features.store import FeatureStore
from tests.made.signals import KEY, signals_of
with FeatureStore(Path(sys.argv[1])) as store:
    store.put_many(KEY, signals_of(["a"]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        for batch in range(100):
            store.put_many(KEY, signals_of([f"{batch}-{i}" for i in range(100)]))
    except StoreUnavailable as error:
        print(error, "|", error.hint)
        assert "a" in store.get_many(KEY, ["a"])
"""

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX resource limits")
def test_a_full_disk_loses_the_batch_in_flight_alone(path):
    done = subprocess.run(
        [sys.executable, "-c", WRITER, path, ROOT], capture_output=True, text=True, check=True
    )
    assert "CLIPAUDIT_CACHE_DIR" in done.stdout
    with FeatureStore(path) as store:
        assert "a" in store.get_many(KEY, ["a"])
        for batch in range(100):
            found = store.get_many(KEY, [f"{batch}-{i}" for i in range(100)])
            assert len(found) in {0, 100}


def test_no_space_left_is_said_as_such(store):
    store.connection.execute("PRAGMA max_page_count = 8")
    with pytest.raises(StoreUnavailable, match="no space is left"):
        store.put_many(KEY, signals_of([str(i) for i in range(200)]))
    assert store.info().n_images == 0


OPENER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from clipaudit.features.database import StoreUnavailable
from clipaudit.features.store import FeatureStore
try:
    FeatureStore(Path(sys.argv[1]))
except StoreUnavailable as error:
    print(error, "|", error.hint)
"""


def _obey_permissions():
    """Take from root the right to write where nobody may; others do not have it anyway."""
    drop_from_bounding_set, dac_override = 24, 1
    ctypes.CDLL(None).prctl(drop_from_bounding_set, dac_override, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux capabilities")
def test_a_read_only_store_is_unavailable(path):
    filled(path, 1)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", OPENER, path, ROOT],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=_obey_permissions,
        )
    finally:
        path.parent.chmod(0o755)
    assert "cannot use the store" in done.stdout
    assert "CLIPAUDIT_CACHE_DIR" in done.stdout


def test_the_default_store_is_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "here"))
    assert default_path() == tmp_path / "here" / "features-v3.sqlite"
    with FeatureStore() as store:
        assert store.path == default_path()
    assert default_path().exists()


def test_stored_and_fresh_rows_stack_in_the_order_asked_for(store):
    stored, fresh = signals_of(["a", "b"]), signals_of(["c", "d"])
    store.put_many(KEY, stored)
    stacked = stack_signals(["d", "b", "c", "a"], store.get_many(KEY, ["a", "b"]), [fresh])
    assert isinstance(stacked, Signals)
    assert stacked.image_ids == ("d", "b", "c", "a")
    for name in FIELDS:
        both = np.concatenate([getattr(stored, name), getattr(fresh, name)])
        np.testing.assert_array_equal(getattr(stacked, name), both[[3, 1, 2, 0]])
        assert getattr(stacked, name).dtype == np.float32


def test_an_image_may_be_asked_for_twice_but_must_be_somewhere(store):
    fresh = signals_of(["a"])
    assert stack_signals(["a", "a"], {}, [fresh]).cosine.shape == (2, 6)
    with pytest.raises(KeyError):
        stack_signals(["a", "z"], {}, [fresh])
    with pytest.raises(ValueError, match="at least one"):
        stack_signals([], {})
