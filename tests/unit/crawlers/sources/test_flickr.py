"""Flickr against a server that answers like it."""

import contextlib
from datetime import UTC, date, datetime

import pytest
from clipaudit_crawlers.base import ImageRecord
from clipaudit_crawlers.fetch import DeferredError
from clipaudit_crawlers.sources.flickr import Flickr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clipaudit.errors import SourceError
from tests.made.queries import ids, query
from tests.services.flickr import FlickrService, fails, has_url, number_of
from tests.services.server import ANY_JSON, Fault, Kept, World, spoilt

FREE = ("by", "by-sa", "cc0", "pdm")
SEARCH = "flickr.photos.search"
MANY = World(n_pictures=12_000)
"""More than two queries of Flickr's give."""
EXTRAS = {"license", "owner_name", "date_upload", "date_taken", "url_l", "url_c", "url_z", "url_o"}


@pytest.fixture
def service():
    with FlickrService(World(n_pictures=300)) as running:
        yield running


@pytest.fixture
def flickr(service, web):
    return Flickr.open(web, service.environ)


def free(service, keyword="otter"):
    """What a keyword finds under a free licence, in a size that may be taken."""
    return [p for p in service.world.pictures(keyword) if p.license in FREE and has_url(p)]


def searches(service):
    return [asked.query for asked in service.asked if asked.query["method"] == SEARCH]


def one(service, flickr, **photo):
    """The record of a photograph with these fields instead of the usual ones."""
    picture = next(p for p in free(service) if p.number % 2 and p.number % 40 > 1)
    raw = {**service._photo(picture, EXTRAS), **photo}
    raw = {name: value for name, value in raw.items() if value is not ...}
    page = {"page": 1, "pages": 1, "perpage": 100, "total": 1, "photo": [raw]}
    list(flickr.search(query(limit=1)))  # the licences are known from here on
    service.faults.append(Fault({"photos": page, "stat": "ok"}))
    return list(flickr.search(query()))


def test_every_picture_under_a_free_licence_is_found_once_best_first(service, flickr):
    found = [record.source_id for record in flickr.search(query(limit=100))]
    assert found == ids(free(service))[:100]
    assert [asked["page"] for asked in searches(service)] == ["1", "2"]
    assert {asked["license"] for asked in searches(service)} == {"4,5,9,10,11,12"}


def test_a_limit_stops_the_paging(service, flickr):
    assert len(list(flickr.search(query(limit=80)))) == 80
    assert len(searches(service)) == 1
    assert len(list(flickr.search(query(limit=300)))) == len(free(service)) < 300
    assert [asked["per_page"] for asked in searches(service)] == ["100", "500"]


def test_nothing_is_asked_before_a_record_is_wanted(service, flickr):
    assert list(flickr.search(query(limit=0))) == []
    records = flickr.search(query())
    assert service.asked == []
    next(records)
    assert len(service.asked) == 2


def test_licences_are_asked_for_once_a_run(service, flickr):
    for keyword in ("otter", "cat", "dog"):
        next(flickr.search(query(keyword)))
    methods = service.values("method")
    assert methods == ["flickr.photos.licenses.getInfo", SEARCH, SEARCH, SEARCH]


@pytest.mark.parametrize(
    ("licenses", "numbers"),
    [
        (("by-nc",), {"2", "14"}),
        (("BY", "cc0"), {"4", "11", "9"}),
        (("no known copyright restrictions",), {"7"}),
        (("all rights reserved", "gfdl"), {"0"}),
    ],
)
def test_licences_are_asked_for_by_flickrs_numbers(service, flickr, licenses, numbers):
    found = [record.source_id for record in flickr.search(query(licenses=licenses))]
    there = service.world.pictures("otter")
    assert found == ids(p for p in there if number_of(p) in numbers and has_url(p))
    assert {frozenset(asked["license"].split(",")) for asked in searches(service)} == {
        frozenset(numbers)
    }


def test_licences_that_flickr_does_not_know_are_an_error(service, flickr):
    with pytest.raises(SourceError, match="no pictures under gfdl") as caught:
        list(flickr.search(query(licenses=("GFDL",))))
    assert "by-nc-sa" in caught.value.hint
    assert searches(service) == []


