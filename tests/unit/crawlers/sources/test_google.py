"""Google's own API: pages, licences, quotas and its end; and when SerpApi is asked instead."""

from dataclasses import replace
from datetime import date
from itertools import chain, combinations

import pytest
from clipaudit_crawlers.base import Query
from clipaudit_crawlers.fetch import DeferredError, RefusedError, Web
from clipaudit_crawlers.sources.google import Google, ProgrammableSearch, rights_filter
from clipaudit_crawlers.sources.serpapi import SerpApi
from clipaudit_crawlers.web.config import WebConfig

from clipaudit.errors import SourceError
from tests.made.present import present
from tests.services.google import GoogleService, allows, error
from tests.services.server import Answer, Fault, World

CONFIG = WebConfig(allow_private=True, tries=2, backoff_s=0.01)
UNIVERSE = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd", "cc0", "pdm")


@pytest.fixture
def service():
    with GoogleService(World(n_pictures=300, n_of=(("seal", 25), ("none", 0)))) as service:
        yield service


@pytest.fixture
def web():
    with Web(CONFIG) as web:
        yield web


@pytest.fixture
def google(service, web):
    return Google.open(web, service.environ)


def search(source, keyword="otter", limit=1000, **more):
    return source.search(Query(keyword=keyword, limit=limit, **more))


def links(service, keyword="otter", most=99):
    pictures = service.world.pictures(keyword)[:most]
    return [service.picture_url(one) for one in pictures if one.number % 9]


def on(google, today):
    return replace(google.engine, today=lambda: today)


# --- pages ---------------------------------------------------------------------------------------


def test_all_results_that_the_api_gives_come_in_their_order(google, service):
    records = list(search(google))
    assert [record.image_url for record in records] == links(service)
    pages = [(int(asked.query["start"]), int(asked.query["num"])) for asked in service.asked]
    assert pages == [*((start, 10) for start in range(1, 82, 10)), (91, 9)]
    assert all(start + num <= 100 for start, num in pages)


def test_the_last_page_is_the_one_that_names_no_next(google, service):
    assert [record.image_url for record in search(google, "seal")] == links(service, "seal")
    assert [asked.query["start"] for asked in service.asked] == ["1", "11", "21"]


def test_nothing_found_is_an_answer_without_items(google, service):
    assert list(search(google, "none")) == []
    assert len(service.asked) == 1


def test_it_asks_for_decent_pictures_and_nothing_else(google, service):
    next(search(google, "polar bear"))
    (asked,) = service.asked
    assert set(asked.query) == {"q", "searchType", "safe", "start", "num", "key", "cx"}
    assert asked.query["q"] == "polar bear"
    assert (asked.query["searchType"], asked.query["safe"]) == ("image", "active")


def test_a_record_says_what_the_result_says(google, service):
    picture = next(one for one in service.world.pictures("otter") if one.number % 63)
    record = next(search(google))
    assert record.title == f"{picture.title} - some site"
    assert record.page_url == f"{service.url}/pages/{picture.number}"
    assert (record.width_px, record.height_px) == (picture.width, picture.height)
    assert record.size_bytes == len(picture.jpeg())
    assert record.license is None


def page(*items):
    return Answer({"kind": "customsearch#search", "queries": {}, "items": [*items]})


GOOD = {"link": "https://example.org/a.jpg", "title": "A <b>bold</b> &amp; wild otter"}


@pytest.mark.parametrize(
    "odd",
    [
        *(None, 5, "text", [], {}, {"title": "no link"}, {"link": None}, {"link": 5}),
        *({"link": "x-raw-image:///1"}, {"link": "javascript:alert(1)"}, {"link": "http://"}),
        *({"link": "https://a b.example/a.jpg"}, {"link": "file:///etc/passwd"}),
        {"link": "https://example.org/b.jpg", "image": 5},
    ],
    ids=repr,
)
def test_an_odd_result_is_skipped(google, service, odd):
    service.faults.append(Fault(page(odd, GOOD).body))
    assert [record.image_url for record in search(google)] == [GOOD["link"]]


