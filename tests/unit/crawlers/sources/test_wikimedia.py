"""Wikimedia Commons against a server that answers like it."""

import contextlib
import logging
from datetime import date

import pytest
from clipaudit_crawlers.base import ImageRecord
from clipaudit_crawlers.fetch import DeferredError, DownloadFailed, RefusedError
from clipaudit_crawlers.sources.wikimedia import Wikimedia
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipaudit.errors import SourceError
from tests.made.queries import ids, query
from tests.services.server import ANY_JSON, Fault, Kept, World, sha1_of, spoilt
from tests.services.wikimedia import WikimediaService, newest_version

SEARCH = {
    "gsrsearch": "filetype:bitmap otter",
    "iiprop": "url|size|sha1|timestamp|extmetadata",
    "iiurlwidth": "960",
}


@pytest.fixture
def service():
    with WikimediaService(World(n_pictures=120)) as running:
        yield running


@pytest.fixture
def wikimedia(service, web):
    return Wikimedia.open(web, service.environ)


def one(service, wikimedia, **said):
    """The record of a page whose extmetadata are what is given, in HTML."""
    picture = service.world.pictures("otter")[0]
    info = service._info(picture, SEARCH)
    info["extmetadata"] = {name: {"value": value} for name, value in said.items()}
    page = {"pageid": 7, "title": "File:Sea otter.v2.jpg", "index": 1, "imageinfo": [info]}
    service.faults.append(Fault({"query": {"pages": [page]}}))
    (record,) = wikimedia.search(query())
    return record


def test_every_picture_of_a_keyword_is_found_once_best_first(service, wikimedia):
    found = [record.source_id for record in wikimedia.search(query())]
    assert found == ids(service.world.pictures("otter"))
    assert len(service.asked) == 3


def test_the_answers_continue_object_is_sent_back_whole(service, wikimedia):
    list(wikimedia.search(query()))
    assert service.values("gsroffset") == [None, "50", "100"]
    assert service.values("continue") == [None, "gsroffset||", "gsroffset||"]
    assert service.values("maxlag") == ["5"] * 3


def test_files_whose_information_comes_in_a_later_answer_are_found_too(service, wikimedia):
    service.infos_per_answer = 20
    found = [record.source_id for record in wikimedia.search(query())]
    assert sorted(found) == sorted(ids(service.world.pictures("otter")))
    assert service.values("iicontinue") == [None, "20", "40", None, "20", "40", None]


def test_a_file_that_comes_again_is_left_out(service, wikimedia):
    page = service._found({**SEARCH, "gsrlimit": "50"})
    page["continue"]["gsroffset"] = 30
    service.faults.append(Fault(page))
    found = [record.source_id for record in wikimedia.search(query())]
    assert found == ids(service.world.pictures("otter"))


def test_a_limit_stops_the_paging(service, wikimedia):
    assert len(list(wikimedia.search(query(limit=50)))) == 50
    assert len(list(wikimedia.search(query(limit=51)))) == 51
    assert service.values("gsroffset") == [None, None, "50"]


def test_nothing_is_asked_before_a_record_is_wanted(service, wikimedia):
    assert list(wikimedia.search(query(limit=0))) == []
    next(wikimedia.search(query()))
    assert len(service.asked) == 1


def test_a_search_that_goes_on_for_ever_is_left(service, wikimedia):
    again = {"gsroffset": 50, "continue": "gsroffset||"}
    service.faults.extend([Fault({"continue": again, "query": {"pages": []}})] * 9)
    assert list(wikimedia.search(query())) == []
    assert len(service.asked) == 2


def test_a_search_ends_at_the_depth_of_the_service(service, wikimedia):
    service.world = World(n_pictures=30)
    page = service._found({**SEARCH, "gsrlimit": "50"})
    deep = {"gsroffset": 10_000, "continue": "gsroffset||"}
    service.faults.append(Fault({**page, "continue": deep}))
    assert len(list(wikimedia.search(query()))) == 30
    assert len(service.asked) == 1