def test_a_record_says_what_the_service_says(service, flickr):
    picture = next(
        p for p in free(service) if p.author and p.taken and p.number % 13 and p.license == "by"
    )
    record = next(r for r in flickr.search(query()) if r.source_id == str(picture.number))
    owner = f"{picture.number % 10**8}@N0{picture.number % 9}"
    page_url = f"https://www.flickr.com/photos/{owner}/{picture.number}"
    license_url = "https://creativecommons.org/licenses/by/2.0/"
    assert record == ImageRecord(
        source="flickr",
        source_id=str(picture.number),
        image_url=service.picture_url(picture),
        page_url=page_url,
        title=picture.title,
        author=picture.author,
        author_url=f"https://www.flickr.com/photos/{owner}",
        license="by",
        license_version="2.0",
        license_url=license_url,
        credit=f'"{picture.title}" by {picture.author} ({page_url}), CC BY 2.0 ({license_url})',
        uploaded=picture.uploaded.isoformat(timespec="seconds"),
        taken=f"{picture.taken:%Y-%m-%dT%H:%M:%S}",
        width_px=picture.width,
        height_px=picture.height,
    )


def test_the_day_of_the_shot_is_none_where_flickr_does_not_know_it(service, flickr):
    unknown = {str(p.number) for p in free(service) if p.taken is None}
    records = list(flickr.search(query()))
    assert unknown
    assert {r.source_id for r in records if r.taken is None} == unknown


@pytest.mark.parametrize(
    ("photo", "taken"),
    [
        ({"datetakengranularity": "4"}, None),
        ({"datetakengranularity": 8}, None),
        ({"datetakenunknown": 1}, None),
        ({"datetaken": "0000-00-00 00:00:00"}, None),
        ({"datetaken": 3}, None),
        ({"datetaken": "2020-02-29 01:02:03", "datetakengranularity": ...}, "2020-02-29T01:02:03"),
    ],
)
def test_the_day_of_the_shot_is_read_where_it_is_exact(service, flickr, photo, taken):
    (record,) = one(service, flickr, **{"datetaken": "2020-01-01 00:00:00", **photo})
    assert record.taken == taken


@pytest.mark.parametrize(("missing", "width"), [("", 1024), ("l", 800), ("lc", 640), ("lcz", 1600)])
def test_the_original_is_taken_only_where_there_is_nothing_else(service, flickr, missing, width):
    sizes = {"l": 1024, "c": 800, "z": 640, "o": 1600}
    photo = {
        f"{part}_{letter}": ... if letter in missing else value
        for letter, size in sizes.items()
        for part, value in (("url", f"https://x.org/{size}.jpg"), ("width", size))
    }
    (record,) = one(service, flickr, **photo)
    assert (record.image_url, record.width_px) == (f"https://x.org/{width}.jpg", width)


def test_a_photograph_in_no_size_that_may_be_taken_is_left_out(service, flickr):
    assert one(service, flickr, url_l=..., url_c=None, url_z="", url_o=...) == []


def test_a_licence_with_an_unknown_number_keeps_it(service, flickr):
    (record,) = one(service, flickr, license=99)
    assert (record.license, record.license_version, record.license_url) == ("99", None, None)


def test_an_empty_title_is_none(service, flickr):
    (record,) = one(service, flickr, title="", ownername=" ")
    assert (record.title, record.author) == (None, None)
    assert record.credit.startswith("This picture (https://www.flickr.com/photos/")


@pytest.mark.parametrize("photo", [{"owner": "../..?x=1#"}, {"id": "1/../2"}])
def test_no_id_leads_out_of_its_page(service, flickr, photo):
    (record,) = one(service, flickr, **photo)
    assert record.page_url.count("/") == 5
    assert not set("?#") & set(record.page_url)


def test_a_total_may_be_text(service, flickr):
    service.total_is_text = True
    assert len(list(flickr.search(query(limit=90)))) == 90


def test_only_what_was_put_online_in_that_time_is_found(service, flickr):
    since, before = date(2010, 1, 1), date(2018, 7, 1)
    records = flickr.search(query(uploaded_from=since, uploaded_before=before))
    expected = [p for p in free(service) if since <= p.uploaded.date() < before]
    assert [record.source_id for record in records] == ids(expected)
    (asked,) = searches(service)
    day = datetime(2018, 7, 1, tzinfo=UTC).timestamp()
    assert asked["max_upload_date"] == str(int(day) - 1)


def test_time_is_looked_at_even_where_the_service_does_not(service, flickr):
    service.ignores_dates = True
    since = date(2018, 7, 1)
    found = [record.source_id for record in flickr.search(query(uploaded_from=since))]
    assert found == ids(p for p in free(service) if p.uploaded.date() >= since)


def test_up_to_4000_hits_one_query_is_enough(service, flickr):
    service.world = MANY
    found = [record.source_id for record in flickr.search(query(limit=3800))]
    assert found == ids(free(service))[:3800]
    assert len(searches(service)) <= 8
    assert not any("min_upload_date" in asked for asked in searches(service))


def all_of_many():
    """Every record of a large keyword, and what was asked for them."""
    with FlickrService(MANY) as service, service.web() as web:
        records = list(Flickr.open(web, service.environ).search(query(limit=20_000)))
        return records, searches(service)


