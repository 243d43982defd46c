"""What holds for every source, asked over real sockets, or reading real files."""

import json
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from clipaudit_crawlers import SOURCES
from clipaudit_crawlers.base import ImageRecord, Query
from clipaudit_crawlers.fetch import Web
from clipaudit_crawlers.licenses import LICENSES
from clipaudit_crawlers.web.config import WebConfig
from PIL import Image

from clipaudit.cli.app import main
from clipaudit.errors import ClipAuditError, SourceError
from clipaudit.evaluation_sets.sources import source_names, source_type
from tests.made.examples import entry, example
from tests.services.brave import BraveService
from tests.services.flickr import FlickrService
from tests.services.google import GoogleService
from tests.services.openverse import OpenverseService
from tests.services.pictures import PicturesService, write_folder, write_list
from tests.services.serpapi import SerpApiService
from tests.services.server import Answer, Fault, Service, World
from tests.services.wikimedia import WikimediaService

WORLD = World(
    n_pictures=130, n_of=(("nothing", 0), ("seal", 3)), side_px=64, shared=0.1, copied=0.1
)
KEYWORDS = ("otter", "seal")
AT_ONCE = WebConfig(
    user_agent="clipaudit tests (someone@example.org)",
    allow_private=True,
    tries=2,
    backoff_s=0.01,
)


@dataclass(frozen=True)
class Case:
    """A source as it is used.

    Attributes:
        name: Of the source.
        service: Who is asked; None for one that asks nobody.
        ending: Of the list that it reads.
        account: Whether keys that are no must are given.
    """

    name: str
    service: type[Service] | None = None
    ending: str = ""
    account: bool = False

    def __str__(self):
        kind = self.ending or (self.service.title.lower() if self.service else "")
        return " ".join(filter(None, (self.name, kind, "account" if self.account else "")))


SERVICES = (
    Case("openverse", OpenverseService),
    Case("openverse", OpenverseService, account=True),
    Case("wikimedia", WikimediaService),
    Case("flickr", FlickrService),
    Case("google", GoogleService),
    Case("google", SerpApiService),
    Case("brave", BraveService),
)
FILES = (
    Case("urls", ending=".csv"),
    Case("urls", ending=".tsv"),
    Case("urls", ending=".parquet"),
    Case("folder"),
)
CASES = SERVICES + FILES
EVERY = pytest.mark.parametrize("running", CASES, ids=str, indirect=True)
ONLINE = pytest.mark.parametrize("running", SERVICES, ids=str, indirect=True)


class Kept(dict):
    """A `PageArchive` in memory."""

    read = dict.get
    write = dict.__setitem__


class Running:
    """A case at work.

    Attributes:
        environ: With its keys.
        argument: What stands behind the colon.
        service: Who is asked; for files, the site that their addresses lead to.
        web: The way there; a new one for each test.
    """

    def __init__(self, case, service, folder):
        self.kind = source_type(case.name)
        self.service = service
        self.environ = service.environ_of_account if case.account else service.environ
        self.argument = ""
        if case.ending:
            self.argument = str(write_list(folder / f"list{case.ending}", service.rows(KEYWORDS)))
        elif case.name == "folder":
            self.argument = str(write_folder(folder / "pictures", service.world, KEYWORDS))
        self.facts = self.kind.facts(self.environ)
        self.web: Any = None

    def open(self, web=None):
        return self.kind.open(web or self.web, self.environ, self.argument)

    def search(self, keyword="otter", limit=40, web=None, **more):
        return self.open(web).search(Query(keyword=keyword, limit=limit, **more))

    @property
    def n_asked(self):
        """Requests, but for those of a token."""
        return sum("token" not in asked.path for asked in self.service.asked)

    def fails(self, *answers):
        """Let the next searches be answered so."""
        where = "/v1/images/" if self.kind.name == "openverse" else "/"
        for answer in answers:
            self.service.faults.append(Fault(**{**vars(answer), "where": where}))


@pytest.fixture(scope="module")
def running(request, tmp_path_factory):
    case = request.param
    with (case.service or PicturesService)(WORLD) as service:
        yield case, Running(case, service, tmp_path_factory.mktemp(case.name))


@pytest.fixture
def case(running):
    return running[0]


@pytest.fixture
def at_work(running):
    work = running[1]
    work.service.asked.clear()
    work.service.faults.clear()
    with Web(AT_ONCE) as work.web:
        yield work


def test_every_source_is_tried_here():
    assert {case.name for case in CASES} == set(source_names())