def test_a_record_says_what_the_service_says(service, wikimedia):
    picture = next(p for p in service.world.pictures("otter") if p.author and p.license == "by-sa")
    record = list(wikimedia.search(query()))[picture.rank]
    page_url = f"{service.url}/wiki/File%3AOtter_no._{picture.rank}_{picture.number}.jpg"
    license_url = "https://creativecommons.org/licenses/by-sa/4.0"
    user = picture.author.replace(" ", "_")
    assert record == ImageRecord(
        source="wikimedia",
        source_id=str(picture.number),
        image_url=service.picture_url(picture),
        page_url=page_url,
        title=picture.title,
        author=picture.author,
        author_url=f"https://commons.wikimedia.org/wiki/User:{user}",
        license="by-sa",
        license_version="4.0",
        license_url=license_url,
        credit=f'"{picture.title}" by {picture.author} ({page_url}), CC BY-SA 4.0 ({license_url})',
        uploaded=newest_version(picture).isoformat(timespec="seconds"),
        taken=record.taken,
        width_px=picture.width,
        height_px=picture.height,
        size_bytes=len(picture.jpeg()),
        sha1=sha1_of(picture),
    )


def test_wide_pictures_come_as_thumbnails_without_the_hash_of_the_original(service, wikimedia, web):
    service.world = World(n_pictures=1, side_px=1600)
    (record,) = wikimedia.search(query())
    (picture,) = service.world.pictures("otter")
    assert (record.width_px, record.sha1, record.size_bytes) == (960, None, None)
    assert record.height_px == round(picture.height * 960 / picture.width)
    assert web.download(record.image_url).data == picture.jpeg(960)
    with pytest.raises(DownloadFailed, match="429"):  # why it has to be so
        web.download(service.picture_url(picture))


def test_a_file_without_a_thumbnail_is_left_out(service, wikimedia):
    page = service._found({**SEARCH, "gsrlimit": "2"})
    del page["query"]["pages"][0]["imageinfo"][0]["thumburl"]
    service.faults.append(Fault({**page, "continue": {}}))
    (record,) = wikimedia.search(query())
    assert record.source_id == str(page["query"]["pages"][1]["pageid"])


@pytest.mark.parametrize("licenses", [("cc0",), ("by", "BY-SA"), ("pdm",)])
def test_only_pictures_under_the_licences_are_found(service, wikimedia, licenses):
    wanted = {name.lower() for name in licenses}
    found = [record.source_id for record in wikimedia.search(query(licenses=licenses))]
    assert found == ids(p for p in service.world.pictures("otter") if p.license in wanted)
    assert found


def test_only_what_was_put_online_in_that_time_is_found(service, wikimedia):
    since, before = date(2010, 1, 1), date(2018, 7, 1)
    records = list(wikimedia.search(query(uploaded_from=since, uploaded_before=before)))
    expected = [
        picture
        for picture in service.world.pictures("otter")
        if since <= picture.uploaded.date() and newest_version(picture).date() < before
    ]
    assert [record.source_id for record in records] == ids(expected)
    assert service.values("gsrsearch")[0] == (
        "filetype:bitmap otter creationdate:>=2010-01-01 creationdate:<2018-07-01"
    )


@pytest.mark.parametrize(
    ("stamp", "fits"),
    [
        ("2010-01-01T00:00:00Z", True),
        ("2009-12-31T23:59:59Z", False),
        ("2018-06-30T23:59:59Z", True),
        ("2018-07-01T00:00:00Z", False),
        ("yesterday", False),
    ],
)
def test_a_time_begins_with_its_first_day_and_ends_before_its_last(service, wikimedia, stamp, fits):
    page = service._found({**SEARCH, "gsrlimit": "1"})
    page["query"]["pages"][0]["imageinfo"][0]["timestamp"] = stamp
    service.faults.append(Fault({**page, "continue": {}}))
    when = {"uploaded_from": date(2010, 1, 1), "uploaded_before": date(2018, 7, 1)}
    assert len(list(wikimedia.search(query(**when)))) == fits


def test_an_old_file_with_a_new_version_is_not_new(service, wikimedia):
    since = date(2012, 1, 1)
    renewed = [
        picture
        for picture in service.world.pictures("otter")
        if picture.uploaded.date() < since <= newest_version(picture).date()
    ]
    found = [record.source_id for record in wikimedia.search(query(uploaded_from=since))]
    assert renewed
    assert not set(found) & set(ids(renewed))


