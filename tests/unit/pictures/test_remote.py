"""Pictures at addresses: a store and servers on the loopback, and whatever they do."""

import os
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from clipaudit.captions.sidecars import SidecarCaptions
from clipaudit.errors import UsageError
from clipaudit.pictures import addresses, remote
from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.reading import hash_file, opened, read_file
from tests.made.present import present
from tests.made.score_runs import draw_pictures
from tests.made.shards import samples, write_parquet, write_shard, write_zip
from tests.services.hostile import (
    HostileServer,
    head,
    reply,
    reset_at_once,
    said,
    said_and_gone,
    silent,
)
from tests.services.object_store import object_store, upload

LIMITS = Limits()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pictures as files, and in an archive of each kind."""
    folder = tmp_path_factory.mktemp("made") / "set"
    files = [path.read_bytes() for path in draw_pictures(folder / "loose", 4)]
    captions = [f"picture {number}" for number in range(4)]
    write_shard(folder / "a.tar", samples(files, captions, ending="png"))
    write_zip(folder / "b.zip", samples(files, ending="png"))
    write_parquet(folder / "c.parquet", files, text=captions)
    (folder / "loose" / "0001.txt").write_text("an otter")
    (folder / "loose" / ".hidden.png").write_bytes(files[0])
    return folder


@pytest.fixture(scope="module")
def bucket(folder):
    """The variables that lead to a store, and its client; the folder is in bucket `pictures`."""
    with object_store() as (client, environment):
        upload(client, "pictures", folder)
        yield client, environment


@pytest.fixture
def fresh(monkeypatch):
    """No connection and no copy is left from before."""
    copies = remote._Copies()
    monkeypatch.setattr(remote, "_copies", copies)
    remote._open_store.cache_clear()
    yield
    remote._open_store.cache_clear()
    copies.close()


@pytest.fixture
def store(bucket, fresh, monkeypatch):
    client, environment = bucket
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return client


@pytest.fixture
def server(fresh):
    with HostileServer() as server:
        yield server


@pytest.fixture
def quick(monkeypatch):
    """Servers are given a fraction of the time."""
    for name in ("_CONNECT_S", "_SILENCE_S", "_PATIENCE_S"):
        monkeypatch.setattr(remote, name, 0.3)


def contents(*paths, below="", **options):
    """Names below a folder, and what is there or why it is not."""
    return [
        (file.path.removeprefix(os.fspath(below)), file.problem or read(file))
        for file in find_images(paths, **options)
    ]


def read(file):
    try:
        return read_file(file.path, LIMITS, file.place)
    except BadImage as problem:
        return problem


def reason_of(address, limits=LIMITS):
    with pytest.raises(BadImage) as caught:
        read_file(address, limits)
    assert "127.0.0.1" not in caught.value.explanation
    return caught.value


# --- a store ---


def test_a_set_in_a_store_has_the_files_of_its_folder(store, folder):
    here = contents(folder, below=folder)
    assert len(here) == 17
    there = contents("s3://pictures/set", below="s3://pictures/set")
    assert there == here
    assert contents("S3a://pictures/", below="S3a://pictures/set") == here
    hidden = contents("s3://pictures/set", below="s3://pictures/set", include_hidden=True)
    assert len(hidden) == 18


def test_what_is_named_twice_is_listed_once(store):
    file, below = "s3://pictures/set/loose/0001.png", "s3://pictures/set/loose"
    for paths in ([file, below, file], [below, file, below + "/"]):
        assert len([*find_images(paths)]) == 5


def test_a_picture_in_a_remote_archive_can_be_named(store, folder):
    names = ["a.tar/000000002.png", "b.zip/000000002.png", "c.parquet#2/2.png"]
    wanted = (folder / "loose" / "0002.png").read_bytes()
    for name in names:
        assert contents(f"s3://pictures/set/{name}") == [(f"s3://pictures/set/{name}", wanted)]
    assert hash_file(f"s3://pictures/set/{names[0]}") == hash_file(folder / "loose" / "0002.png")


@pytest.mark.parametrize(
    "address", ["s3://nowhere/a", "s3://pictures/none", "s3://pictures/set/a.tar/9.png", "s3:///a"]
)
def test_what_is_not_there_is_missing(store, address):
    (found,) = find_images([address])
    assert (found.path, present(found.problem).reason) == (address, "missing")


def test_a_bucket_without_objects_is_empty(store):
    store.create_bucket(Bucket="bare")
    (found,) = find_images(["s3://bare"])
    assert present(found.problem).reason in {"empty", "missing"}


def test_without_credentials_a_store_says_so(fresh, bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket[1]["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (found,) = find_images(["s3://pictures/set"])
    assert "no credentials were found" in present(found.problem).explanation


def test_a_shard_that_changes_between_two_looks_is_not_read_at_the_old_places(
    store, folder, monkeypatch
):
    store.put_object(Bucket="pictures", Key="x/a.tar", Body=(folder / "a.tar").read_bytes())
    found = [*find_images(["s3://pictures/x/a.tar"])]
    other = (folder / "a.tar").read_bytes()[:-1] + b"\0\0\0"
    store.put_object(Bucket="pictures", Key="x/a.tar", Body=other)
    assert isinstance(read(found[0]), bytes)  # the copy of before
    again = [*find_images(["s3://pictures/x/a.tar"])]
    assert again[0].place != found[0].place
    assert read(found[0]).reason == "changed"
    assert isinstance(read(again[0]), bytes)


def test_a_few_copies_are_kept_and_those_fetched_again_are_the_same(store, monkeypatch):
    monkeypatch.setattr(remote, "_MOST_COPIES", 2)
    found = [*find_images(["s3://pictures/set/a.tar", "s3://pictures/set/b.zip"])]
    before = [read(file) for file in found]
    with opened("s3://pictures/set/a.tar") as descriptor:
        assert contents("s3://pictures/set/loose")
        folder = Path(present(remote._copies._folder))
        assert len([*folder.iterdir()]) == 2
        assert os.fstat(descriptor).st_nlink == 0
        assert os.read(descriptor, 10)
    assert [read(file) for file in found] == before
    assert folder.stat().st_mode & 0o077 == 0


def test_captions_lie_beside_remote_pictures(store):
    captions = SidecarCaptions()
    below = "s3://pictures/set"
    wanted = {
        "/loose/0001.png": ("an otter",),
        "/loose/0002.png": (),
        "/a.tar/000000003.png": ("picture 3",),
        "/c.parquet#1/1.png": ("picture 1",),
    }
    assert {name: captions.captions_of(below + name, b"") for name in wanted} == wanted


# --- the web ---


def fetched(httpserver):
    return [
        request.full_path.rstrip("?") for request, _ in httpserver.log if request.method == "GET"
    ]


def test_files_of_the_web_are_read_and_each_is_fetched_once(fresh, httpserver, folder):
    names = ["/a.tar", "/c.parquet", "/loose/0001.png"]
    for name in names:
        data = (folder / name[1:]).read_bytes()
        httpserver.expect_request(name).respond_with_data(data, headers={"ETag": f'"{name}"'})
    local = contents(*(folder / name[1:] for name in names))
    there = contents(*map(httpserver.url_for, names))
    assert [data for _, data in there] == [data for _, data in local]
    assert fetched(httpserver) == names
    assert len(contents(*map(httpserver.url_for, names[:2]))) == 8
    assert fetched(httpserver) == names


def test_a_server_that_vouches_for_itself_is_not_believed(fresh):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with HostileServer(tls=context) as server:
        problem = reason_of(server.on("/a.png", reply(b"otter")))
    assert "certificate" in problem.explanation


def test_a_secret_goes_to_the_server_and_nowhere_else(server):
    for path in ("/a.png", "/b c.png"):
        server.on(path.replace(" ", "%20"), reply(b"otter"))
    whole = server.url("/a.png?X-Amz-Signature=12%2Fab&x=1").replace("://", "://me:pass@")
    (found,) = find_images([whole])
    assert found.path == server.url("/a.png")
    assert read(found) == b"otter"
    assert {asked.target for asked in server.asked} == {"/a.png?X-Amz-Signature=12%2Fab&x=1"}
    assert server.asked[-1].headers["authorization"].startswith("Basic ")
    (spaced,) = find_images([server.url("/b c.png?key=1 2")])
    assert spaced.path == server.url("/b c.png")
    assert read(spaced) == b"otter"


def test_addresses_that_differ_in_their_query_alone_are_told_apart(fresh, httpserver):
    httpserver.expect_request("/get.tar").respond_with_data(b"otter")
    named = [f"{httpserver.url_for('/get.tar')}?id={number}" for number in (1, 2, 1)]
    paths = [found.path for found in find_images(named)]
    assert paths == [httpserver.url_for("/get.tar"), httpserver.url_for("/?2/get.tar")]
    assert paths == [found.path for found in find_images(named)]
    assert fetched(httpserver) == ["/get.tar?id=1", "/get.tar?id=2"]


@pytest.mark.parametrize(
    ("status", "reason", "explanation"),
    [
        (404, "missing", "there is no such object"),
        (403, "unreadable", "the server denies access"),
        (418, "unreadable", "HTTP 418"),
    ],
)
def test_a_refusal_is_a_finding(server, status, reason, explanation):
    problem = reason_of(server.on("/a.png", reply(status=status)))
    assert problem.reason == reason
    assert explanation in problem.explanation


def cut_off(line):
    line.send(head(200, [("Content-Length", "5")]))
    if line.method == "GET":
        line.send(b"ott")
    line.hang_up()


garbled = said_and_gone(b"an otter")


@pytest.mark.parametrize("accident", [cut_off, garbled, reset_at_once, reply(status=503)])
def test_an_accident_is_tried_again(server, accident, monkeypatch):
    monkeypatch.setattr(remote, "_PAUSE_S", 0.0)
    address = server.on("/a.png", reply(b"otter"), accident, accident, reply(b"otter"))
    assert read_file(address, LIMITS) == b"otter"


def test_a_connection_that_breaks_off_again_and_again_is_a_finding(server, monkeypatch):
    monkeypatch.setattr(remote, "_PAUSE_S", 0.0)
    problem = reason_of(server.on("/a.png", cut_off))
    assert problem.reason == "unreadable"
    assert "broke off" in problem.explanation
    assert [asked.method for asked in server.asked].count("GET") <= 2 * remote._TRIES


@pytest.mark.parametrize(
    "answer",
    [
        b"an otter",
        b"HTTP/1.1 otter\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\notter\r\n",
    ],
)
def test_an_answer_that_is_not_http_is_not_said_to_be_an_error_of_the_server(
    server, answer, monkeypatch
):
    monkeypatch.setattr(remote, "_TRIES", 1)
    problem = reason_of(server.on("/a.png", reply(b"otter"), said_and_gone(answer)))
    assert problem.reason == "unreadable"
    assert "does not keep to HTTP" in problem.explanation
    assert "400" not in problem.explanation


def test_a_server_that_is_silent_or_slow_is_left(server, quick, monkeypatch):
    monkeypatch.setattr(remote, "_TRIES", 1)

    def drip(line):
        line.send(head(200, [("Content-Length", "100000")]))
        while line.method == "GET":
            line.send(b"x")
            line.wait(0.1)

    for answer in (silent, drip):
        assert "too slow" in reason_of(server.on("/a.png", answer)).explanation


def test_nobody_listening_is_a_finding(server, monkeypatch):
    monkeypatch.setattr(remote, "_PAUSE_S", 0.0)
    address = server.url("/a.png")
    server.__exit__()
    assert "cannot be reached" in reason_of(address).explanation
    with suppress(OSError):
        server._threads.clear()


def test_what_is_too_large_is_not_fetched_whole(server):
    def endless(line):
        line.send(head(200, [("Transfer-Encoding", "chunked")]))
        while True:
            line.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    limits = Limits(max_file_bytes=1000)
    told = server.on("/told.png", said(head(200, [("Content-Length", "100000")])))
    for address in (told, server.on("/endless.png", endless)):
        assert reason_of(address, limits).reason == "too_large"
    assert not [*Path(present(remote._copies._folder)).iterdir()]


# --- addresses ---


def test_a_path_object_of_an_address_gets_its_second_slash_back(tmp_path, monkeypatch):
    for address in ("s3://bucket/a.tar", "https://example.org/a.png"):
        assert addresses.with_two_slashes(Path(address)) == address
    monkeypatch.chdir(tmp_path)
    Path("s3:").mkdir()
    Path("s3:/bucket").write_text("a file")
    for path in (Path("s3:/bucket"), Path("c:/windows"), Path("images")):
        assert addresses.with_two_slashes(path) == path


def test_offline_an_address_is_refused_without_its_secrets():
    addresses.require_online(["a", b"b"], offline=True)
    with pytest.raises(UsageError, match=r"^gs://bucket/a is an address, and offline") as caught:
        addresses.require_online(["a", "gs://me:pass@bucket/a"], offline=True)
    assert "--offline" in caught.value.hint


def test_a_google_bucket_is_not_asked_for_its_kind_by_another_protocol():
    script = (
        "from clipaudit.pictures import remote; print(type(remote._open_store('gs')).__module__)"
    )
    environment = {**os.environ, "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}
    environment.pop("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", None)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "gcsfs.core"
