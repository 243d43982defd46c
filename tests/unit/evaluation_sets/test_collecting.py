"""Acceptance in order, whatever the downloads do; none twice; no more read than needed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from clipaudit_crawlers.base import ImageRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from clipaudit.errors import SourceError
from clipaudit.evaluation_sets.collecting import Collector, Step, Tally, Want, all_dropped
from tests.made.set_pictures import failed, fetched, record


def want(keyword, count, names, role="crawled", **more):
    return Want(keyword, role, count, (record(name) for name in names), **more)


def collect(wants, outcomes=None, n_ahead=4, jobs=3, **more):
    outcomes = outcomes or {}
    asked = []

    def fetch(one):
        asked.append(one.source_id)
        return outcomes.get(one.source_id) or fetched(one.source_id)

    with ThreadPoolExecutor(jobs) as executor:
        tallies = Collector(executor, fetch, n_ahead, **more).collect(wants)
    return tallies, asked


def names(tally):
    return [picture.record.source_id for picture in tally.pictures]


def test_the_first_that_work_are_taken_and_no_more_are_read():
    read = []

    def records():
        for number in range(100):
            read.append(number)
            yield record(f"p{number}")

    (tally,), asked = collect([Want("otter", "crawled", 3, records())])
    assert names(tally) == ["p0", "p1", "p2"]
    assert sorted(asked) == ["p0", "p1", "p2"]
    assert read == [0, 1, 2]
    assert [picture.rank for picture in tally.pictures] == [1, 2, 3]


def test_a_failed_picture_is_counted_and_the_next_takes_its_place():
    outcomes = {"p0": failed("p0", "http-404"), "p2": failed("p2", "not-an-image")}
    (tally,), _ = collect([want("otter", 3, [f"p{n}" for n in range(9)])], outcomes)
    assert names(tally) == ["p1", "p3", "p4"]
    assert dict(tally.dropped) == {"http-404": 1, "not-an-image": 1}
    assert [picture.rank for picture in tally.pictures] == [2, 4, 5]


def test_duplicates_are_dropped_over_keywords_and_counted():
    outcomes = {
        "same": fetched("otter-0"),  # the same bytes under another address
        "alike": fetched("alike", like="otter-0"),  # other bytes, the same to the eye
    }
    first = want("otter", 2, ["otter-0", "otter-1"])
    second = want("seal", 2, ["same", "alike", "otter-1", "seal-0", "seal-1"])
    tallies, asked = collect([first, second], outcomes)
    assert names(tallies[1]) == ["seal-0", "seal-1"]
    assert dict(tallies[1].dropped) == {"duplicate": 2, "near-duplicate": 1}
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_picture_that_is_not_what_the_list_says_is_dropped(kind):
    good = getattr(fetched("good"), kind).upper()
    records = [record("bad", **{kind: "0" * len(good)}), record("good", **{kind: good})]
    (tally,), _ = collect([Want("", "member", 1, iter(records))])
    assert names(tally) == ["good"]
    assert dict(tally.dropped) == {"changed": 1}


def test_what_is_unfit_is_not_downloaded():
    one = want("otter", 2, "abcd", unfit=lambda r: "too-old" if r.source_id in "ac" else None)
    (tally,), asked = collect([one])
    assert names(tally) == ["b", "d"]
    assert sorted(asked) == ["b", "d"]
    assert dict(tally.dropped) == {"too-old": 2}


def test_too_few_results_are_a_shortfall_and_the_run_goes_on():
    tallies, _ = collect([want("rare", 5, "ab"), want("none", 2, ""), want("otter", 2, "xy")])
    assert [tally.missing for tally in tallies] == [3, 2, 0]


def test_a_budget_ends_the_collection_where_it_is_spent():
    outcomes = {f"p{n}": fetched(f"p{n}", n_bytes=400) for n in range(9)}
    wants = [want("otter", 9, [f"p{n}" for n in range(9)]), want("seal", 2, "xy")]
    tallies, _ = collect(wants, outcomes, most_bytes=1000)
    assert [len(tally.pictures) for tally in tallies] == [3, 0]
    assert all(tally.is_cut_short for tally in tallies)


def test_ten_passing_failures_in_a_row_mean_that_the_network_is_gone():
    gone = {f"p{n}": failed(f"p{n}", "unreachable", is_transient=True) for n in range(3, 40)}
    with pytest.raises(SourceError, match="last 10 downloads all failed") as caught:
        collect([want("otter", 30, [f"p{n}" for n in range(40)])], gone)
    assert "kept" in caught.value.hint


def test_forty_dead_links_in_a_row_do_not():
    dead = {f"p{n}": failed(f"p{n}", "http-404") for n in range(40)}
    (tally,), _ = collect([want("otter", 1, [f"p{n}" for n in range(41)])], dead)
    assert names(tally) == ["p40"]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 5))
def test_what_is_accepted_does_not_depend_on_which_download_ends_first(seed, n_ahead, jobs):
    chance = Random(seed)
    pool = [f"p{number}" for number in range(12)]
    outcomes = {
        name: failed(name, "http-404") if chance.random() < 0.3 else fetched(name) for name in pool
    }
    lists = [chance.choices(pool, k=8) for _ in range(4)]

    def run(ahead, threads, late):
        gates = {name: threading.Event() for name in pool}

        def fetch(one):
            if threads > 1 and one.source_id in late:
                gates[one.source_id].wait(0.002)
            return outcomes[one.source_id]

        wants = [want(f"k{n}", 3, chosen) for n, chosen in enumerate(lists)]
        with ThreadPoolExecutor(threads) as executor:
            done = Collector(executor, fetch, ahead).collect(wants)
        return [(names(tally), dict(tally.dropped)) for tally in done]

    late = set(chance.sample(pool, 5))
    assert run(n_ahead, jobs, late) == run(1, 1, set())


def test_every_outcome_is_told_with_the_keyword_at_work():
    steps: list[Step] = []
    collect([want("otter", 2, "ab"), want("seal", 1, "c")], on_step=steps.append)
    # The downloads of the next keyword may begin early; those at work are told in their order.
    assert [step.tally.keyword for step in steps if step.n_bytes] == [*["otter"] * 3, *["seal"] * 2]
    assert steps[-1].n_bytes == 3000
    assert steps[-1].n_done == 2


def test_files_that_were_left_out_are_named_by_their_path_and_others_by_their_address():
    tally, other = Tally("otter", "crawled", 9), Tally("seal", "crawled", 9)
    file = ImageRecord(source="folder", source_id="a/b%20c.png", image_url="file:///x/a/b%20c.png")
    address = ImageRecord(source="urls", source_id="1", image_url="https://a.org/b%20c.png")
    tally.drop("truncated", file)
    other.drop("truncated", address)
    other.drop("http-404", address)
    first, second = all_dropped([tally, other])
    assert (first.reason, first.count) == ("truncated", 2)
    assert first.names == ("a/b c.png", "https://a.org/b%20c.png")
    assert (second.reason, second.names) == ("http-404", ("https://a.org/b%20c.png",))