def test_a_file_without_a_time_is_left_out_where_time_matters(service, wikimedia):
    page = service._found({**SEARCH, "gsrlimit": "2"})
    del page["query"]["pages"][0]["imageinfo"][0]["timestamp"]
    service.faults.extend([Fault({**page, "continue": {}})] * 2)
    assert len(list(wikimedia.search(query()))) == 2
    assert len(list(wikimedia.search(query(uploaded_before=date(2027, 1, 1))))) == 1


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("2019-05-04 12:33:10", "2019-05-04T12:33:10"),
        ("2019-05-04T12:33:10Z", "2019-05-04T12:33:10"),
        ("2019:05:04 12:33:10", "2019-05-04T12:33:10"),
        ("2019-05-04", "2019-05-04"),
        ("2014-07-12 (<span>according to <b>Exif</b> data</span>)", "2014-07-12"),
        ('<time class="dtstart" datetime="2013-07-27">27 July 2013</time>', "2013-07-27"),
        ('<div style="display: none;">date QS:P571</div>2013-07-27', "2013-07-27"),
        *(("1984", None), ("2012-06", None), ("circa 2012-06-01", None), ("2012-06-31", None)),
        *(("2012-06-011", None), ("June 2012", None), ("", None), (2012, None), (None, None)),
    ],
)
def test_the_day_of_the_shot_is_read_where_it_is_a_day(service, wikimedia, said, taken):
    assert one(service, wikimedia, DateTimeOriginal=said).taken == taken


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ({"LicenseShortName": "CC BY 2.0 de"}, ("by", "2.0")),
        ({"LicenseShortName": "Public domain"}, ("pdm", None)),
        ({"LicenseShortName": "<b>CC0</b>", "License": "cc0"}, ("cc0", "1.0")),
        ({"License": "cc-by-sa-3.0"}, ("by-sa", "3.0")),
        ({"LicenseShortName": "FAL"}, ("FAL", None)),
        ({}, (None, None)),
    ],
)
def test_licences_are_read_as_short_ids(service, wikimedia, said, known):
    record = one(service, wikimedia, **said)
    assert (record.license, record.license_version) == known


def test_the_name_that_an_author_asks_for_is_in_the_credit(service, wikimedia):
    record = one(service, wikimedia, Artist="<i>ann1</i>", Attribution="<b>Ann Lee</b> / x.org")
    assert record.author == "ann1"
    assert "by Ann Lee / x.org (" in record.credit


def test_a_file_without_a_title_is_called_by_its_name(service, wikimedia):
    assert one(service, wikimedia).title == "Sea otter.v2"


def test_an_empty_array_of_php_is_an_empty_object(service, wikimedia):
    page = service._found({**SEARCH, "gsrlimit": "1"})
    page["query"]["pages"][0]["imageinfo"][0]["extmetadata"] = []
    service.faults.append(Fault({**page, "continue": []}))
    (record,) = wikimedia.search(query())
    assert record.author is None


def test_a_keyword_without_pictures_ends_at_once(service, wikimedia):
    service.world = World(n_pictures=0)
    assert list(wikimedia.search(query())) == []
    assert len(service.asked) == 1


@pytest.mark.parametrize("code", ["maxlag", "ratelimited", "readonly"])
def test_a_service_that_is_busy_is_asked_again(service, wikimedia, code):
    error = {"code": code, "info": "Waiting for 10.0.0.1: 6.2 seconds lagged.", "lag": 6.2}
    service.faults.append(Fault({"error": error}, headers={"Retry-After": "5"}))
    assert len(list(wikimedia.search(query()))) == 120
    assert service.values("gsroffset") == [None, None, "50", "100"]


def test_a_service_that_stays_busy_is_left_for_later(service):
    error = {"error": {"code": "maxlag", "info": "Waiting for <b>10.0.0.1</b>"}}
    service.faults.extend([Fault(error)] * 9)
    with service.web(tries=3) as web:
        wikimedia = Wikimedia.open(web, service.environ)
        with pytest.raises(DeferredError, match=r"Waiting for 10\.0\.0\.1"):
            list(wikimedia.search(query()))
    assert len(service.asked) == 3


def test_a_limit_with_its_time_is_kept(service, wikimedia):
    service.faults.append(Fault("<h1>Too many requests</h1>", 429, {"Retry-After": "0"}))
    service.faults.append(Fault(drops=True))
    assert len(list(wikimedia.search(query()))) == 120


