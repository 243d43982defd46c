"""Openverse against a server that answers like it."""

import contextlib
import dataclasses
import datetime
import logging

import pytest
from clipaudit_crawlers.base import ImageRecord
from clipaudit_crawlers.fetch import DeferredError
from clipaudit_crawlers.sources.openverse import Openverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipaudit.errors import SourceError
from tests.made.queries import query
from tests.services.openverse import CLIENT_SECRET, TOKEN, OpenverseService
from tests.services.server import ANY_JSON, Fault, Kept, World, spoilt


@pytest.fixture
def service():
    with OpenverseService(World(n_pictures=50)) as running:
        yield running


@pytest.fixture
def openverse(service, web):
    return Openverse.open(web, service.environ)


def urls(service, pictures):
    return [service.picture_url(picture) for picture in pictures]


def test_every_picture_of_a_keyword_is_found_once_best_first(service, openverse):
    found = [record.image_url for record in openverse.search(query())]
    assert found == urls(service, service.world.pictures("otter"))
    assert service.values("page") == ["1", "2", "3"]
    assert service.values("page_size") == ["20"] * 3


def test_a_limit_stops_the_paging(service, openverse):
    assert len(list(openverse.search(query(limit=8)))) == 8
    assert len(list(openverse.search(query(limit=40)))) == 40
    assert service.values("page") == ["1", "1", "2"]


def test_nothing_is_asked_before_a_record_is_wanted(service, openverse):
    assert list(openverse.search(query(limit=0))) == []
    records = openverse.search(query())
    assert service.asked == []
    next(records)
    assert len(service.asked) == 1


def test_paging_ends_at_the_depth_of_the_service(service, openverse):
    service.world = World(n_pictures=1000)
    assert len(list(openverse.search(query()))) == 400
    assert service.values("page") == [str(page) for page in range(1, 21)]


def test_a_service_that_promises_more_pages_than_it_gives_is_not_asked_for_them(service, openverse):
    results = [service._result(picture) for picture in service.world.pictures("otter")]
    pages = [{"page_count": 99, "results": [result]} for result in results]
    service.faults.extend(map(Fault, pages))
    assert len(list(openverse.search(query()))) == 20
    assert len(service.asked) == 20


def test_a_record_says_what_the_service_says(service, openverse):
    picture = next(p for p in service.world.pictures("otter") if p.author and p.number % 5)
    record = list(openverse.search(query()))[picture.rank]
    known = OpenverseService._result(service, picture)
    assert record == ImageRecord(
        source="openverse",
        source_id=known["id"],
        image_url=service.picture_url(picture),
        page_url=f"{service.url}/pages/{picture.number}",
        title=picture.title,
        author=picture.author,
        author_url=f"{service.url}/people/{picture.number % 97}",
        license=picture.license,
        license_version=picture.version,
        license_url=known["license_url"],
        credit=known["attribution"],
        width_px=picture.width,
        height_px=picture.height,
        size_bytes=len(picture.jpeg()),
    )


def test_what_the_service_leaves_out_is_none_and_credit_is_given_all_the_same(service, openverse):
    picture = next(p for p in service.world.pictures("otter") if p.number % 5 == 0 and p.author)
    record = list(openverse.search(query()))[picture.rank]
    assert (record.title, record.width_px, record.height_px, record.size_bytes) == (None,) * 4
    assert record.uploaded is None
    assert record.credit == (
        f"This picture by {picture.author} ({service.url}/pages/{picture.number}), CC BY 2.0 "
        "(https://creativecommons.org/licenses/by/2.0/)"
    )


def test_markup_and_addresses_that_lead_nowhere_do_not_reach_a_record(service, openverse):
    result = service._result(service.world.pictures("otter")[1]) | {
        "title": "<div class='fn'>An <b>otter</b></div>",
        "creator": "Ann\x1b[2J &amp; Bob",
        "creator_url": "javascript:alert(1)",
        "foreign_landing_url": "ftp://example.org/otter",
        "license": "BY-SA",
        "attribution": "",
    }
    service.faults.append(Fault({"page_count": 1, "results": [result]}))
    (record,) = openverse.search(query())
    assert (record.title, record.author) == ("An otter", "Ann[2J & Bob")
    assert (record.author_url, record.page_url) == (None, None)
    assert record.license == "by-sa"
    assert record.credit.startswith('"An otter" by Ann[2J & Bob, CC BY-SA')


def test_a_result_that_comes_again_is_left_out(service, openverse):
    service.repeats = True
    ids = [record.source_id for record in openverse.search(query())]
    assert len(ids) == len(set(ids)) == 49  # one of 50 results had been there


