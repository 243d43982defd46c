"""A server on the loopback that is as rude as a test wants it to be.

It speaks through bare sockets, since `http.server` is too polite, and writes down who asked what:

    with HostileServer() as server:
        server.on("/otter", reply(status=503), reply(b"{}"))  # the last one is repeated
        ...
        assert [asked.path for asked in server.asked] == ["/otter", "/otter"]
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Asked:
    """A request that came.

    Attributes:
        method: Such as `GET`.
        target: What stood in its first line, with the query.
        headers: In small letters; of a repeated one, the last.
        body: As long as its Content-Length.
        at: When, by `time.monotonic`.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def path(self) -> str:
        """Without the query."""
        return urlsplit(self.target).path


@dataclass
class Line:
    """A connection, as an answer sees it."""

    connection: socket.socket
    closing: threading.Event
    method: str = ""

    def send(self, data: bytes) -> None:
        """Raises `OSError` once the client is gone."""
        self.connection.sendall(data)

    def wait(self, seconds: float) -> None:
        """Raises `ConnectionError` when the server is closed meanwhile."""
        if self.closing.wait(seconds):
            raise ConnectionError("the server is closed")

    def hang_up(self) -> None:
        """End the connection, after what was sent."""
        raise ConnectionError("hung up")

    def reset(self) -> None:
        """End the connection so that the client's system says it was reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionError("reset")


Answer = Callable[[Line], None]


def head(status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The first lines of an answer, up to its body."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def reply(body: bytes = b"", status: int = 200, *headers: tuple[str, str]) -> Answer:
    """A polite answer, to HEAD without the body; the connection stays open."""
    first = head(status, [*headers, ("Content-Length", str(len(body)))])
    return lambda line: line.send(first if line.method == "HEAD" else first + body)


def sent_on(location: str, status: int = 302, *headers: tuple[str, str]) -> Answer:
    """A redirect."""
    return reply(b"", status, ("Location", location), *headers)


def said(data: bytes) -> Answer:
    """These very bytes; the connection stays open."""
    return lambda line: line.send(data)


def said_and_gone(data: bytes) -> Answer:
    """These very bytes, and the end."""

    def answer(line: Line) -> None:
        line.send(data)
        line.hang_up()

    return answer


def reset_at_once(line: Line) -> None:
    """No answer."""
    line.reset()


def silent(line: Line) -> None:
    """No answer either, but the connection stays open."""
    line.wait(60)


def dripping(first: bytes, piece: bytes, every_s: float) -> Answer:
    """Bytes at first, then a piece now and then, for ever."""

    def answer(line: Line) -> None:
        line.send(first)
        while True:
            line.wait(every_s)
            line.send(piece)

    return answer


def endless(first: bytes, piece: bytes) -> Answer:
    """Bytes at first, then pieces as fast as they are taken, for ever."""

    def answer(line: Line) -> None:
        line.send(first)
        while not line.closing.is_set():
            line.send(piece)

    return answer


def after(seconds: float, answer: Answer) -> Answer:
    """The same answer, later."""

    def late(line: Line) -> None:
        line.wait(seconds)
        answer(line)

    return late


@dataclass
class HostileServer:
    """Answers by path; a path that nobody spoke of gets a 404.

    Attributes:
        address: Where it listens.
        port: 0 for any that is free.
        tls: Speaks TLS with this context.
        asked: Every request, in order.
        connections: How many there were, with or without a request.
        most_at_once: Requests that were being answered at the same time.
    """

    address: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((self.address, self.port))
        self.port = self._socket.getsockname()[1]
        self._answers: dict[str, list[Answer]] = {}
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._at_once = 0
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._threads:
            with suppress(OSError):  # a last caller wakes who waits for the next one
                socket.create_connection((self.address, self.port), timeout=1).close()
            self._threads[0].join()
        self._socket.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def listen(self) -> None:
        """Until then, connections are refused."""
        self._socket.listen(64)
        self._start(self._accept)

    def url(self, path: str = "/", host: str = "") -> str:
        """The address of a path, under another name of the host if need be."""
        name = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.tls else 'http'}://{host or name}:{self.port}{path}"

    def on(self, path: str, *answers: Answer) -> str:
        """Answer a path; the last answer is repeated. Gives the URL of the path."""
        self._answers[path] = list(answers)
        return self.url(path)

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [asked.path for asked in self.asked]

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self._closing.is_set():
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        # Whatever the client does to a connection is the test's business.
        with suppress(OSError, ValueError), connection:
            connection.settimeout(30)
            if self.tls is None:
                self._answer_all(connection)
                return
            with self.tls.wrap_socket(connection, server_side=True) as secured:
                self._open.append(secured)  # the connection itself is its own no more
                self._answer_all(secured)

    def _answer_all(self, connection: socket.socket) -> None:
        line = Line(connection, self._closing)
        with connection.makefile("rb") as incoming:
            while first := incoming.readline():
                method, target, _ = first.decode("latin-1").split(" ", 2)
                line.method = method
                headers = {}
                while (row := incoming.readline()) not in {b"\r\n", b""}:
                    name, _, value = row.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = incoming.read(int(headers.get("content-length", 0)))
                with self._lock:
                    self.asked.append(Asked(method, target, headers, body, time.monotonic()))
                    self._at_once += 1
                    self.most_at_once = max(self.most_at_once, self._at_once)
                    answer = self._next_answer(urlsplit(target).path)
                try:
                    answer(line)
                finally:
                    with self._lock:
                        self._at_once -= 1

    def _next_answer(self, path: str) -> Answer:
        answers = self._answers.get(path) or [reply(status=404)]
        return answers.pop(0) if len(answers) > 1 else answers[0]
