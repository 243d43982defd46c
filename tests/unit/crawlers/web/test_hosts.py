"""Whose turn it is."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from clipaudit_crawlers.web.failures import Broken, DeferredError
from clipaudit_crawlers.web.hosts import Turn, Turns, retry_after_s
from hypothesis import given, seed, settings
from hypothesis import strategies as st


def test_seconds_are_read_as_they_are():
    assert retry_after_s("120") == 120
    assert retry_after_s(" 5 ") == 5
    assert retry_after_s("99999999999") == 99_999_999_999


@pytest.mark.parametrize("seconds", [-3600, 0, 60, 86_400 * 365 * 200])
def test_a_date_is_so_far_from_now(seconds):
    date = datetime.now(UTC) + timedelta(seconds=seconds)
    asked = retry_after_s(format_datetime(date, usegmt=True))
    assert asked == pytest.approx(max(0, seconds), abs=2)


@pytest.mark.parametrize("value", [None, "", "-1", "soon", "1.5", "1e3", "٣", "9" * 5000])
def test_what_makes_no_sense_is_nothing(value):
    assert retry_after_s(value) is None


@seed(0)
@settings(max_examples=150)
@given(
    st.one_of(
        st.text(),
        st.integers().map(str),
        st.from_regex(r"\w{3}, \d{1,4} \w{3} \d{1,6} \d{1,4}:\d\d:\d\d [+-]?\w{1,5}"),
    )
)
def test_no_header_is_an_error(value):
    asked = retry_after_s(value)
    assert asked is None or asked >= 0


def test_so_many_are_served_at_a_time():
    turns, inside, most = Turns(longest_wait_s=1), 0, 0
    lock = threading.Lock()

    def ask(_):
        nonlocal inside, most
        with turns.taken(Turn("otters.example", "pictures", at_once=3)):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(24)))
    assert most == 3


def test_lines_for_other_hosts_and_purposes_are_not_held_up():
    turns = Turns(longest_wait_s=1)
    with (
        turns.taken(Turn("otters.example", "pictures")),
        turns.taken(Turn("otters.example", "robots.txt")),
        turns.taken(Turn("beavers.example", "pictures")),
    ):
        turns.hold("otters.example", "pictures", 1000)
    with turns.taken(Turn("beavers.example", "pictures")):
        pass
    with pytest.raises(DeferredError) as deferred, turns.taken(Turn("otters.example", "pictures")):
        pass
    assert deferred.value.host == "otters.example"
    assert deferred.value.wait_s == pytest.approx(1000, abs=1)


def test_a_shorter_hold_does_not_end_a_longer_one():
    turns = Turns(longest_wait_s=1)
    turn = Turn("otters.example", "pictures")
    with turns.taken(turn):
        turns.hold(turn.host, turn.purpose, 1000)
        turns.hold(turn.host, turn.purpose, 0)
    with pytest.raises(DeferredError), turns.taken(turn):
        pass


def test_an_error_inside_makes_room_for_the_next():
    turns = Turns(longest_wait_s=1)
    for _ in range(3):
        with (
            pytest.raises(RuntimeError),
            turns.taken(Turn("otters.example", "pictures", at_once=1)),
        ):
            raise RuntimeError


def test_nobody_is_served_after_the_stop():
    turns = Turns(longest_wait_s=1)
    turns.stop()
    with pytest.raises(Broken) as broken, turns.taken(Turn("otters.example", "pictures")):
        pass
    assert broken.value.reason == "stopped"
