import pytest

from clipaudit.errors import UsageError
from clipaudit.pictures.sharding import Shard


@pytest.mark.parametrize("n_shards", [1, 2, 3, 7])
def test_every_file_falls_into_one_shard_and_shards_are_alike_in_size(n_shards):
    paths = [f"set/{number // 10}/{number}.jpg" for number in range(2000)] + ["\udcff.png", ""]
    shards = [Shard(number, n_shards) for number in range(1, n_shards + 1)]
    parts = [{path for path in paths if shard.holds(path)} for shard in shards]
    assert sum(map(len, parts)) == len(paths)
    assert set.union(*parts) == {*paths}
    assert min(map(len, parts)) > 0.8 * len(paths) / n_shards


def test_a_file_falls_into_the_same_shard_for_ever():
    held = [number for number in range(12) if Shard(1, 3).holds(f"p.parquet#{number}/{number}.jpg")]
    assert held == [1, 2, 3, 6, 7]


def test_what_is_typed_is_read_or_refused():
    assert Shard.read("2/5") == (2, 5)
    assert str(Shard.read("02/5")) == "2/5"
    for text in ("0/3", "4/3", "3", "a/b", "-1/3", "1/0", "1/3\n", "1/2/3", "1/9999999", "١/٢"):
        with pytest.raises(UsageError, match="--shard must be I/N"):
            Shard.read(text)
