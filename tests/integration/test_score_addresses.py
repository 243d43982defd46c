"""`clipaudit score s3://…`: the rows of the same pictures on this machine, but for their paths."""

import signal
import ssl

import pytest
import trustme

from tests.made.score_runs import N_VIEWS, clean, refused, wait_for
from tests.made.shards import samples, write_parquet, write_shard, write_zip
from tests.services.hostile import HostileServer, reply
from tests.services.object_store import (
    google_store,
    object_store,
    upload,
    upload_to_google,
)


@pytest.fixture(scope="module")
def mixed(world, tmp_path_factory):
    """The 12 pictures of the world, some as files and some in archives, and a file that is none."""
    folder = tmp_path_factory.mktemp("mixed") / "set"
    files = [path.read_bytes() for path in sorted(world.pictures.iterdir())]
    write_shard(folder / "0.tar", samples(files[:3], ending="png"))
    write_zip(folder / "1.zip", samples(files[3:6], ending="png"))
    write_parquet(folder / "2.parquet", files[6:9])
    (folder / "3").mkdir()
    for number, data in enumerate(files[9:]):
        (folder / "3" / f"{number}.png").write_bytes(data)
    (folder / "4.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def bucket(mixed):
    with object_store() as (client, environment):
        yield upload(client, "mixed", mixed), environment


@pytest.fixture
def remotely(run, bucket):
    """Run `clipaudit score` where a store is, and connections may be opened."""

    def call(*arguments, env=None, **how):
        return run(*arguments, env={**bucket[1], "HF_HUB_OFFLINE": "0", **(env or {})}, **how)

    return call


def rows(done, below):
    return [{**row, "path": row["path"].removeprefix(str(below))} for row in done.document["rows"]]


def test_a_set_in_a_store_has_the_rows_of_its_folder(run, remotely, mixed, bucket):
    address = bucket[0]
    here = clean(run(mixed, "--format=json", "--no-cache"))
    there = clean(remotely(address, "--format=json", "--no-cache"))
    assert len(here.document["rows"]) == 13
    assert rows(there, address) == rows(here, mixed)
    assert there.document["rows"][0]["path"] == f"{address}/0.tar/000000000.png"
    assert there.document["summary"] == here.document["summary"]


def test_a_set_in_a_google_store_has_the_rows_of_its_folder(run, mixed):
    with google_store("mixed") as (files, environment):
        address = upload_to_google(files, "mixed", mixed)
        there = clean(run(address, "--format=json", env={**environment, "HF_HUB_OFFLINE": "0"}))
    assert there.err == ""
    here = clean(run(mixed, "--format=json"))
    assert here.document["run"]["n_from_store"] == 12
    assert rows(there, address) == rows(here, mixed)


def test_a_run_that_is_killed_goes_on_where_it_was(run, remotely, mixed, bucket, calls):
    address = bucket[0]
    how = ("--format=json", "--batch-size=1")
    running = remotely(address, *how, encoder="probe:slow=0.1", start=True)
    wait_for(lambda: len(calls()) >= 5, running)
    running.signal(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    before = sum(calls())
    done = clean(remotely(address, *how, encoder="probe:slow=0.1"))
    known = done.document["run"]["n_from_store"]
    assert known >= 4
    assert sum(calls()) - before == (12 - known) * (N_VIEWS + 1)
    assert sum(calls()) <= 13 * (N_VIEWS + 1)  # the picture in work was computed twice
    here = clean(run(mixed, *how, encoder="probe:slow=0.1"))
    assert rows(done, address) == rows(here, mixed)


def test_a_second_run_and_one_that_begins_on_this_machine_embed_nothing(
    run, remotely, mixed, bucket, calls
):
    clean(run(mixed))
    before = calls()
    again = clean(remotely(bucket[0], "--format=json"))
    assert calls() == before
    assert again.document["run"]["n_from_store"] == 12


def test_parts_draws_and_lists_of_addresses_are_those_of_files(run, remotely, mixed, bucket):
    address = bucket[0]
    drawn = clean(remotely(address, "--limit=5", "--format=json"))
    assert rows(drawn, address) == rows(clean(run(mixed, "--limit=5", "--format=json")), mixed)
    parts = [
        rows(clean(remotely(address, f"--shard={number}/2", "--format=json")), address)
        for number in (1, 2)
    ]
    whole = rows(clean(remotely(address, "--format=json")), address)
    assert sorted(row["path"] for part in parts for row in part) == sorted(
        row["path"] for row in whole
    )
    listed = "\n".join(f"{address}/{name}" for name in ("0.tar", "3/1.png")).encode()
    done = clean(remotely("--from-file=-", "--format=json", stdin=listed))
    assert [row["path"] for row in rows(done, address)][2:] == ["/0.tar/000000002.png", "/3/1.png"]


def test_a_control_may_be_remote(run, remotely, world, mixed, bucket):
    control = ("--allow-overlap", "--format=json")
    done = remotely(world.pictures, "--control", bucket[0], *control)
    local = run(world.pictures, "--control", mixed, *control)
    assert done.code == local.code
    assert done.err.replace(bucket[0], "") == local.err.replace(str(mixed), "")


def test_by_https_with_a_secret_that_nobody_sees(remotely, world, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    picture = sorted(world.pictures.iterdir())[0].read_bytes()
    report = tmp_path / "report.html"
    with HostileServer(tls=context) as server:
        server.on("/a.png", reply(picture))
        address = f"{server.url('/a.png')}?X-Amz-Signature=5ec4e7".replace("://", "://me:5ec4e7@")
        done = remotely(
            *(address, f"{server.url('/gone.png')}?key=5ec4e7", "-vv", "--format=json"),
            *("-o", report),
            env={"SSL_CERT_FILE": str(tmp_path / "ca.pem")},
        )
        assert done.code == 0, done.err
        assert server.asked[-1].target == "/gone.png?key=5ec4e7"
    ok, gone = done.document["rows"]
    assert (ok["path"], ok["status"]) == (server.url("/a.png"), "ok")
    assert gone["error"].startswith("missing: there is no such object")
    for text in (done.out.decode(), done.err, report.read_text()):
        assert "5ec4e7" not in text


def test_where_nothing_is_there_the_run_ends_with_a_reason(remotely):
    error = refused(remotely("s3://nowhere/at-all"), 3)
    assert "'s3://nowhere/at-all': there is no such object, folder or bucket" in " ".join(
        error.split()
    )


def test_commands_that_read_files_alone_say_so(remotely, warm, tmp_path):
    environment = {"CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "100"}
    done = warm("evaluate", "--members=s3://b/c", "--nonmembers=a", env=environment)
    assert "s3://b/c is an address, and this command reads files" in refused(done, 2)
