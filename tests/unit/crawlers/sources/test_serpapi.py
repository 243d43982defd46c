"""Google through SerpApi: pages, missing addresses, and errors in the dress of answers."""

import pytest
from clipaudit_crawlers.base import Query
from clipaudit_crawlers.fetch import DeferredError, RefusedError, Web
from clipaudit_crawlers.sources.google import Google
from clipaudit_crawlers.web.config import WebConfig

from clipaudit.errors import SourceError
from tests.services.serpapi import NOTHING, SerpApiService
from tests.services.server import Fault, World


@pytest.fixture
def service():
    world = World(n_pictures=250, n_of=(("seal", 3), ("none", 0), ("hundred", 100)))
    with SerpApiService(world) as service:
        yield service


@pytest.fixture
def serpapi(service):
    with Web(WebConfig(allow_private=True, tries=2, backoff_s=0.01)) as web:
        yield Google.open(web, service.environ)


def search(source, keyword="otter", limit=1000):
    return source.search(Query(keyword=keyword, limit=limit))


def originals(service, keyword="otter"):
    pictures = service.world.pictures(keyword)
    return [service.picture_url(one) for one in pictures if one.number % 8]


def pages(service):
    return [asked.query.get("ijn") for asked in service.asked]


def test_pages_are_read_until_one_is_empty(serpapi, service):
    assert [record.image_url for record in search(serpapi)] == originals(service)
    assert pages(service) == [None, "1", "2", "3"]


def test_a_full_page_may_be_the_last(serpapi, service):
    assert len(list(search(serpapi, "hundred"))) == len(originals(service, "hundred"))
    assert pages(service) == [None, "1"]


def test_nothing_found_is_no_error(serpapi, service):
    assert list(search(serpapi, "none")) == []
    assert pages(service) == [None]


def test_a_service_that_repeats_its_last_page_for_ever_is_left(serpapi, service):
    service.repeats_for_ever = True
    assert len(list(search(serpapi))) == len(originals(service))
    assert pages(service) == [None, "1", "2", "3"]


def test_it_asks_for_decent_pictures_and_nothing_else(serpapi, service):
    next(search(serpapi, "polar bear"))
    (asked,) = service.asked
    assert asked.query.pop("api_key")
    assert asked.query == {"engine": "google_images", "q": "polar bear", "safe": "active"}


def test_a_small_copy_is_never_taken_for_the_picture(serpapi, service):
    addresses = {record.image_url for record in search(serpapi)}
    assert not any("/120.jpg" in address or address.startswith("data:") for address in addresses)


def test_where_only_small_copies_come_that_is_said_and_no_more_is_paid_for(serpapi, service):
    service.has_originals = False
    with pytest.raises(SourceError, match="none of the 100 results for 'otter'") as caught:
        list(search(serpapi))
    assert "openverse" in caught.value.hint
    assert pages(service) == [None]


def test_a_record_says_what_the_result_says(serpapi, service):
    record = next(search(serpapi))
    picture = next(one for one in service.world.pictures("otter") if one.number % 8)
    assert (record.source, record.license) == ("google", None)
    assert record.title == f"{picture.title} & more"
    assert record.page_url == f"{service.url}/pages/{picture.number}"


@pytest.mark.parametrize(
    "odd", [None, 5, [], {}, {"original": 5}, {"original": "javascript:x"}, {"original": None}]
)
def test_an_odd_result_is_skipped(serpapi, service, odd):
    good = {"original": "https://example.org/a.jpg", "original_width": "640", "link": 5}
    service.faults.append(Fault({"images_results": [odd, good, good]}))
    record = next(search(serpapi, "seal", limit=1))
    assert (record.image_url, record.width_px, record.page_url) == (good["original"], 640, None)


def test_a_plan_that_is_used_up_asks_to_come_back(serpapi, service):
    service.searches_left = 1
    with pytest.raises(DeferredError, match="run out of searches") as caught:
        list(search(serpapi))
    assert "https://serpapi.com/dashboard" in caught.value.hint


def test_a_wrong_key_names_the_variable(service):
    with Web(WebConfig(allow_private=True)) as web:
        source = Google.open(web, {**service.environ, "SERPAPI_API_KEY": "wrong"})
        with pytest.raises(SourceError, match="Invalid API key") as caught:
            list(search(source))
    assert "SERPAPI_API_KEY" in caught.value.hint
    assert len(service.asked) == 1


def failed(status):
    said = "We couldn't get valid results for this search. Please try again later."
    return {"search_metadata": {"status": status}, "error": said}


def test_a_search_that_did_not_get_through_is_tried_again(serpapi, service):
    service.faults.append(Fault(failed("Error")))
    assert len(list(search(serpapi, "seal"))) == len(originals(service, "seal"))
    assert pages(service) == [None, None, "1"]


def test_a_search_that_never_gets_through_is_an_error(serpapi, service):
    service.faults.extend([Fault(failed("Error"))] * 2)
    with pytest.raises(DeferredError, match="couldn't get valid results"):
        list(search(serpapi))


@pytest.mark.parametrize("body", [failed("Success"), {"error": "Unsupported value."}])
def test_any_other_error_is_one(serpapi, service, body):
    service.faults.append(Fault(body))
    with pytest.raises(SourceError, match=r"SerpApi: (We couldn't|Unsupported)"):
        list(search(serpapi))


def test_a_refusal_of_another_kind_passes_as_it_is(serpapi, service):
    service.faults.append(Fault({"error": "Missing query `q` parameter."}, 400))
    with pytest.raises(RefusedError) as caught:
        list(search(serpapi))
    assert caught.value.status == 400


def test_nothing_found_may_stand_without_its_metadata(serpapi, service):
    service.faults.append(Fault({"error": NOTHING}))
    assert list(search(serpapi)) == []
