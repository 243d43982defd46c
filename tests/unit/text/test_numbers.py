"""`clipaudit.text.numbers`, beside the examples in its docstrings."""

import pytest

from clipaudit.text.numbers import duration, size


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (7261, "2:01:01")]
)
def test_a_duration_is_minutes_and_seconds_with_hours_where_there_are_some(seconds, expected):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("n_bytes", "expected"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (2.5e6, "2 MB"), (3.25e9, "3.2 GB")],
)
def test_a_size_has_the_unit_that_fits(n_bytes, expected):
    assert size(n_bytes) == expected