def text_names(answer):
    """The names of all fields of an answer that hold text."""
    if isinstance(answer, list):
        return {name for item in answer for name in text_names(item)}
    if not isinstance(answer, dict):
        return set()
    own = {name for name, item in answer.items() if isinstance(item, str)}
    return own | {name for item in answer.values() for name in text_names(item)}


def with_halves(answer, field):
    """The answer with half of a character in every text of one field."""
    if isinstance(answer, list):
        return [with_halves(item, field) for item in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        name: f"{item}\ud800"
        if name == field and isinstance(item, str)
        else with_halves(item, field)
        for name, item in answer.items()
    }


# --- facts ---------------------------------------------------------------------------------------


@EVERY
def test_its_facts_hang_together(case, at_work):
    facts = at_work.facts
    assert at_work.kind.name == case.name
    assert facts.title.strip()
    assert facts.page_size >= 1
    assert facts.typical_bytes >= 0
    assert facts.extra_requests >= 0
    for limit in (facts.requests_per_minute, facts.requests_per_day, facts.most_per_keyword):
        assert limit is None or limit > 0
    assert facts.most_per_keyword is None or facts.most_per_keyword >= facts.page_size
    if facts.keys:
        assert facts.keys_from.startswith("https://")
        assert set(facts.keys) <= set(at_work.environ)
    assert facts.notice is None or facts.notice.endswith(".")
    assert at_work.n_asked == 0, "facts ask nobody"


@ONLINE
def test_its_module_says_where_that_is_written_and_what_is_not_certain(case, at_work):
    engine = getattr(at_work.open(), "engine", at_work.open())
    text = sys.modules[type(engine).__module__].__doc__
    assert text is not None
    assert re.search(r"^As of 20\d\d-\d\d; https://", text, re.MULTILINE)
    assert re.search("Not confirmed|Second-hand", text)


@ONLINE
def test_without_a_key_it_says_which_one_and_where_it_is_to_be_had(case, at_work):
    for key in at_work.facts.keys:
        environ = {name: value for name, value in at_work.environ.items() if name != key}
        with pytest.raises(SourceError) as caught:
            at_work.kind.open(at_work.web, environ)
        assert key in str(caught.value) + caught.value.hint
        assert at_work.facts.keys_from in caught.value.hint
        assert "openverse" in caught.value.hint, "names one that needs none"
        for value in environ.values():
            assert value not in str(caught.value) + caught.value.hint
    assert at_work.n_asked == 0


@EVERY
def test_what_stands_behind_the_colon_is_needed_or_refused(case, at_work, tmp_path):
    wrong = str(tmp_path / "not-there") if at_work.argument else "otter"
    for argument in (wrong, "") if at_work.argument else (wrong,):
        with pytest.raises(ClipAuditError) as caught:
            at_work.kind.open(at_work.web, at_work.environ, argument)
        assert argument in str(caught.value)
        assert f"--source {case.name}" in caught.value.hint