def test_mature_pictures_are_left_out_and_the_parameter_is_not_sent(service, openverse):
    service.mature = 10
    assert len(list(openverse.search(query()))) == 45
    assert service.values("mature") == [None] * 3


@pytest.mark.parametrize("licenses", [("cc0",), ("by", "BY-SA"), ("by-nc", "no such licence")])
def test_only_pictures_under_the_licences_are_found(service, openverse, licenses):
    wanted = {name.lower() for name in licenses}
    found = [record.image_url for record in openverse.search(query(licenses=licenses))]
    there = [p for p in service.world.pictures("otter") if p.license in wanted]
    assert found == urls(service, there)
    assert found


def test_a_result_under_another_licence_than_was_asked_for_is_left_out(service, openverse):
    results = [service._result(picture) for picture in service.world.pictures("otter")[:20]]
    service.faults.append(Fault({"page_count": 1, "results": results}))
    found = {record.license for record in openverse.search(query(licenses=("by",)))}
    assert found == {"by"}


def test_licences_that_openverse_does_not_know_are_an_error(service, openverse):
    with pytest.raises(SourceError, match="no pictures under GFDL") as caught:
        openverse.search(query(licenses=("GFDL",)))
    assert "by-sa" in caught.value.hint
    assert service.asked == []


def test_dates_are_an_error_that_names_sources_that_know_them(service, openverse):
    with pytest.raises(SourceError, match="put online") as caught:
        openverse.search(query(uploaded_from=datetime.date(2024, 1, 1)))
    assert "wikimedia" in caught.value.hint
    assert "flickr" in caught.value.hint
    assert service.asked == []


def test_a_keyword_without_pictures_ends_at_once(service, openverse):
    service.world = World(n_pictures=0)
    assert list(openverse.search(query())) == []
    assert len(service.asked) == 1


def test_an_empty_page_is_the_last(service, openverse):
    service.faults.append(Fault({"page_count": 9, "results": []}))
    assert list(openverse.search(query())) == []
    assert len(service.asked) == 1


def test_a_busy_service_is_asked_again(service, openverse):
    service.faults.append(Fault({"detail": "throttled"}, 429, {"Retry-After": "0"}))
    service.faults.append(Fault("<h1>503</h1>", 503))
    service.faults.append(Fault(drops=True))
    assert len(list(openverse.search(query()))) == 50
    assert service.values("page") == ["1", "1", "1", "1", "2", "3"]


def test_a_day_that_is_used_up_is_left_to_the_caller(service, openverse):
    said = {"detail": "Request was throttled. Expected available in 80000 seconds."}
    service.faults.append(Fault(said, 429, {"Retry-After": "80000"}))
    with pytest.raises(DeferredError) as caught:
        list(openverse.search(query()))
    assert caught.value.wait_s == pytest.approx(80_000, abs=5)


def test_pages_that_are_too_large_without_an_account_are_explained(service, openverse):
    service.most_anonymous = 10
    with pytest.raises(SourceError, match="may not exceed 10") as caught:
        list(openverse.search(query()))
    assert "OPENVERSE_CLIENT_ID" in caught.value.hint


def test_a_client_that_is_shut_out_is_told_what_to_do(service, openverse):
    service.faults.append(Fault("<h1>Forbidden</h1>", 403))
    with pytest.raises(SourceError, match="wants an account for this: Forbidden"):
        list(openverse.search(query()))


@pytest.mark.parametrize(
    "body",
    [
        *("<html>sign in to the hotel's network</html>", "", "null", "[]", "3", '"results"'),
        *({}, {"results": None, "page_count": 1}, {"results": {}, "page_count": 1}),
        *({"results": []}, {"results": [], "page_count": "many"}),
        {"results": [{"id": 1}, {"url": None}], "page_count": 1},
    ],
)
def test_what_is_not_its_format_is_an_error_in_a_sentence(service, openverse, body):
    service.faults.extend([Fault(body)] * 9)
    with pytest.raises(SourceError, match=r"Openverse|127\.0\.0\.1") as caught:
        list(openverse.search(query()))
    assert caught.value.hint.endswith(".")


def test_what_is_not_its_format_is_not_kept(service):
    archive = Kept()
    service.faults.append(Fault({"page_count": 1}))
    with service.web(archive) as web:
        openverse = Openverse.open(web, service.environ)
        with pytest.raises(SourceError):
            list(openverse.search(query()))
        assert not archive
        assert len(list(openverse.search(query()))) == 50
        assert len(archive) == 3


def test_an_odd_result_is_left_out_but_not_its_page(service, openverse):
    right = [service._result(picture) for picture in service.world.pictures("otter")[:3]]
    odd = [{**right[1], "id": None}, {**right[1], "url": "no address"}, None, 3]
    results = [right[0], *odd, {**right[2], "width": "wide"}]
    service.faults.append(Fault({"page_count": 1, "results": results}))
    records = list(openverse.search(query()))
    assert [record.source_id for record in records] == [right[0]["id"], right[2]["id"]]
    assert records[1].width_px is None