def test_an_error_is_quoted_and_not_kept(service):
    archive = Kept()
    error = {"code": "cirrussearch-bad", "info": "An error occurred: <i>regex</i>"}
    service.faults.append(Fault({"error": error}))
    with service.web(archive) as web:
        wikimedia = Wikimedia.open(web, service.environ)
        with pytest.raises(SourceError, match=r"occurred: regex \(cirrussearch-bad\)") as caught:
            list(wikimedia.search(query("insource:/(/")))
        assert "operators" in caught.value.hint
        assert not archive


@pytest.mark.parametrize(
    "body",
    [
        *("<html>sign in</html>", "", "null", "[]", "3"),
        *(
            {},
            {"warnings": {}},
            {"query": 3},
            {"query": {"pages": {"7": {}}}},
            {"query": {}, "continue": 3},
        ),
        {"query": {"pages": [{"title": "no id"}, {"pageid": "x"}]}},
        {"error": "maxlag"},
    ],
)
def test_what_is_not_its_format_is_an_error_in_a_sentence(service, wikimedia, body):
    service.faults.extend([Fault(body)] * 9)
    with pytest.raises(SourceError, match="Wikimedia Commons") as caught:
        list(wikimedia.search(query()))
    assert caught.value.hint.endswith(".")


def test_an_odd_file_is_left_out_but_not_its_page(service, wikimedia):
    page = service._found({**SEARCH, "gsrlimit": "3"})
    pages = page["query"]["pages"]
    pages[0]["imageinfo"] = {"url": "x"}
    pages[1]["imageinfo"][0]["size"] = "large"
    service.faults.append(Fault({**page, "continue": {}, "query": {"pages": [None, 3, *pages]}}))
    records = list(wikimedia.search(query()))
    assert {record.source_id for record in records} == {str(p["pageid"]) for p in pages[1:]}
    assert {record.size_bytes is None for record in records} == {True, False}


def test_warnings_are_logged(service, wikimedia, caplog):
    service.warnings = {"search": {"warnings": "Unrecognized\nparameter"}}
    with caplog.at_level(logging.WARNING):
        list(wikimedia.search(query(limit=1)))
    assert "Unrecognized" in caplog.text


@pytest.mark.parametrize("contact", ["", "  ", "Ann", "a@b", "https://", "ftp://example.org"])
def test_a_way_to_reach_you_has_to_be_there(web, contact):
    with pytest.raises(SourceError, match="CLIPAUDIT_CONTACT is") as caught:
        Wikimedia.open(web, {"CLIPAUDIT_CONTACT": contact})
    assert "CLIPAUDIT_CONTACT=you@example.org" in caught.value.hint
    assert "openverse" in caught.value.hint


@pytest.mark.parametrize("contact", ["ann@example.org", "https://example.org/ann", " a@b.cd\n"])
def test_an_address_or_a_page_is_a_way_to_reach_you(web, contact):
    wikimedia = Wikimedia.open(web, {"CLIPAUDIT_CONTACT": contact})
    assert wikimedia.base_url == "https://commons.wikimedia.org/w/api.php"
    assert wikimedia.interval_s > 0
    assert wikimedia.busy_s >= 5


def test_a_client_that_does_not_say_whom_to_write_to_is_turned_away(service):
    with service.web(user_agent="clipaudit") as web:
        wikimedia = Wikimedia.open(web, service.environ)
        with pytest.raises(RefusedError, match="403"):
            list(wikimedia.search(query()))


def test_an_argument_is_an_error(web, service):
    with pytest.raises(SourceError, match="'otter'"):
        Wikimedia.open(web, service.environ, "otter")


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_whatever_json_comes_records_or_a_source_error_come_of_it(service, wikimedia, data):
    right = {**service._found({**SEARCH, "gsrlimit": "2"}), "continue": {}}
    service.faults.clear()
    answer = data.draw(ANY_JSON | spoilt(right))
    service.faults.extend([Fault(answer)] * 30)
    with contextlib.suppress(SourceError):
        records = list(wikimedia.search(query(uploaded_from=date(2005, 1, 1))))
        assert len({record.source_id for record in records}) == len(records)
        assert all(record.image_url.startswith("http") for record in records)
