"""A service on the loopback, the pictures that it knows, and the faults that it serves first.

In a test:

    with FlickrService(World(n_pictures=60, missing=0.1)) as service, service.web() as web:
        flickr = Flickr.open(web, service.environ)
        ...
        assert service.values("page") == ["1", "2"]
        assert max(service.hits.values()) == 1     # no picture was fetched twice

For a subprocess, its `environ` is all that a client needs; or the service is the subprocess, and
prints the address of its API as its first line:

    python -m tests.services.openverse --port 0 --pictures 60 --missing 0.1

A `World` says what there is to find. Everything in it follows from its fields: the same world has
the same pictures, to the byte, in every process, so a service may be stopped and started again in
the middle of a run (with the same port). Its pictures are JPEG files of smooth fields of colour,
which differ from each other far more than near duplicates may.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import socket
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b, sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import numpy as np
from clipaudit_crawlers.fetch import Web
from clipaudit_crawlers.web.config import WebConfig
from hypothesis import strategies as st
from PIL import Image

if TYPE_CHECKING:
    from clipaudit_crawlers.fetch import PageArchive

LICENSES = (("by", "2.0"), ("by-sa", "4.0"), ("cc0", "1.0"), ("by-nc", "4.0"), ("pdm", "1.0"))
"""What a world's pictures are under, in turn."""

_FROM, _UNTIL = datetime(2006, 1, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Picture:
    """One picture of a world.

    Attributes:
        keyword: What finds it; `*` for one that every keyword finds.
        rank: Its place among those of its keyword, from 0.
        number: Its id, for services that number their pictures.
        title: What it is called; with markup for services that have markup in titles.
        author: Who made it; None for some.
        license: An id such as `by-sa`.
        version: Of the licence.
        uploaded: Spread over twenty years.
        taken: Some days before that; None for some.
        width: In pixels.
        height: In pixels.
        is_missing: Whether its address is dead.
        paint: The seed of its pixels; two pictures with one paint have the same bytes.
    """

    keyword: str
    rank: int
    number: int
    title: str
    author: str | None
    license: str
    version: str
    uploaded: datetime
    taken: datetime | None
    width: int
    height: int
    is_missing: bool
    paint: int

    @property
    def key(self) -> str:
        return f"{self.keyword}/{self.rank}"

    def jpeg(self, width: int | None = None) -> bytes:
        """The file, in its own width, or in another one."""
        width = min(width or self.width, self.width)
        return paint(self.paint, width, max(1, round(self.height * width / self.width)))


@dataclass(frozen=True)
class World:
    """What there is to find.

    Attributes:
        n_pictures: How many pictures a keyword has.
        n_of: How many certain keywords have instead: pairs of keyword and count.
        missing: Share of pictures whose address is dead.
        shared: Share of a keyword's pictures that every other keyword finds too, under one id.
        copied: Share of pictures that are the one before them again, under another id.
        side_px: Mean of a picture's longer side; they vary by a quarter up and down.
        seed: Of everything.
    """

    n_pictures: int = 60
    n_of: tuple[tuple[str, int], ...] = ()
    missing: float = 0.0
    shared: float = 0.0
    copied: float = 0.0
    side_px: int = 320
    seed: int = 0

    def pictures(self, keyword: str) -> tuple[Picture, ...]:
        """What a keyword finds, best first."""
        return _pictures(self, keyword.strip().lower())

    def picture(self, keyword: str, rank: int) -> Picture | None:
        """One picture by its key."""
        if keyword == "*":
            return _picture(self, keyword, rank)
        found = self.pictures(keyword)
        return found[rank] if 0 <= rank < len(found) else None


@lru_cache(maxsize=64)
def _pictures(world: World, keyword: str) -> tuple[Picture, ...]:
    count = dict(world.n_of).get(keyword, world.n_pictures)
    found: list[Picture] = []
    for rank in range(count):
        kind = _dice(world, "kind", keyword, rank).random()
        if kind < world.shared:
            found.append(_picture(world, "*", rank))
            continue
        picture = _picture(world, keyword, rank)
        if found and kind < world.shared + world.copied:
            last = found[-1]
            same = {"paint": last.paint, "width": last.width, "height": last.height}
            picture = Picture(**{**vars(picture), **same})
        found.append(picture)
    return tuple(found)


@lru_cache(maxsize=20_000)
def _picture(world: World, keyword: str, rank: int) -> Picture:
    dice = _dice(world, "picture", keyword, rank)
    number = int(dice.integers(10**9, 10**11))
    uploaded = _FROM + timedelta(seconds=int(dice.random() * (_UNTIL - _FROM).total_seconds()))
    taken = uploaded - timedelta(seconds=int(dice.integers(60, 30 * 86_400)))
    long, short = world.side_px * dice.uniform(0.75, 1.25), dice.uniform(0.6, 1.0)
    sides = max(8, round(long)), max(8, round(long * short))
    width, height = sides if dice.random() < 0.7 else sides[::-1]
    license_id, version = LICENSES[number % len(LICENSES)]
    return Picture(
        keyword=keyword,
        rank=rank,
        number=number,
        title=f"{'thing' if keyword == '*' else keyword.title()} no. {rank}",
        author=None if number % 11 == 0 else f"Author {number % 97}",
        license=license_id,
        version=version,
        uploaded=uploaded,
        taken=None if number % 7 == 0 else taken,
        width=width,
        height=height,
        is_missing=bool(dice.random() < world.missing),
        paint=number,
    )


def _dice(world: World, *what: object) -> np.random.Generator:
    key = blake2b(repr((world.seed, *what)).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(key))


@lru_cache(maxsize=512)
def paint(seed: int, width: int, height: int) -> bytes:
    """A JPEG file of a smooth field of colour; the same at every size, but for its detail."""
    field_of_colour = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = Image.fromarray(field_of_colour).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    return file.getvalue()


@dataclass(frozen=True)
class Asked:
    """A request that came.

    Attributes:
        path: Without the query, as it was sent.
        query: Of the URL.
        form: Of the body, for POST.
        headers: Their names in small letters.
        at: When, in seconds of a monotonic clock.
    """

    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]
    at: float