@pytest.mark.parametrize(
    "image", [{"width": "wide"}, {"width": -1, "height": None}, {"width": True}]
)
def test_an_odd_size_is_as_good_as_none(google, service, image):
    service.faults.append(Fault(page({**GOOD, "image": image}).body))
    (record,) = search(google)
    assert (record.width_px, record.height_px, record.title) == (None, None, "A bold & wild otter")


def test_one_picture_under_two_results_comes_once(google, service):
    service.faults.append(Fault(page(GOOD, {**GOOD, "title": "again"}).body))
    assert [record.title for record in search(google)] == ["A bold & wild otter"]


# --- licences ------------------------------------------------------------------------------------


def subsets(names, least=0):
    return chain.from_iterable(combinations(names, n) for n in range(least, len(names) + 1))


def test_a_filter_lets_exactly_the_wanted_licences_through_or_there_is_none():
    terms = ("publicdomain", "attribute", "sharealike", "noncommercial", "nonderived")
    groups = ["|".join(f"cc_{term}" for term in group) for group in subsets(terms)]
    possible = {
        frozenset(name for name in UNIVERSE if allows(f"({asked}).-({barred})", name))
        for asked in groups
        for barred in groups
    }
    refused = 0
    for wanted in subsets(UNIVERSE, least=1):
        if frozenset(wanted) in possible:
            rights = rights_filter(wanted)
            assert {name for name in UNIVERSE if allows(rights, name)} == set(wanted)
        else:
            refused += 1
            with pytest.raises(SourceError, match="cannot be asked") as caught:
                rights_filter(wanted)
            assert "openverse" in caught.value.hint
    assert 0 < refused < 2 ** len(UNIVERSE) - 1


@pytest.mark.parametrize("unknown", [("sampling+",), ("by", "arr"), ("",)])
def test_a_licence_that_google_has_no_terms_for_is_refused(google, service, unknown):
    with pytest.raises(SourceError, match="cannot be asked"):
        search(google, licenses=unknown)
    assert service.asked == []


def test_a_filter_is_sent_and_the_records_stay_silent_about_licences(google, service):
    records = list(search(google, licenses=("BY", "by-sa"), limit=30))
    of = {service.picture_url(one): one.license for one in service.world.pictures("otter")}
    assert {of[record.image_url] for record in records} == {"by", "by-sa"}
    assert {record.license for record in records} == {None}


# --- refusals ------------------------------------------------------------------------------------


def test_a_quota_that_is_used_up_says_when_it_starts_anew(google, service):
    service.quota = 2
    came = []
    with pytest.raises(DeferredError, match="Google's quota is used up: Quota exceeded") as caught:
        came.extend(search(google))
    assert "midnight Pacific time" in caught.value.hint
    assert "openverse" in caught.value.hint
    assert caught.value.host == "127.0.0.1"
    assert [record.image_url for record in came] == links(service, most=20), "what came is given"


def test_a_failure_of_the_moment_is_not_the_end(google, service):
    service.faults.extend([Fault(status=500)] * 2)
    with pytest.raises(RefusedError) as caught:
        list(search(on(google, date(2030, 1, 1))))
    assert caught.value.status == 500


@pytest.mark.parametrize("reason", ["dailyLimitExceeded", "quotaExceeded", "userRateLimitExceeded"])
def test_a_quota_may_come_as_403_too(google, service, reason):
    body = error(403, "Daily Limit Exceeded", "", reason).body
    service.faults.append(Fault(body, 403))
    with pytest.raises(DeferredError, match="Daily Limit Exceeded"):
        list(search(google))


