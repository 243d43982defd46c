"""Downloads of weights, by the library's own code, from a hub on the loopback."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from clipaudit.errors import EncoderError
from tests.services.hub import PICKLE, SAFE, VITB32, Hub, serve, vitb32_hub  # noqa: F401

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses resource limits")

ROOT = str(Path(__file__).parents[2])

ONE_FILE = """
import json, sys
from pathlib import Path
from clipaudit.encoders.hub import download
from clipaudit.errors import EncoderError
try:
    path = download(sys.argv[1], sys.argv[2].split(","), "pass it by path", offline=OFFLINE)
    print(json.dumps({"path": str(path), "size": path.stat().st_size}))
except EncoderError as error:
    print(json.dumps({"error": str(error), "hint": error.hint}))
"""

NO_SOCKETS = """
import os, sys
def guard(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        os.write(2, f"opened a socket: {event} {args}".encode())
        os._exit(99)
sys.addaudithook(guard)
"""

LOAD = """
import json, sys
import torch
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.errors import EncoderError
try:
    options = EncoderOptions(offline=OFFLINE, backend="torch")
    encoder = load_encoder(sys.argv[1], options)
    side = encoder.info.input.size_px
    views = torch.linspace(0, 1, 2 * 3 * side * side).view(2, 3, side, side)
    made = encoder.embed(views)
    info = encoder.info
    print(json.dumps({"spec": info.spec, "fingerprint": info.fingerprint, "dim": info.dim,
                      "size": side, "mean": info.input.mean, "embedding": made[1].tolist()}))
except EncoderError as error:
    print(json.dumps({"error": str(error), "hint": error.hint}))
"""


def run(code, *arguments, env, offline=False, timeout=120):
    done = subprocess.run(
        [sys.executable, "-c", code.replace("OFFLINE", str(offline)), *arguments],
        env={**os.environ, **env, "PYTHONPATH": ROOT, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def hub():
    with serve() as made:
        yield made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(12 << 20))
    return path


@pytest.fixture(scope="module", autouse=True)
def refused(tmp_path_factory):
    """A download where nobody listens; the library tries for 20 s, so it starts first."""
    home = tmp_path_factory.mktemp("refused")
    env = {**os.environ, **Hub("http://127.0.0.1:9").env(home), "PYTHONPATH": ROOT}
    process = subprocess.Popen(
        [sys.executable, "-c", ONE_FILE.replace("OFFLINE", "False"), VITB32, SAFE],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_the_default_encoder_is_downloaded_once_and_then_needs_no_network(vitb32_hub):  # noqa: F811
    first = run(LOAD, "ViT-B-32/openai", env=vitb32_hub.env)
    assert first["spec"] == "ViT-B-32/openai"
    assert (first["dim"], first["size"]) == (512, 224)
    assert first["mean"] == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    asked = len(vitb32_hub.hub.requests)
    assert asked >= 2  # its head, then its body

    again = run(NO_SOCKETS + LOAD, "ViT-B-32/openai", env=vitb32_hub.env, offline=True)
    assert again == first
    assert len(vitb32_hub.hub.requests) == asked


def test_a_downloaded_encoder_is_the_one_that_open_clip_itself_builds(vitb32_hub):  # noqa: F811
    import open_clip
    import torch

    from clipaudit.encoders.base import EncoderOptions
    from clipaudit.encoders.spec import load_encoder

    path = vitb32_hub.file
    theirs, _, preprocess = open_clip.create_model_and_transforms(
        "ViT-B-32-quickgelu", pretrained=str(path)
    )
    ours = load_encoder(f"ViT-B-32-quickgelu/{path}", EncoderOptions(backend="torch"))
    views = torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    normalised = torch.stack([preprocess.transforms[-1](view) for view in views])
    with torch.no_grad():
        expected = theirs.eval().encode_image(normalised)
    torch.testing.assert_close(ours.embed(views), expected, rtol=1e-4, atol=1e-5)
    # The same weights with another activation are another encoder.
    other = load_encoder(f"ViT-B-32/{path}", EncoderOptions(backend="torch"))
    assert other.info.fingerprint != ours.info.fingerprint


def test_offline_without_weights_opens_no_socket_and_says_what_to_fetch(tmp_path):
    env = Hub("http://hub.example").env(tmp_path)
    got = run(NO_SOCKETS + ONE_FILE, VITB32, f"{SAFE},{PICKLE}", env=env, offline=True)
    assert "--offline" in got["error"]
    assert str(tmp_path) in got["error"]
    assert f"http://hub.example/{VITB32}/resolve/main/{SAFE}" in got["hint"]
    assert "pass it by path" in got["hint"]
    env["HF_HUB_OFFLINE"] = "1"
    assert run(NO_SOCKETS + ONE_FILE, VITB32, f"{SAFE},{PICKLE}", env=env) == got


def test_the_second_name_is_taken_where_the_first_is_missing(hub, file, tmp_path):
    hub.repositories["someone/model"] = {PICKLE: file}
    got = run(ONE_FILE, "someone/model", f"{SAFE},{PICKLE}", env=hub.env(tmp_path))
    assert got["size"] == 12 << 20
    assert got["path"].endswith(PICKLE)


def test_a_repository_without_weights_and_one_that_is_not_there(hub, tmp_path):
    hub.repositories["someone/empty"] = {}
    got = run(ONE_FILE, "someone/empty", f"{SAFE},{PICKLE}", env=hub.env(tmp_path))
    assert got["error"] == f"someone/empty has no {SAFE} nor {PICKLE}"
    got = run(ONE_FILE, "someone/nothing", SAFE, env=hub.env(tmp_path))
    assert "no repository someone/nothing" in got["error"]
    got = run(ONE_FILE, "no//name", SAFE, env=hub.env(tmp_path))
    assert "no name of a repository" in got["error"]


def test_a_broken_connection_is_taken_up_where_it_broke(hub, file, tmp_path):
    hub.repositories["someone/model"] = {SAFE: file}
    hub.breaks = [11 << 20, 0]  # the library writes blocks of 10 MB
    got = run(ONE_FILE, "someone/model", SAFE, env=hub.env(tmp_path))
    assert Path(got["path"]).read_bytes() == file.read_bytes()
    bodies = [one.range for one in hub.requests if one.method == "GET"]
    assert bodies == [None, f"bytes={10 << 20}-", f"bytes={10 << 20}-"]


def test_a_connection_that_breaks_for_ever_leaves_nothing_half(hub, file, tmp_path):
    hub.repositories["someone/model"] = {SAFE: file}
    hub.breaks = [11 << 20] + [0] * 20
    got = run(ONE_FILE, "someone/model", SAFE, env=hub.env(tmp_path))
    assert "broke off" in got["error"]
    assert f"fetch {hub.url}/someone/model/resolve/main/{SAFE}" in got["hint"]
    assert not [one for one in tmp_path.rglob("*") if one != file and "blobs" in one.parent.parts]

    hub.breaks = []
    got = run(ONE_FILE, "someone/model", SAFE, env=hub.env(tmp_path))
    assert Path(got["path"]).read_bytes() == file.read_bytes()


def test_a_full_disk_is_named(hub, file, tmp_path):
    hub.repositories["someone/model"] = {SAFE: file}
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    got = run(limited + ONE_FILE, "someone/model", SAFE, env=hub.env(tmp_path))
    assert "no space is left" in got["error"]
    assert "HF_HOME" in got["hint"]


@pytest.fixture
def fetch(hub, tmp_path, monkeypatch):
    """Download by address, as torchvision's weights are, into a cache of this test."""
    from clipaudit.encoders.hub import download_url

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def by_address(name, *, offline=False, sha256_prefix=None):
        url = f"{hub.url}/someone/model/resolve/main/{name}"
        return download_url(url, "pass it by path", offline=offline, sha256_prefix=sha256_prefix)

    yield by_address
    with warnings.catch_warnings():  # torch.hub leaves its connection to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_file_by_its_address_is_fetched_once(hub, file, fetch):
    hub.repositories["someone/model"] = {"weights.pth": file}
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    path = fetch("weights.pth", sha256_prefix=digest[:8])
    assert path.read_bytes() == file.read_bytes()
    asked = len(hub.requests)
    assert fetch("weights.pth", offline=True) == path
    assert len(hub.requests) == asked


def test_a_file_by_its_address_that_cannot_be_had(hub, file, fetch):
    def refusal(**options):
        with pytest.raises(EncoderError) as caught:
            fetch("weights.pth", **options)
        assert f"{hub.url}/someone/model/resolve/main/weights.pth" in caught.value.hint
        assert "pass it by path" in caught.value.hint
        return str(caught.value)

    assert "offline nothing is downloaded" in refusal(offline=True)
    assert not hub.requests
    assert "404" in refusal()
    hub.repositories["someone/model"] = {"weights.pth": file}
    assert "hash" in refusal(sha256_prefix="00000000")
    assert "cannot download" in refusal(sha256_prefix="00000000")  # what was wrong is not kept


class Canary:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_poisoned_pickle_never_runs(hub, tmp_path):
    canary = tmp_path / "canary"
    poisoned = tmp_path / "poisoned.bin"
    poisoned.write_bytes(pickle.dumps({"state_dict": Canary(canary)}, protocol=2))
    hub.repositories[VITB32] = {PICKLE: poisoned}
    env = {**hub.env(tmp_path / "home"), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    got = run(LOAD, "ViT-B-32/openai", env=env)
    assert "refused" in got["error"]
    assert not canary.exists()
    pickle.loads(poisoned.read_bytes())
    assert canary.exists()  # it does bite where it is let


def test_a_repository_by_its_name(hub, tmp_path, small_open_clip):
    hub.repositories["someone/small"] = {one.name: one for one in small_open_clip.iterdir()}
    got = run(LOAD, "hf-hub:someone/small", env=hub.env(tmp_path / "home"))
    assert (got["spec"], got["dim"], got["size"]) == ("hf-hub:someone/small", 16, 32)


@pytest.fixture
def small_open_clip(tmp_path):
    from tests.made.encoders import open_clip_folder, untouched

    return open_clip_folder(tmp_path / "small", untouched)[0]


def test_nobody_listening_says_so(refused):
    out, err = refused.communicate(timeout=60)
    got = json.loads(out)
    assert "http://127.0.0.1:9 refused the connection" in got["error"]
    assert "Retrying" not in err  # what the hub library says of each attempt is no news
    assert "HF_ENDPOINT is http://127.0.0.1:9" in got["hint"]
    assert "Traceback" not in err