# --- paging --------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("limit", [0, 1, 7, 60])
def test_a_limit_stops_the_paging(case, at_work, limit):
    records = at_work.search(limit=limit)
    assert at_work.n_asked == 0, "nobody is asked before the first record is"
    assert len(list(records)) == limit
    # Some results are no use, so that a page more may be needed.
    pages = -(-limit // at_work.facts.page_size)
    assert (
        at_work.n_asked <= pages + (limit > at_work.facts.page_size) + at_work.facts.extra_requests
    )


@EVERY
def test_no_page_is_read_before_its_records_are_wanted(case, at_work):
    records = at_work.search(limit=1000)
    next(records)
    assert at_work.n_asked <= 1 + at_work.facts.extra_requests


@EVERY
def test_where_there_are_no_more_it_ends(case, at_work):
    everything = list(at_work.search(limit=100_000))
    found = at_work.service.world.pictures("otter")
    most = min(len(found), at_work.facts.most_per_keyword or len(found))
    assert 0.6 * most <= len(everything) <= most
    assert len(list(at_work.search("seal", limit=100_000))) <= 3


@EVERY
def test_where_nothing_is_found_nothing_comes(case, at_work, caplog):
    assert list(at_work.search("nothing")) == []


@EVERY
def test_the_best_come_first(case, at_work):
    ranks = [int(match[1]) for one in at_work.search(limit=30) if (match := rank_of(one))]
    assert len(ranks) == 30
    assert ranks == sorted(ranks)


def rank_of(record):
    return re.search(r"/(\d+)(?:/\d+)?\.jpg$", record.image_url)


# --- records -------------------------------------------------------------------------------------


@EVERY
def test_no_record_comes_twice(case, at_work):
    records = list(at_work.search(limit=100_000))
    assert len({record.source_id for record in records}) == len(records)
    assert len({record.image_url for record in records}) == len(records)


@EVERY
def test_the_same_query_gives_the_same_records(case, at_work):
    assert list(at_work.search(limit=100)) == list(at_work.search(limit=100))


@EVERY
def test_a_smaller_limit_gives_the_beginning_of_the_same(case, at_work):
    assert list(at_work.search(limit=5)) == list(at_work.search(limit=50))[:5]


@EVERY
def test_a_record_holds_plain_words_and_numbers(case, at_work):
    records = list(at_work.search(limit=100_000))
    for record in records:
        assert isinstance(record, ImageRecord)
        assert record.source == case.name
        for name in (field.name for field in fields(record)):
            value = getattr(record, name)
            if name.endswith(("_px", "_bytes")):
                assert value is None or (type(value) is int and value > 0), name
            else:
                assert value is None or (type(value) is str and value.strip()), name
                assert value is None or value.isprintable(), name
                assert not re.search(r"</?[a-z]|&[a-z]+;|&#", value or ""), (name, value)
        for name in ("image_url", "page_url", "author_url", "license_url"):
            url = getattr(record, name)
            schemes = {"http", "https", "file"} if name == "image_url" else {"http", "https"}
            assert url is None or urlsplit(url).scheme in schemes
        for moment in (record.uploaded, record.taken):
            assert moment is None or datetime.fromisoformat(moment)
    assert any(record.title for record in records)


@EVERY
def test_what_it_says_of_a_picture_is_true_of_the_file(case, at_work):
    for record in at_work.search(limit=12):
        data = read(record, at_work.web)
        with Image.open(BytesIO(data)) as picture:
            assert record.width_px in {None, picture.width}
            assert record.height_px in {None, picture.height}
        assert record.size_bytes in {None, len(data)}
        for kind in ("sha256", "md5", "sha1"):
            said = getattr(record, kind)
            assert said is None or said == digest(kind, data)


def read(record, web):
    if record.image_url.startswith("file:"):
        return Path(unquote_to_bytes(urlsplit(record.image_url).path).decode()).read_bytes()
    return web.download(record.image_url).data


def digest(kind, data):
    import hashlib

    return hashlib.new(kind, data, usedforsecurity=False).hexdigest()


# --- what a query may ask for --------------------------------------------------------------------

SINCE, BEFORE = date(2012, 3, 4), date(2018, 5, 6)


@EVERY
@pytest.mark.parametrize(
    "names", ["uploaded_from", "uploaded_before", "uploaded_from uploaded_before"]
)
def test_a_time_is_kept_to_or_refused(case, at_work, names):
    asked = {
        name: {"uploaded_from": SINCE, "uploaded_before": BEFORE}[name] for name in names.split()
    }
    if not at_work.facts.gives_upload_dates:
        with pytest.raises(SourceError) as caught:
            at_work.search(**asked)
        able = {name for name in source_names() if source_type(name).facts({}).gives_upload_dates}
        assert able <= set(re.findall(r"\w+", caught.value.hint))
        return
    records = list(at_work.search(limit=1000, **asked))
    assert records
    for record in records:
        day = datetime.fromisoformat(record.uploaded).date()
        assert asked.get("uploaded_from", day) <= day
        assert day < asked.get("uploaded_before", date.max)


@EVERY
def test_licences_are_kept_to_or_refused(case, at_work):
    wanted = ("by-sa", "cc0")
    if not at_work.facts.takes_licenses:
        with pytest.raises(SourceError) as caught:
            at_work.search(licenses=wanted)
        able = {name for name in source_names() if source_type(name).facts({}).takes_licenses}
        assert able & set(re.findall(r"\w+", caught.value.hint))
        return
    if not at_work.facts.gives_licenses:  # a filter that the service applies, as its tests show
        return
    records = list(at_work.search(limit=1000, licenses=wanted))
    assert {record.license for record in records} == set(wanted)


@EVERY
def test_who_gives_licences_gives_one_with_every_record(case, at_work):
    if at_work.facts.gives_licenses:
        assert {record.license for record in at_work.search()} <= set(LICENSES)
    else:
        assert {record.license for record in at_work.search()} == {None}


# --- keys, and a run without network -------------------------------------------------------------


@ONLINE
def test_its_keys_are_nowhere_to_be_seen(case, at_work):
    kept = Kept()
    with Web(AT_ONCE, kept) as web:
        source = at_work.open(web)
        records = list(source.search(Query(keyword="otter", limit=30)))
        at_work.service.faults.append(Fault({"error": at_work.environ}, 400))
        with pytest.raises(SourceError) as caught:
            list(source.search(Query(keyword="seal", limit=30)))
    assert kept
    said = repr((source, records, kept, caught.value, caught.value.args, caught.value.hint))
    for key in at_work.facts.keys:
        assert at_work.environ[key] not in said


@ONLINE
def test_what_was_kept_gives_the_same_records_offline(case, at_work):
    kept = Kept()
    with Web(AT_ONCE, kept) as web:
        first = list(at_work.search(limit=60, web=web))
    n_asked = at_work.n_asked
    offline = WebConfig(offline=True)
    with Web(offline, kept) as web:
        assert list(at_work.search(limit=60, web=web)) == first
        with pytest.raises(SourceError, match="offline"):
            list(at_work.search("seal", web=web))
    assert at_work.n_asked == n_asked


# --- services that fail --------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    [],
    {},
    {"unexpected": True},
    42,
    "text",
    None,
    [[]],
    {"results": 5, "items": 5},
)