def test_beyond_4000_hits_the_rest_is_found_in_slices_of_time_always_the_same(service):
    service.world = MANY
    records, asked = all_of_many()
    found, there = [record.source_id for record in records], ids(free(service))
    assert len(there) > 2 * 4000
    assert sorted(found) == sorted(there)  # all, none twice
    hits = [p for p in MANY.pictures("otter") if p.license in FREE][:4000]
    best = ids(p for p in hits if has_url(p))
    assert found[: len(best)] == best
    assert len(asked) < 40
    assert {query["per_page"] for query in asked} == {"500"}
    assert_no_gap(asked)
    again, asked_again = all_of_many()
    assert [record.source_id for record in again] == found  # another day as well
    assert asked_again == asked


def assert_no_gap(asked):
    """The smallest ranges of time that were asked for follow each other to the second."""
    whole, *slices = [
        (query.get("min_upload_date"), query.get("max_upload_date"))
        for query in asked
        if query["page"] == "1"
    ]
    assert whole == (None, None)
    ranges = [(int(start), int(end)) for start, end in slices]
    holds = [[a <= c and d <= b for c, d in ranges].count(True) for a, b in ranges]
    smallest = sorted(each for each, n_within in zip(ranges, holds, strict=True) if n_within == 1)
    ends, starts = [end for _, end in smallest], [start for start, _ in smallest]
    assert [end + 1 for end in ends[:-1]] == starts[1:]
    assert datetime.fromtimestamp(starts[0], UTC) < datetime(2004, 2, 10, tzinfo=UTC)  # it opened
    assert ends[-1] == 2**31 - 1


def test_slices_stay_within_the_time_that_was_asked_for(service, flickr):
    service.world = MANY
    since, before = date(2010, 1, 1), date(2020, 1, 1)
    records = flickr.search(query(limit=30_000, uploaded_from=since, uploaded_before=before))
    expected = [p for p in free(service) if since <= p.uploaded.date() < before]
    assert len(expected) > 4000
    assert sorted(record.source_id for record in records) == sorted(ids(expected))


def test_a_service_that_does_not_keep_to_slices_is_not_asked_for_ever(service, flickr):
    service.world = MANY
    service.ignores_dates = True
    kept = [p for p in service.world.pictures("otter") if p.license in FREE][:4000]
    found = [record.source_id for record in flickr.search(query(limit=30_000))]
    assert found == ids(p for p in kept if has_url(p))
    assert len(searches(service)) < 20


def test_more_pictures_of_one_second_than_a_query_gives_are_not_asked_for_ever(service, flickr):
    page = {"page": 1, "pages": 1, "perpage": 500, "total": 5000, "photo": []}
    photo = service._photo(service.world.pictures("otter")[1], EXTRAS)
    page["photo"] = [photo]
    list(flickr.search(query(limit=1)))
    service.faults.extend([Fault({"photos": page, "stat": "ok"})] * 300)
    assert len(list(flickr.search(query(limit=5000)))) == 1
    assert len(searches(service)) < 100


def test_a_keyword_without_pictures_ends_at_once(service, flickr):
    service.world = World(n_pictures=0)
    assert list(flickr.search(query())) == []
    assert len(searches(service)) == 1


def test_an_empty_page_is_the_last(service, flickr):
    next(flickr.search(query(limit=1)))
    empty = {"page": 1, "pages": 9, "perpage": 500, "total": 4500, "photo": []}
    service.faults.append(Fault({"photos": empty, "stat": "ok"}))
    assert list(flickr.search(query())) == []


@pytest.mark.parametrize("code", [10, 105, 106])
def test_a_service_that_is_busy_is_asked_again(service, flickr, code):
    service.faults.append(Fault(fails(code, "Service currently unavailable").body))
    assert len(list(flickr.search(query(limit=20)))) == 20


def test_a_service_that_is_not_available_is_asked_again_whatever_its_code(service, flickr):
    said = "Sorry, the Flickr API service is not currently available."
    service.faults.append(Fault(fails(201, said).body))
    assert len(list(flickr.search(query(limit=20)))) == 20


def test_a_service_that_stays_busy_is_left_for_later(service):
    service.faults.extend([Fault(fails(105, "Service currently unavailable").body)] * 9)
    with service.web(tries=2) as web, pytest.raises(DeferredError, match="currently unavailable"):
        list(Flickr.open(web, service.environ).search(query()))
    assert len(service.asked) == 2


def test_a_limit_with_its_time_is_kept(service, flickr):
    service.faults.append(Fault("Too many requests", 429, {"Retry-After": "0"}))
    service.faults.append(Fault(drops=True))
    service.faults.append(Fault("<h1>502</h1>", 502))
    assert len(list(flickr.search(query(limit=20)))) == 20


