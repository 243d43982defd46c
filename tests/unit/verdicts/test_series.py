from clipaudit.verdicts.series import MOST_BITS, find_series

PATHS = {"a": "x/1.png", "b": "x/2.png", "c": "y/1.png", "d": "z.png"}
NEAR = (1 << MOST_BITS) - 1


def test_pictures_that_look_alike_are_one_series_by_however_long_a_chain():
    hashes = {"a": 0, "b": NEAR, "c": NEAR << MOST_BITS | NEAR, "d": 2**63 - 1}
    assert find_series(PATHS, hashes, "likeness") == {"a": "a", "b": "a", "c": "a"}
    assert find_series(PATHS, hashes | {"b": NEAR | NEAR << 30}, "likeness") is None


def test_a_late_picture_joins_two_series():
    hashes = {"a": 0, "b": NEAR << 12 | NEAR, "c": NEAR, "d": 2**63}
    assert find_series(PATHS, hashes, "likeness") == dict.fromkeys("abcd", "a")


def test_a_folder_is_a_series():
    found = find_series(PATHS, {}, "folder")
    assert found == {"a": "x", "b": "x", "c": "y", "d": "."}
    assert find_series({"a": "x/1.png", "c": "y/1.png"}, {}, "folder") is None


def test_nothing_hangs_together_where_nobody_asks_or_nothing_is_known():
    assert find_series(PATHS, {"a": 0, "b": 0}, "none") is None
    assert find_series(PATHS, {}, "likeness") is None


def test_the_order_of_the_pictures_does_not_matter():
    hashes = {"a": 0, "b": NEAR, "c": NEAR << MOST_BITS | NEAR, "d": 2**63 - 1}
    turned = dict(reversed(PATHS.items()))
    assert find_series(turned, hashes, "likeness") == find_series(PATHS, hashes, "likeness")