def test_warnings_are_logged(service, openverse, caplog):
    service.warnings = [{"code": "partially invalid request", "message": "source \n is unknown"}]
    with caplog.at_level(logging.WARNING):
        list(openverse.search(query(limit=1)))
    assert "source \\n is unknown" in caplog.text


def test_an_account_brings_larger_pages_with_one_token_a_run(service, web):
    openverse = Openverse.open(web, service.environ_of_account)
    assert len(list(openverse.search(query(limit=50)))) == 50
    assert len(list(openverse.search(query("cat")))) == 50
    token, *pages = service.asked
    assert token.path == "/v1/auth_tokens/token/"
    assert token.form["grant_type"] == "client_credentials"
    assert [page.query["page_size"] for page in pages] == ["50", "500"]
    assert {page.headers["authorization"] for page in pages} == {f"Bearer {TOKEN}"}


def test_kept_answers_need_no_token(service):
    archive = Kept()
    with service.web(archive) as web:
        before = list(Openverse.open(web, service.environ_of_account).search(query()))
    asked = len(service.asked)
    with service.web(archive, offline=True) as web:
        assert list(Openverse.open(web, service.environ_of_account).search(query())) == before
    assert len(service.asked) == asked


def test_a_wrong_account_is_named_without_its_secret(service, web):
    environ = {**service.environ_of_account, "OPENVERSE_CLIENT_SECRET": "0123456789abcdef"}
    openverse = Openverse.open(web, environ)
    with pytest.raises(SourceError, match="OPENVERSE_CLIENT_ID with OPENVERSE_CLIENT") as caught:
        list(openverse.search(query()))
    assert "0123456789abcdef" not in repr((caught.value, caught.value.hint, openverse))


def test_a_token_that_is_refused_is_explained(service, web):
    openverse = Openverse.open(web, service.environ_of_account)
    said = {"detail": "The access token is invalid or has expired."}
    service.faults.append(Fault(said, 401, where="/v1/images/"))
    with pytest.raises(SourceError, match="invalid or has expired") as caught:
        list(openverse.search(query()))
    assert "same command" in caught.value.hint


def test_an_answer_without_a_token_is_an_error(service, web):
    service.faults.append(Fault({"token": "x"}, where="/v1/auth_tokens/"))
    with pytest.raises(SourceError, match="access_token"):
        list(Openverse.open(web, service.environ_of_account).search(query()))


def test_half_an_account_is_an_error(web):
    with pytest.raises(SourceError, match="OPENVERSE_CLIENT_SECRET is not"):
        Openverse.open(web, {"OPENVERSE_CLIENT_ID": "x"})


def test_an_argument_is_an_error(web):
    with pytest.raises(SourceError, match="'otter'"):
        Openverse.open(web, {}, "otter")


def test_the_service_itself_is_asked_at_its_own_pace(service, web):
    account = {key: value for key, value in service.environ_of_account.items() if "URL" not in key}
    for environ, pause in (({}, 3.0), (account, 0.6)):
        openverse = Openverse.open(web, environ)
        assert openverse.base_url == "https://api.openverse.org/v1"
        assert openverse.interval_s == pytest.approx(pause)
    assert Openverse.open(web, service.environ).interval_s == 0
    assert CLIENT_SECRET not in repr(Openverse.open(web, account))


def test_pages_keep_the_interval(service, openverse):
    slow = dataclasses.replace(openverse, interval_s=0.1)
    list(slow.search(query()))
    first, second, third = (asked.at for asked in service.asked)
    assert min(second - first, third - second) >= 0.09


def test_an_account_raises_the_limits(service):
    without = Openverse.facts({})
    with_one = Openverse.facts(service.environ_of_account)
    assert (without.page_size, with_one.page_size) == (20, 500)
    assert (without.requests_per_day, with_one.requests_per_day) == (200, 10_000)
    assert without.keys == ()
    assert set(with_one.keys) == set(service.environ_of_account) - set(service.environ)


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_whatever_json_comes_records_or_a_source_error_come_of_it(service, openverse, data):
    pictures = service.world.pictures("otter")[:2]
    right = {"page_count": 1, "page": 1, "results": [service._result(p) for p in pictures]}
    service.faults.clear()
    answer = data.draw(ANY_JSON | spoilt(right))
    service.faults.extend([Fault(answer)] * 30)
    with contextlib.suppress(SourceError):
        records = list(openverse.search(query()))
        assert len({record.source_id for record in records}) == len(records)
        assert all(record.image_url.startswith("http") for record in records)