def test_a_wrong_key_is_named_but_not_shown(service, web):
    flickr = Flickr.open(web, {**service.environ, "FLICKR_API_KEY": "0123456789abcdef"})
    with pytest.raises(SourceError, match="FLICKR_API_KEY: Invalid API Key") as caught:
        list(flickr.search(query()))
    assert "flickr.com/services" in caught.value.hint
    assert "0123456789abcdef" not in repr((caught.value, caught.value.hint, flickr))


def test_an_error_is_quoted_with_its_code_and_not_kept(service):
    archive = Kept()
    service.faults.append(Fault(fails(3, "Parameterless <b>searches</b> have been disabled").body))
    with service.web(archive) as web:
        with pytest.raises(SourceError, match=r"Parameterless searches have .* \(code 3\)"):
            list(Flickr.open(web, service.environ).search(query()))
        assert not archive


def test_kept_answers_are_enough_and_hold_no_key(service):
    archive = Kept()
    with service.web(archive) as web:
        before = list(Flickr.open(web, service.environ).search(query()))
    assert b"good-key" not in b"".join(archive.values())
    with service.web(archive, offline=True) as web:
        environ = {**service.environ, "FLICKR_API_KEY": "another"}
        assert list(Flickr.open(web, environ).search(query())) == before


@pytest.mark.parametrize(
    "body",
    [
        *("<html>sign in</html>", "", "null", "[]", "3", "jsonFlickrApi({})", {}),
        *({"stat": "ok"}, {"stat": "ok", "licenses": {"license": None}}, {"stat": 3}),
        {"stat": "fail", "code": "x"},
    ],
)
def test_what_is_not_its_format_is_an_error_in_a_sentence(service, flickr, body):
    service.faults.extend([Fault(body)] * 9)
    with pytest.raises(SourceError, match="Flickr") as caught:
        list(flickr.search(query()))
    assert caught.value.hint.endswith(".")


def test_odd_photographs_are_left_out_but_not_their_page(service, flickr):
    raw = [service._photo(picture, EXTRAS) for picture in free(service)[:2]]
    without_owner = {key: value for key, value in raw[1].items() if key != "owner"}
    odd = [{**raw[1], "id": None}, without_owner, None, 3, {**raw[1], "dateupload": "x"}]
    page = {"page": 1, "pages": 1, "perpage": 100, "total": 7, "photo": [raw[0], *odd, raw[1]]}
    list(flickr.search(query(limit=1)))
    service.faults.append(Fault({"photos": page, "stat": "ok"}))
    found = [record.source_id for record in flickr.search(query())]
    assert found == [raw[0]["id"], raw[1]["id"]]


def test_a_page_of_nothing_but_odd_photographs_is_an_error(service, flickr):
    list(flickr.search(query(limit=1)))
    page = {"total": 2, "photo": [{"id": "1"}, {"id": "2"}]}
    service.faults.append(Fault({"photos": page, "stat": "ok"}))
    with pytest.raises(SourceError, match="owner"):
        list(flickr.search(query()))


@pytest.mark.parametrize("environ", [{}, {"FLICKR_API_KEY": ""}])
def test_a_key_has_to_be_there(web, environ):
    with pytest.raises(SourceError, match="FLICKR_API_KEY") as caught:
        Flickr.open(web, environ)
    for word in ("https://www.flickr.com/services/", "openverse", "wikimedia", "folder"):
        assert word in caught.value.hint


def test_an_argument_is_an_error(web, service):
    with pytest.raises(SourceError, match="'otter'"):
        Flickr.open(web, service.environ, "otter")


def test_the_service_itself_is_asked_at_its_own_pace(web):
    flickr = Flickr.open(web, {"FLICKR_API_KEY": "x"})
    assert flickr.base_url == "https://api.flickr.com/services/rest/"
    assert flickr.interval_s == 1.0


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_whatever_json_comes_records_or_a_source_error_come_of_it(service, web, data):
    photos = [service._photo(picture, EXTRAS) for picture in free(service)[:2]]
    page = {"page": 1, "pages": 1, "perpage": 100, "total": 5000, "photo": photos}
    right = {"photos": page, "stat": "ok"}
    licenses = {"license": [{"id": 4, "name": "CC BY 2.0", "url": None}]}
    service.faults.clear()
    told = data.draw(spoilt({"licenses": licenses, "stat": "ok"}) | st.none())
    if told is not None:
        service.faults.append(Fault(told))
    else:
        service.faults.append(Fault({"licenses": licenses, "stat": "ok"}))
    service.faults.extend([Fault(data.draw(ANY_JSON | spoilt(right)))] * 200)
    with contextlib.suppress(SourceError):
        records = list(Flickr.open(web, service.environ).search(query(limit=5000)))
        assert len({record.source_id for record in records}) == len(records)
        assert all(record.image_url.startswith("http") for record in records)
