"""A model hub on the loopback: the part of Hugging Face's protocol that a download uses.

For other tests: `vitb32_hub` is a fixture that gives a hub with ViT-B-32 of OpenAI's true shape
and random weights, and the environment for a subprocess that downloads from it. The weights and
the cache that they are downloaded to are made once a test process:

    from tests.services.hub import vitb32_hub  # noqa: F401

    def test_it(vitb32_hub):
        subprocess.run([...], env={**os.environ, **vitb32_hub.env})
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
VITB32 = "timm/vit_base_patch32_clip_224.openai"
SAFE, PICKLE = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"


@dataclass(frozen=True)
class Request:
    """One request that reached the hub."""

    method: str
    path: str
    range: str | None


@dataclass
class Hub:
    """Repositories by name, each a mapping of file names to files.

    Attributes:
        repositories: What is served.
        requests: Every request so far.
        breaks: After how many bytes the connection of each next body breaks; then none does.
    """

    url: str
    repositories: dict[str, dict[str, Path]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)

    def env(self, home: Path) -> dict[str, str]:
        """The environment of a process that knows this hub alone, and caches in `home`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        }

    def file(self, path: str) -> tuple[str | None, Path | None]:
        """What is wrong, as the hub's X-Error-Code, and the file of a path."""
        repository, _, rest = path.lstrip("/").partition("/resolve/")
        if repository not in self.repositories:
            return "RepoNotFound", None
        found = self.repositories[repository].get(rest.partition("/")[2])
        return (None if found else "EntryNotFound"), found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        asked = self.headers.get("Range")
        self.hub.requests.append(Request(self.command, self.path, asked))
        problem, file = self.hub.file(self.path)
        if file is None:
            self.send_response(404)
            self.send_header("X-Error-Code", str(problem))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = file.stat().st_size
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(size - start))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{_etag(file)}"')
        self.send_header("X-Linked-ETag", f'"{_etag(file)}"')
        self.send_header("X-Linked-Size", str(size))
        self.end_headers()
        if with_body:
            self._send(file, start)

    def _send(self, file: Path, start: int) -> None:
        with file.open("rb") as body:
            body.seek(start)
            if self.hub.breaks:
                self.wfile.write(body.read(self.hub.breaks.pop(0)))
                self.close_connection = True
                return
            shutil.copyfileobj(body, self.wfile, 1 << 20)


def _etag(file: Path) -> str:
    """Any name of the content would do; the true one needs all of 600 MB."""
    with file.open("rb") as body:
        head = body.read(1 << 16)
    return hashlib.sha256(head + str(file.stat().st_size).encode()).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    """An empty hub on a free port of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    hub = Hub(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"hub": hub})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class VitB32Hub:
    """A hub with ViT-B-32/openai, a cache for it, and the file itself."""

    hub: Hub
    home: Path
    file: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that downloads from here, or has done so before."""
        return self.hub.env(self.home)


@functools.cache
def _scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="clipaudit-hub-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def vitb32_file() -> Path:
    """A checkpoint of the true ViT-B-32, both halves, 605 MB, with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, _, _ = open_clip.create_model_and_transforms(
            "ViT-B-32-quickgelu", load_weights=False, pretrained_text=False
        )
    path = _scratch() / SAFE
    save_file(model.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def vitb32_hub() -> Iterator[VitB32Hub]:
    """See the head of this file."""
    with serve() as hub:
        hub.repositories[VITB32] = {SAFE: vitb32_file()}
        yield VitB32Hub(hub, _scratch() / "home", vitb32_file())