@ONLINE
def test_an_answer_of_another_shape_is_an_error_and_not_kept(case, at_work):
    kept = Kept()
    for body in ODD:
        at_work.service.faults.clear()
        at_work.fails(*[Answer(body)] * 3)
        with Web(AT_ONCE, kept) as web, pytest.raises(SourceError) as caught:
            pytest.fail(f"{body} gave {len(list(at_work.search(web=web)))} records")
        assert caught.value.hint
        assert not kept


REFUSALS = (
    Answer("<h1>It works!</h1>"),
    Answer("<h1>500</h1>", 500),
    Answer({"error": {}}, 403),
    Answer({"error": "no"}, 404),
    Answer({"error": ["no"]}, 429),
    Answer([], 503, {"Retry-After": "86400"}),
)


@ONLINE
def test_a_refusal_is_an_error_with_a_next_step(case, at_work):
    for answer in REFUSALS:
        at_work.service.faults.clear()
        at_work.fails(*[answer] * 3)
        with Web(AT_ONCE) as web, pytest.raises(SourceError) as caught:
            pytest.fail(f"{answer} gave {len(list(at_work.search(web=web)))} records")
        assert str(caught.value)
        assert caught.value.hint.endswith(".")


@ONLINE
def test_a_service_that_hangs_up_once_is_asked_again(case, at_work):
    expected = list(at_work.search())
    at_work.fails(Fault(drops=True))
    assert list(at_work.search()) == expected
    assert not at_work.service.faults


# --- one of your own -----------------------------------------------------------------------------


class ToyService(PicturesService):
    """A site that answers a search with a plain list of addresses."""

    api = "/toys"

    def answer(self, asked):
        keyword = asked.query.get("q", "")
        return Answer([self.picture_url(picture) for picture in self.world.pictures(keyword)])


def test_a_new_source_is_one_module_and_one_line(tmp_path, monkeypatch, capsys):
    name, place = entry(example("source").install(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SOURCES, name, place)
    command = ["build-eval", "-k", "otter,seal", "-s", "museum", "-o", str(tmp_path / "set")]
    with ToyService(WORLD) as service:
        monkeypatch.setenv("MUSEUM_URL", f"{service.url}/toys")
        with pytest.raises(SystemExit, match="0"):
            main([*command, "--dry-run"])
        assert "Toys are for everybody." in capsys.readouterr().out
        with pytest.raises(SystemExit, match="0"):
            main([*command, "--per-keyword", "2", "--nonmembers", "none", "--allow-private"])
    assert len(list((tmp_path / "set" / "members").glob("*.png"))) == 4
    assert "Toy Museum" in (tmp_path / "set" / "README.md").read_text()
    with pytest.raises(SystemExit, match="2"):
        main(["build-eval", "-k", "otter", "-s", "musem"])
    assert "Did you mean museum?" in capsys.readouterr().err


@ONLINE
def test_halves_of_characters_in_an_answer_are_replaced(case, at_work):
    kept = Kept()
    with Web(AT_ONCE, kept) as web:
        whole = list(at_work.search(limit=9, web=web))
    pages = [json.loads(page) for page in kept.values()]
    n_found = 0
    for name in sorted(text_names(pages)):
        at_work.service.faults.clear()
        at_work.fails(*(Answer(json.dumps(with_halves(page, name))) for page in pages))
        found = []
        with suppress(SourceError):  # what says that all is well may say nothing any more
            found = list(at_work.search(limit=9))
        assert len(found) <= len(whole)
        n_found += len(found)
        for record in found:
            for field in fields(record):
                assert str(getattr(record, field.name)).encode()
    assert n_found > len(whole)
