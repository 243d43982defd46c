"""A `Web` that is in a hurry, a rude server, and a key that must not be seen.

Every `Web` that `make_web` gives holds `CANARY`, with all logging on. No log line, no kept answer
and no exception that `failure` sees may hold it, however it is spelled.
"""

from __future__ import annotations

import io
import json
import logging
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clipaudit_crawlers.fetch import Web
from clipaudit_crawlers.web.config import WebConfig

from tests.made.canary import CANARY, assert_no_key
from tests.services.hostile import HostileServer

HASTY = {
    "allow_private": ("127.0.0.1/32",),
    "connect_timeout_s": 1.0,
    "read_timeout_s": 0.5,
    "total_timeout_s": 0.8,
    "slow_grace_s": 0.2,
    "backoff_s": 0.01,
    "longest_wait_s": 2.0,
    "most_image_bytes": 1_000_000,
    "most_answer_bytes": 1_000_000,
}


@dataclass(frozen=True)
class FolderArchive:
    """A `PageArchive` of files."""

    folder: Path

    def read(self, key):
        path = self.folder / key
        return path.read_bytes() if path.exists() else None

    def write(self, key, answer):
        self.folder.mkdir(exist_ok=True)
        (self.folder / key).write_bytes(answer)

    def answers(self):
        return [json.loads(path.read_bytes()) for path in sorted(self.folder.glob("*"))]


@pytest.fixture
def server():
    with HostileServer() as server:
        yield server


@pytest.fixture
def archive(tmp_path):
    return FolderArchive(tmp_path / "pages")


@pytest.fixture
def make_web(server, archive):
    """Makes a `Web` for which `server` is a host of the internet, and checks what it leaves."""
    root, log, opened = logging.getLogger(), io.StringIO(), []
    handler, level = logging.StreamHandler(log), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)

    def make(**changes):
        config = WebConfig(**{**HASTY, "ports": (server.port,), **changes})
        opened.append(Web(config, archive, [CANARY]))
        return opened[-1]

    try:
        yield make
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for web in opened:
            web.close()
    assert_no_key(log.getvalue())
    for path in archive.folder.glob("*"):
        assert_no_key(path.name + path.read_text())


@pytest.fixture
def web(make_web):
    return make_web()


@dataclass
class Names:
    """A DNS of one's own, in the place of the system's resolver.

    Attributes:
        known: Name → its address at each look-up, the last one repeated; others do not exist.
        asked: Every name that was looked up.
    """

    known: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def names(monkeypatch):
    names, resolve = Names(), socket.getaddrinfo

    def look_up(host, *arguments, **options):
        names.asked.append(host)
        if host in names.known:
            addresses = names.known[host]
            host = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        elif host[-1].isalpha():
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names
