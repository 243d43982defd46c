"""Brave: one request, thumbnails where there is nothing better, and its errors."""

import pytest
from clipaudit_crawlers.base import Query
from clipaudit_crawlers.fetch import DeferredError, RefusedError, Web
from clipaudit_crawlers.sources.brave import Brave
from clipaudit_crawlers.web.config import WebConfig

from clipaudit.errors import SourceError
from tests.made.present import present
from tests.services.brave import THUMBNAIL_PX, BraveService
from tests.services.server import Fault, World


@pytest.fixture
def service():
    with BraveService(World(n_pictures=300, n_of=(("none", 0),))) as service:
        yield service


@pytest.fixture
def web():
    with Web(WebConfig(allow_private=True, tries=2, backoff_s=0.01)) as web:
        yield web


@pytest.fixture
def brave(service, web):
    return Brave.open(web, service.environ)


def search(source, keyword="otter", limit=1000):
    return source.search(Query(keyword=keyword, limit=limit))


def usable(service):
    return [one for one in service.world.pictures("otter")[:200] if one.number % 11]


@pytest.mark.parametrize("limit", [1, 50, 1000])
def test_one_request_is_all_and_the_same_for_every_limit(brave, service, limit):
    records = list(search(brave, "otter", limit))
    assert len(records) == min(limit, len(usable(service)))
    (asked,) = service.asked
    assert asked.query == {"q": "otter", "count": "200", "safesearch": "strict", "spellcheck": "0"}


def test_results_come_in_their_order_each_with_its_picture_or_else_a_copy(brave, service):
    records = list(search(brave))
    copies = 0
    for record, picture in zip(records, usable(service), strict=True):
        is_copy = picture.number % 10 == 0
        width = min(picture.width, THUMBNAIL_PX) if is_copy else picture.width
        assert record.image_url == service.picture_url(picture, width)
        assert record.width_px == width
        copies += is_copy
    assert copies > 5


def test_a_record_says_what_the_result_says(brave, service):
    record, picture = next(search(brave)), usable(service)[0]
    assert record.title == f"{picture.title} & more"
    assert record.page_url == f"{service.url}/pages/{picture.number}"
    assert (record.license, record.author) == (None, None)


def test_nothing_found_is_no_error(brave):
    assert list(search(brave, "none")) == []


def test_results_may_be_left_out_of_an_empty_answer(brave, service):
    service.faults.append(Fault({"type": "images"}))
    assert list(search(brave)) == []


@pytest.mark.parametrize(
    "odd", [None, 5, {}, {"properties": 5}, {"properties": {"url": 5}}, {"thumbnail": None}]
)
def test_an_odd_result_is_skipped(brave, service, odd):
    properties = {"url": "https://example.org/a.jpg", "width": 0}
    good = {"properties": properties, "title": None}
    service.faults.append(Fault({"type": "images", "results": [odd, good, good]}))
    (record,) = search(brave)
    assert (record.image_url, record.width_px, record.title) == (
        properties["url"],
        None,
        None,
    )


def test_where_no_result_says_where_its_picture_is_the_service_has_changed(brave, service):
    service.has_addresses = False
    with pytest.raises(SourceError, match="none of the 200 results for 'otter'"):
        list(search(brave))


def test_a_wrong_key_names_the_variable(web, service):
    brave = Brave.open(web, {**service.environ, "BRAVE_API_KEY": "wrong"})
    with pytest.raises(SourceError, match="token is invalid") as caught:
        list(search(brave))
    assert "BRAVE_API_KEY" in caught.value.hint
    assert not isinstance(caught.value, RefusedError)


def test_a_plan_that_is_used_up_asks_to_come_back(brave, service):
    service.requests_left = 0
    with pytest.raises(DeferredError, match="rate limit exceeded for plan") as caught:
        list(search(brave))
    assert "dashboard" in caught.value.hint


def test_a_refusal_of_another_kind_passes_as_it_is(brave, service):
    with pytest.raises(RefusedError) as caught:
        list(search(brave, ""))
    assert caught.value.status == 422


@pytest.mark.parametrize("error", [{"detail": "No."}, {}, "No.", 5])
def test_an_error_in_the_dress_of_an_answer_is_one(brave, service, error):
    service.faults.append(Fault({"type": "ErrorResponse", "error": error}))
    with pytest.raises(SourceError, match="Brave refuses: "):
        list(search(brave))


def test_the_real_service_is_asked_once_a_second_a_mirror_without_pause(web, service):
    assert Brave.open(web, service.environ).interval_s == 0
    real = Brave.open(web, {"BRAVE_API_KEY": "some key"})
    assert real.base_url == "https://api.search.brave.com/res/v1/images/search"
    assert 60 / real.interval_s <= present(Brave.facts({}).requests_per_minute)