@dataclass(frozen=True)
class Answer:
    """What a service says.

    Attributes:
        body: Bytes, text, or anything that becomes JSON.
        status: The HTTP status.
        headers: Besides those that every answer has.
    """

    body: object = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault(Answer):
    """An answer that is served once, before the right ones.

    Attributes:
        drops: Whether the connection is closed without a word instead.
        where: The first path that starts with this gets it; the API is at `Service.api`,
            pictures are at `/pictures/`.
    """

    drops: bool = False
    where: str = "/"


class Service:
    """A service with an API and pictures, on a port of the loopback.

    Attributes:
        world: What it knows; may be replaced while it runs.
        faults: What it serves first.
        asked: Requests to the API, in the order in which they came.
        hits: How often each picture was sent, or found missing; by `Picture.key`.
        picture_requests: Requests for pictures, in order.
    """

    api: ClassVar[str]
    """The path of its API."""
    title: ClassVar[str]

    def __init__(self, world: World = World(), port: int = 0) -> None:
        self.world = world
        self.faults: deque[Fault] = deque()
        self.asked: list[Asked] = []
        self.picture_requests: list[Asked] = []
        self.hits: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.service = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        """The root, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}{self.api}"

    @property
    def environ(self) -> dict[str, str]:
        """Variables that send a client here, with the keys that are good here."""
        raise NotImplementedError

    def answer(self, asked: Asked) -> Answer:
        """The right answer to a request of the API."""
        raise NotImplementedError

    def sends_picture(self, asked: Asked, picture: Picture, width: int) -> Answer:
        """The answer to a request for a picture in a width that the service has made a URL of."""
        if picture.is_missing:
            return Answer("<h1>404 Not Found</h1>", 404)
        return Answer(picture.jpeg(width))

    def web(self, archive: PageArchive | None = None, **settings: Any) -> Web:
        """The way here: it may ask the loopback, says who it is, and does not wait for long."""
        patient = {"allow_private": True, "backoff_s": 0.01, "user_agent": "test (a@example.org)"}
        return Web(WebConfig(**{**patient, **settings}), archive)

    def values(self, name: str) -> list[str | None]:
        """What a parameter was in each request to the API."""
        return [asked.query.get(name) for asked in self.asked]

    def picture_url(self, picture: Picture, width: int | None = None) -> str:
        keyword = quote(picture.keyword, safe="*")
        return f"{self.url}/pictures/{keyword}/{picture.rank}/{width or picture.width}.jpg"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handle(self, asked: Asked) -> Answer:
        """What is sent: a fault that waits, a picture, or an answer of the API."""
        is_picture = asked.path.startswith("/pictures/")
        with self._lock:
            (self.picture_requests if is_picture else self.asked).append(asked)
            for fault in self.faults:
                if asked.path.startswith(fault.where):
                    self.faults.remove(fault)
                    return fault
        if not is_picture:
            return self.answer(asked)
        try:
            _, _, keyword, rank, name = asked.path.split("/")
            picture = self.world.picture(unquote(keyword), int(rank))
            width = int(name.removesuffix(".jpg"))
        except ValueError:
            picture, width = None, 0
        if picture is None:
            return Answer("<h1>404 Not Found</h1>", 404)
        with self._lock:
            self.hits[picture.key] += 1
        return self.sends_picture(asked, picture, width)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    service: Service

    def handle_error(self, request: Any, client_address: object) -> None:
        """A client that goes away is nothing that a test has to see; a bug of ours is."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 30
    wbufsize = 65_536  # head and body leave together
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self._serve(dict(parse_qsl(self.rfile.read(length).decode())))

    def _serve(self, form: dict[str, str]) -> None:
        parts = urlsplit(self.path)
        asked = Asked(
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            form=form,
            headers={name.lower(): value for name, value in self.headers.items()},
            at=time.monotonic(),
        )
        answer = self.server.service.handle(asked)
        if isinstance(answer, Fault) and answer.drops:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = answer.body
        if isinstance(body, bytes):
            kind = "image/jpeg"
        elif isinstance(body, str):
            kind, body = "text/html; charset=utf-8", body.encode()
        else:
            kind, body = "application/json", json.dumps(body).encode()
        self.send_response(answer.status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass


class Kept(dict[str, bytes]):
    """A `PageArchive` in memory."""

    def read(self, key: str) -> bytes | None:
        return self.get(key)

    def write(self, key: str, answer: bytes) -> None:
        self[key] = answer


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spoilt(draw: st.DrawFn, answer: Any) -> Any:
    """A right answer in which some parts are missing, or are any other JSON."""
    answer = json.loads(json.dumps(answer))
    for _ in range(draw(st.integers(1, 3))):
        above: Any = None
        key, here = None, answer
        while isinstance(here, dict | list) and here and draw(st.integers(0, 3)):
            keys = list(here) if isinstance(here, dict) else range(len(here))
            above, key = here, draw(st.sampled_from(keys))
            here = above[key]
        if above is None:
            answer = draw(ANY_JSON)
        elif draw(st.booleans()):
            del above[key]
        else:
            above[key] = draw(ANY_JSON)
    return answer


def sha1_of(picture: Picture) -> str:
    return sha1(picture.jpeg()).hexdigest()


def main(service_class: type[Service], argv: list[str] | None = None) -> None:
    """Serve until stopped; the first line of standard output is the address of the API."""
    parser = argparse.ArgumentParser(description=service_class.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    parser.add_argument("--pictures", type=int, default=60, help="how many a keyword has")
    parser.add_argument(
        "--of", action="append", default=[], metavar="KEYWORD=COUNT", help="another count for one"
    )
    parser.add_argument("--missing", type=float, default=0.0, help="share of dead addresses")
    parser.add_argument("--shared", type=float, default=0.0, help="share that every keyword finds")
    parser.add_argument("--copied", type=float, default=0.0, help="share that is there twice")
    parser.add_argument("--side", type=int, default=320, help="mean longer side in pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    counts = (text.partition("=") for text in options.of)
    world = World(
        n_pictures=options.pictures,
        n_of=tuple((keyword.lower(), int(count)) for keyword, _, count in counts),
        missing=options.missing,
        shared=options.shared,
        copied=options.copied,
        side_px=options.side,
        seed=options.seed,
    )
    with service_class(world, options.port) as service:
        print(service.api_url, flush=True)
        for name, value in service.environ.items():
            print(f"{name}={value}", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