def test_a_wrong_key_names_the_variables(web, service):
    google = Google.open(web, {**service.environ, "GOOGLE_API_KEY": "wrong"})
    with pytest.raises(SourceError, match="API key not valid") as caught:
        list(search(google))
    assert "GOOGLE_API_KEY" in caught.value.hint
    assert "wrong" not in str(caught.value)


def test_an_api_that_is_gone_says_since_when_and_what_to_take(google, service):
    service.has_ended = True
    with pytest.raises(SourceError, match="Google retired this API on 2027-01-01") as caught:
        list(search(google))
    assert "--source openverse" in caught.value.hint
    assert not isinstance(caught.value, RefusedError)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_every_refusal_from_that_day_on_is_the_end(google, service, status):
    fault = Fault(error(status, "No.", "", "forbidden").body, status)
    service.faults.append(fault)
    with pytest.raises(SourceError, match="retired this API on 2027-01-01"):
        list(search(on(google, date(2027, 1, 1))))
    service.faults.append(fault)
    with pytest.raises(SourceError) as caught:
        list(search(on(google, date(2026, 12, 31))))
    assert "retired" not in str(caught.value)


def test_it_is_asked_as_long_as_it_answers(google, service):
    assert len(list(search(on(google, date(2030, 1, 1)), limit=12))) == 12


def test_kept_answers_outlive_the_api(service):
    class Kept(dict):
        read, write = dict.get, dict.__setitem__

    kept = Kept()
    with Web(CONFIG, kept) as web:
        first = list(search(Google.open(web, service.environ), limit=15))
    service.has_ended = True
    with Web(CONFIG, kept) as web:
        again = Google.open(web, service.environ)
        assert list(search(on(again, date(2028, 1, 1)), limit=15)) == first


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 403, "message": "Not here."}},
        {"error": "Not here."},
        {"error": {"errors": 5}},
        {"error": {"errors": {"reason": 5}, "message": ["x"]}},
    ],
)
@pytest.mark.parametrize("status", [200, 403])
def test_an_error_of_any_shape_is_a_sentence(google, service, body, status):
    service.faults.append(Fault(body, status))
    with pytest.raises(SourceError, match="Google refuses: "):
        list(search(google))


# --- who is asked --------------------------------------------------------------------------------

KEY, ENGINE, OTHER = "GOOGLE_API_KEY", "GOOGLE_CSE_ID", "SERPAPI_API_KEY"


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({KEY, ENGINE}, ProgrammableSearch),
        ({KEY, ENGINE, OTHER}, ProgrammableSearch),
        ({OTHER}, SerpApi),
        ({KEY, OTHER}, SerpApi),
        ({ENGINE, OTHER}, SerpApi),
    ],
)
def test_serpapi_is_asked_where_only_its_key_is_complete(web, given, asked):
    environ = dict.fromkeys(given, "some key")
    source = Google.open(web, environ)
    assert type(source.engine) is asked
    assert source.name == "google"
    assert Google.facts(environ) == asked.facts(environ)
    assert source.engine.base_url.startswith("https://"), "the real one, where no other is named"


@pytest.mark.parametrize(
    ("given", "missing"), [((), (KEY, ENGINE)), ((KEY,), (ENGINE,)), ((ENGINE,), (KEY,))]
)
def test_what_is_missing_is_named_with_all_ways_out(web, given, missing):
    with pytest.raises(SourceError) as caught:
        Google.open(web, dict.fromkeys(given, "some key"))
    for name in (KEY, ENGINE):
        assert (name in str(caught.value)) == (name in missing)
    for way in (OTHER, "openverse", "folder", "wikimedia"):
        assert way in caught.value.hint


def test_its_end_is_always_said():
    for environ in ({}, {KEY: "a", ENGINE: "b"}):
        assert "ends it on 2027-01-01" in present(Google.facts(environ).notice)


def test_a_key_may_have_come_with_a_line_break(web, service):
    environ = {name: f" {value}\n" for name, value in service.environ.items() if "URL" not in name}
    assert next(search(Google.open(web, {**service.environ, **environ})))
