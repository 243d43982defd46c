"""`clipaudit build-eval` as it is installed, against services on this machine."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.services.flickr import FlickrService
from tests.services.openverse import OpenverseService
from tests.services.server import Fault, World
from tests.services.wikimedia import WikimediaService

COMMAND = Path(sys.executable).with_name("clipaudit")
KEYS = ("FLICKR", "OPENVERSE", "GOOGLE", "SERPAPI", "BRAVE", "CLIPAUDIT", "HF_HUB_OFFLINE")


def environment(tmp_path, service=None, **more):
    """That of this process without anybody's keys, with those of a service."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(KEYS)}
    ours = {"CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "100"}
    return clean | ours | (service.environ if service else {}) | more


@pytest.fixture
def build(tmp_path):
    """Runs the command to its end; the set goes to `set`, unless arguments say another place."""

    def run(*arguments, service=None, preexec_fn=None, **more):
        command = [COMMAND, "build-eval", "-o", tmp_path / "set", *arguments]
        if service:
            command.append("--allow-private")
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env=environment(tmp_path, service, **more),
            preexec_fn=preexec_fn,
            check=False,
        )

    return run


def rows(folder):
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def labels(folder):
    return Counter(row["label"] for row in rows(folder))


def files(folder, *, aside=()):
    """Every file's bytes by its name, but the ones that hold times of day."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"downloads.jsonl", ".lock", *aside}
    }


# --- the set of the paper, on a small scale ------------------------------------------------------


def test_a_set_of_joined_pictures_has_all_its_parts_and_is_what_its_manifest_says(build, tmp_path):
    with OpenverseService(World(n_pictures=60, missing=0.1, copied=0.1)) as service:
        done = build("-k", "otter,seal", "--per-keyword", "4", service=service)
        assert done.returncode == 0, done.stderr
        hits = dict(service.hits)
    folder = tmp_path / "set"
    assert labels(folder) == {"potential-member": 8, "non-member": 8}
    table = pq.read_table(folder / "manifest.parquet").to_pylist()
    assert table == rows(folder)
    parents = []
    for row in table:
        content = (folder / row["path"]).read_bytes()
        assert sha256(content).hexdigest() == row["sha256"]
        picture = Image.open(BytesIO(content))
        assert (picture.format, picture.size) == ("PNG", (224, 224))
        if row["label"] == "non-member":
            assert row["path"].startswith("nonmembers/")
            assert len(row["parents"]) == 2
            parents += row["parents"]
        else:
            assert row["path"].startswith("members/")
            assert row["license"] in {"by", "by-sa", "by-nc", "cc0", "pdm"}
            assert row["page_url"].startswith("http")
    originals = [row["original_sha256"] for row in [*table, *parents] if row["original_sha256"]]
    assert len(originals) == len(set(originals)) == 24
    for name in originals:
        assert sha256((folder / "sources" / "originals" / name).read_bytes()).hexdigest() == name
    assert {path.name for path in (folder / "members").iterdir()} | {
        path.name for path in (folder / "nonmembers").iterdir()
    } == {Path(row["path"]).name for row in table}
    assert max(hits.values()) == 1
    credited = (folder / "ATTRIBUTION.md").read_text()
    assert all(name[:16] in credited for name in originals)
    assert "seam" in (folder / "README.md").read_text()
    assert "non-member" in done.stdout


def test_a_joined_picture_is_its_parents_side_by_side(build, tmp_path):
    with OpenverseService(World(n_pictures=30)) as service:
        assert build("-k", "otter", "--per-keyword", "2", service=service).returncode == 0
    folder = tmp_path / "set"

    def original(name):
        data = (folder / "sources" / "originals" / name).read_bytes()
        return Image.open(BytesIO(data)).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)

    joined = [row for row in rows(folder) if row["label"] == "non-member"]
    assert len(joined) == 2
    for row in joined:
        canvas = Image.new("RGB", (448, 224))
        for number, parent in enumerate(row["parents"]):
            canvas.paste(original(parent["original_sha256"]), (224 * number, 0))
        expected = np.array(canvas.resize((224, 224), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(np.array(Image.open(folder / row["path"])), expected)


def test_run_again_it_fetches_nothing(build):
    with OpenverseService(World(n_pictures=30, missing=0.2)) as service:
        assert build("-k", "otter", "--per-keyword", "3", service=service).returncode == 0
        asked, fetched = len(service.asked), len(service.picture_requests)
        again = build("-k", "otter", "--per-keyword", "3", service=service)
        assert again.returncode == 0
        assert "nothing was fetched" in again.stdout
        assert (len(service.asked), len(service.picture_requests)) == (asked, fetched)


def test_a_build_repeats_offline_from_what_it_kept(build, tmp_path):
    arguments = ("-k", "otter,seal", "--per-keyword", "3")
    with OpenverseService(World(n_pictures=40, missing=0.2, copied=0.1)) as service:
        assert build(*arguments, service=service).returncode == 0
        environ = service.environ
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copytree(tmp_path / "set" / "sources", copy / "sources")
    shutil.copy(tmp_path / "set" / "set.json", copy)
    done = build(*arguments, "-o", copy, "--offline", **environ)  # the service is gone
    assert done.returncode == 0, done.stderr
    cards = ("README.md",)  # which holds the command as it was typed
    assert files(copy, aside=cards) == files(tmp_path / "set", aside=cards)


def test_offline_without_kept_answers_is_an_error_and_opens_no_connection(build):
    with OpenverseService() as service:
        done = build("-k", "otter", "--offline", service=service)
        assert (done.returncode, service.asked) == (6, [])
    assert "Traceback" not in done.stderr


def test_the_seed_alone_draws_and_pairs(build, tmp_path):
    with OpenverseService(World(n_pictures=60)) as service:
        for name, seed, jobs in (("a", "0", "1"), ("b", "0", "8"), ("c", "1", "4")):
            done = build(
                *("-k", "otter,seal", "--per-keyword", "4", "--seed", seed, "--jobs", jobs),
                *("-o", tmp_path / name),
                service=service,
            )
            assert done.returncode == 0, done.stderr
    manifests = [(tmp_path / name / "manifest.parquet").read_bytes() for name in "abc"]
    assert manifests[0] == manifests[1]
    members = [
        {row["path"] for row in rows(tmp_path / name) if row["label"] != "non-member"}
        for name in "ac"
    ]
    assert members[0] != members[1]


@pytest.mark.parametrize(("layout", "n_parents"), [("vertical", 2), ("grid", 4), ("blend", 2)])
def test_other_layouts_join_as_many_as_they_say(build, tmp_path, layout, n_parents):
    with OpenverseService(World(n_pictures=30)) as service:
        done = build("-k", "otter", "--per-keyword", "2", "--layout", layout, service=service)
    assert done.returncode == 0, done.stderr
    joined = [row for row in rows(tmp_path / "set") if row["label"] == "non-member"]
    assert [len(row["parents"]) for row in joined] == [n_parents] * 2
    assert {row["layout"] for row in joined} == {layout}


# --- other ways to non-members, other sources ----------------------------------------------------


@pytest.mark.parametrize("service_type", [FlickrService, WikimediaService])
def test_newer_non_members_are_made_and_put_online_after_the_cutoff(build, tmp_path, service_type):
    source = service_type.__name__.removesuffix("Service").lower()
    with service_type(World(n_pictures=120)) as service:
        done = build(
            *("-k", "otter,seal", "-s", source, "--per-keyword", "4"),
            *("--nonmembers", "after-cutoff", "--cutoff", "2021-01-01"),
            service=service,
        )
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "set")
    assert labels(tmp_path / "set") == {"potential-member": 8, "non-member": 8}
    for row in found:
        if row["label"] == "non-member":
            assert min(row["uploaded"], row["taken"]) >= "2021-01-01"
        else:
            assert row["uploaded"] < "2021-01-01"
    per_keyword = Counter((row["keyword"], row["label"]) for row in found)
    assert set(per_keyword.values()) == {4}


def test_a_known_encoder_has_its_cutoff(build):
    done = build("-k", "otter", "-s", "flickr", "--nonmembers", "after-cutoff", "--dry-run")
    assert done.returncode == 0, done.stderr
    unknown = build(
        *("-k", "otter", "-s", "flickr", "--nonmembers", "after-cutoff", "--dry-run"),
        *("--encoder", "onnx:mine.onnx"),
    )
    assert unknown.returncode == 2
    assert "--cutoff" in unknown.stderr


def test_only_asked_for_licences_are_in_the_set(build, tmp_path):
    with OpenverseService(World(n_pictures=60)) as service:
        done = build("-k", "otter", "--per-keyword", "3", "--licenses", "cc0,pdm", service=service)
    assert done.returncode == 0, done.stderr
    originals = [row for row in rows(tmp_path / "set") if row["license"]]
    originals += [parent for row in rows(tmp_path / "set") for parent in row["parents"]]
    assert {row["license"] for row in originals} <= {"cc0", "pdm"}
    assert len(originals) == 9


def test_a_folder_of_pictures_makes_a_set_without_any_network(build, tmp_path):
    for keyword in ("otter", "Snow_Leopard"):
        (tmp_path / "mine" / keyword).mkdir(parents=True)
    world = World()
    for keyword, folder in (("otter", "otter"), ("snow leopard", "Snow_Leopard")):
        for picture in world.pictures(keyword)[:9]:
            path = tmp_path / "mine" / folder / f"{picture.rank} [x].jpg"
            path.write_bytes(picture.jpeg())
    done = build(
        "-k", "otter,snow leopard", "-s", f"folder:{tmp_path / 'mine'}", "--per-keyword", "3"
    )
    assert done.returncode == 0, done.stderr
    assert labels(tmp_path / "set") == {"potential-member": 6, "non-member": 6}


def test_what_a_source_has_to_say_reaches_the_screen(build, tmp_path):
    (tmp_path / "mine" / "seal").mkdir(parents=True)
    (tmp_path / "mine" / "seal" / "1.jpg").write_bytes(World().pictures("seal")[0].jpeg())
    done = build("-k", "otter,seal", "-s", f"folder:{tmp_path / 'mine'}", "--nonmembers", "none")
    assert done.returncode == 0, done.stderr
    assert "no subfolder for the keyword 'otter'" in done.stderr


def test_every_file_that_is_left_out_is_named_with_what_its_reason_means(build, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    jpegs = [picture.jpeg() for picture in World().pictures("otter")[:2]]
    files = {
        "whole.jpg": jpegs[0],
        "again [x].jpg": jpegs[0],
        "cut.jpg": jpegs[1][:-600],
        "none.jpg": b"",
        "page.jpg": b"<html>",
        "odd.ppm": b"P6 1 1 255 abc",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    done = build("-k", "otter", "-s", f"folder:{folder}", "--nonmembers", "none")
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "set" / "README.md").read_text().replace("\\", "")
    for name in files.keys() - {"whole.jpg", "again [x].jpg"}:
        assert name in done.stdout
        assert name in card


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"])
def test_that_no_proxy_is_used_is_said_where_one_is_set(build, tmp_path, name):
    (tmp_path / "list.txt").write_text("not asked")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "1.jpg").write_bytes(World().pictures("otter")[0].jpeg())
    web = ("-k", "otter", "-s", f"urls:{tmp_path / 'list.txt'}", "--nonmembers", "none")
    local = ("-k", "otter", "-s", f"folder:{tmp_path / 'mine'}", "--nonmembers", "none")
    proxy = {name: "http://127.0.0.1:9"}
    said = f"No proxy is used, though {name} is set"
    assert said in build(*web, **proxy).stderr
    assert said not in build(*web, "--quiet", **proxy).stderr
    assert said not in build(*local, **proxy).stderr


def test_a_list_of_addresses_makes_a_set_and_counts_what_is_no_picture(build, tmp_path):
    world = World(missing=0.0)
    with OpenverseService(world) as service:
        pictures = world.pictures("otter")[:7]
        addresses = [service.picture_url(picture) for picture in pictures]
        service.faults.append(Fault("<html>log in</html>", where="/pictures/"))
        service.faults.append(Fault(b"\xff\xd8\xff\xe0 cut", where="/pictures/"))
        service.faults.append(
            Fault(pictures[0].jpeg(), headers={"X-Robots-Tag": "noai"}, where="/pictures/")
        )
        (tmp_path / "list.txt").write_text("\n".join(addresses))
        done = build(
            *("-k", "otter", "-s", f"urls:{tmp_path / 'list.txt'}", "--per-keyword", "4"),
            *("--nonmembers", "none", "--jobs", "1"),
            service=service,
        )
    assert done.returncode == 0, done.stderr
    assert labels(tmp_path / "set") == {"potential-member": 4}
    card = (tmp_path / "set" / "README.md").read_text()
    for address in addresses[:3]:
        assert address in card.replace("\\", "")
    card = (tmp_path / "set" / "README.md").read_text()
    assert "| not-an-image | 1 |" in card
    assert "| opted-out | 1 |" in card


# --- killed, stopped, full, gone -----------------------------------------------------------------

KEYWORDS = ",".join(f"word {number}" for number in range(30))
SMALL = ("-k", KEYWORDS, "--per-keyword", "2")


def test_killed_at_ten_random_moments_it_ends_with_the_same_set(build, tmp_path):
    world = World(n_pictures=24, missing=0.1, copied=0.05, shared=0.05, side_px=160)
    with OpenverseService(world) as service:
        assert build(*SMALL, "-o", tmp_path / "whole", service=service).returncode == 0
        asked, fetched = len(service.asked), len(service.picture_requests)
        service.asked.clear()
        service.picture_requests.clear()
        chance = random.Random(20)
        moments = sorted(chance.sample(range(1, fetched), 10))
        command = [COMMAND, "build-eval", *SMALL, "-o", tmp_path / "set", "--allow-private", "-q"]
        for moment in moments:
            with subprocess.Popen(command, env=environment(tmp_path, service)) as run:
                while run.poll() is None and len(service.picture_requests) < moment:
                    time.sleep(0.002)
                run.send_signal(signal.SIGKILL)
            assert run.returncode == -signal.SIGKILL
        last = subprocess.run(command, env=environment(tmp_path, service), timeout=120, check=False)
        assert last.returncode == 0
        lost = len(service.picture_requests) - fetched
        assert len(service.asked) - asked <= 10
    for name in ("manifest.parquet", "manifest.jsonl", "ATTRIBUTION.md"):
        assert (tmp_path / "set" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    cards = ("README.md",)
    assert files(tmp_path / "set", aside=cards) == files(tmp_path / "whole", aside=cards)
    # Each kill may cost what was on its way, and no more: four downloads, and four queued.
    assert lost <= 10 * 8


def test_an_interrupt_ends_it_quickly_and_it_goes_on(build, tmp_path):
    with OpenverseService(World(n_pictures=24, side_px=160)) as service:
        command = [COMMAND, "build-eval", *SMALL, "-o", tmp_path / "set", "--allow-private"]
        with subprocess.Popen(
            command, env=environment(tmp_path, service), stderr=subprocess.PIPE, text=True
        ) as run:
            while len(service.picture_requests) < 20:
                time.sleep(0.005)
            run.send_signal(signal.SIGINT)
            _, said = run.communicate(timeout=15)
        assert run.returncode == 130
        assert "Traceback" not in said
        assert build(*SMALL, service=service).returncode == 0
        assert len(service.picture_requests) <= 180 + 8


def test_a_quota_ends_the_run_with_a_way_on(build, tmp_path):
    with OpenverseService(World(n_pictures=30)) as service:
        service.faults.append(
            Fault({"detail": "throttled"}, 429, {"Retry-After": "80000"}, where="/v1/images")
        )
        done = build("-k", "otter", "--per-keyword", "2", service=service)
        assert done.returncode == 6
        assert "again" in done.stderr
        assert "Traceback" not in done.stderr
        assert build("-k", "otter", "--per-keyword", "2", service=service).returncode == 0
    assert labels(tmp_path / "set") == {"potential-member": 2, "non-member": 2}


def test_what_failed_for_a_passing_reason_is_tried_again_when_asked_to(build, tmp_path):
    with OpenverseService(World(n_pictures=6)) as service:
        service.faults.extend(Fault(status=503, where="/pictures/") for _ in range(4))
        arguments = ("-k", "otter", "--per-keyword", "2", "--jobs", "1")
        first = build(*arguments, service=service)
        assert first.returncode == 0, first.stderr
        short = sum(len(row["parents"]) or 1 for row in rows(tmp_path / "set"))
        assert short < 6
        assert "fewer than asked for" in first.stdout
        assert "nothing was fetched" in build(*arguments, service=service).stdout
        assert build(*arguments, "--retry-failed", service=service).returncode == 0
    assert sum(len(row["parents"]) or 1 for row in rows(tmp_path / "set")) == 6


def test_too_few_results_are_told_and_are_in_the_card(build, tmp_path):
    with OpenverseService(World(n_pictures=30, n_of=(("rare", 4), ("none", 0)))) as service:
        done = build("-k", "otter,rare,none", "--per-keyword", "3", service=service)
    assert done.returncode == 0, done.stderr
    assert "rare (5)" in done.stdout
    assert "none (9)" in done.stdout
    card = (tmp_path / "set" / "README.md").read_text()
    assert "| rare | crawled | 4 | 9 |" in card
    assert "| none | crawled | 0 | 9 |" in card


def test_nothing_at_all_is_an_error(build):
    with OpenverseService(World(n_pictures=0)) as service:
        done = build("-k", "otter", service=service)
    assert done.returncode == 6
    assert "no usable picture" in done.stderr


def test_a_budget_is_kept(build, tmp_path):
    with OpenverseService(World(n_pictures=60, side_px=400)) as service:
        done = build(
            *("-k", "otter", "--per-keyword", "10", "--max-bytes", "60kB", "--jobs", "1"),
            service=service,
        )
    assert done.returncode == 0, done.stderr
    originals = list((tmp_path / "set" / "sources" / "originals").iterdir())
    sizes = [path.stat().st_size for path in originals]
    assert 60_000 <= sum(sizes) <= 60_000 + 2 * max(sizes)
    assert "--max-bytes" in (tmp_path / "set" / "README.md").read_text()


def test_a_full_disk_is_one_message_and_the_build_goes_on_later(build, tmp_path):
    def small_files_alone():
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))

    with OpenverseService(World(n_pictures=30, side_px=640)) as service:
        arguments = ("-k", "otter", "--per-keyword", "2")
        done = build(*arguments, service=service, preexec_fn=small_files_alone)
        assert done.returncode == 4
        assert "cannot write" in done.stderr
        assert "Traceback" not in done.stderr
        assert build(*arguments, service=service).returncode == 0
        assert max(service.hits.values()) <= 2
    assert labels(tmp_path / "set") == {"potential-member": 2, "non-member": 2}


def test_no_network_is_said_at_once_in_one_line(build):
    started = time.monotonic()
    with OpenverseService() as service:
        environ = service.environ
    done = build("-k", "otter", "--allow-private", **environ)
    assert time.monotonic() - started < 15
    assert done.returncode == 6
    assert len(done.stderr.strip().splitlines()) <= 3
    assert "hint:" in done.stderr


def test_a_network_that_goes_away_in_the_midst_loses_nothing(build, tmp_path):
    with OpenverseService(World(n_pictures=40)) as service:
        service.faults.extend(Fault(drops=True, where="/pictures/") for _ in range(200))
        done = build("-k", "otter", "--per-keyword", "5", service=service)
        assert done.returncode == 6
        assert "Traceback" not in done.stderr
        service.faults.clear()
        assert build("-k", "otter", "--per-keyword", "5", service=service).returncode == 0
    assert labels(tmp_path / "set") == {"potential-member": 5, "non-member": 5}


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["flickr", "brave", "google"])
def test_a_missing_key_says_where_to_get_one_and_who_needs_none(build, source):
    done = build("-k", "otter", "-s", source)
    assert done.returncode == 6
    assert "https://" in done.stderr
    assert "openverse" in done.stderr


def test_a_wrong_key_is_named_and_never_shown(build):
    with FlickrService() as service:
        done = build("-k", "otter", "-s", "flickr", service=service, FLICKR_API_KEY="canary-123")
    assert done.returncode == 6
    assert "FLICKR_API_KEY" in done.stderr
    assert "canary-123" not in done.stderr + done.stdout


def test_keys_are_in_no_file_and_no_message(build, tmp_path):
    key = "good-key"  # which this service takes
    with FlickrService(World(n_pictures=30, missing=0.2)) as service:
        done = build("-k", "otter", "-s", "flickr", "--per-keyword", "2", "-vv", service=service)
        assert done.returncode == 0, done.stderr
        service.faults.append(Fault(status=500, where="/services"))
        bad = build("-k", "seal", "-s", "flickr", "-vv", "-o", tmp_path / "two", service=service)
    assert key not in done.stdout + done.stderr + bad.stdout + bad.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


def test_another_set_in_the_folder_is_refused_before_anything_is_asked(build):
    with OpenverseService(World(n_pictures=30)) as service:
        assert build("-k", "otter", "--per-keyword", "2", service=service).returncode == 0
        asked = len(service.asked)
        done = build("-k", "seal", "--per-keyword", "2", service=service)
        assert (done.returncode, len(service.asked)) == (3, asked)
    assert "keywords" in done.stderr


def test_a_folder_with_other_things_is_left_alone(build, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("mine")
    done = build("-k", "otter")
    assert done.returncode == 3
    assert "thesis.txt" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-k", "cifar1000"], "cifar100"),
        (["-k", "otter", "-s", "openvers"], "openverse"),
        (["-k", "otter", "--licenses", "by,bye"], "--licenses bye"),
        (["-k", "otter", "--per-keyword", "0"], "--per-keyword"),
        (["-k", "otter", "--max-bytes", "lots"], "--max-bytes"),
        (["-k", "otter", "--size", "3"], "--size"),
        (["-k", "otter", "--nonmembers", "after-cutoff", "--cutoff", "2021-01-01"], "flickr"),
        (["-k", "otter", "--uploaded-after", "2020-01-01"], "upload dates"),
        (
            *(["-k", "o", "--uploaded-after", "2020-01-01", "--uploaded-before", "2019-01-01"],),
            "--uploaded-after",
        ),
        (["-k", "otter", "-s", "brave", "--licenses", "by"], "licences"),
        (["--per-keyword", "3"], "--keywords"),
        (["-k", "otter", "--columns", "url"], "--columns"),
    ],
)
def test_options_that_make_no_sense_end_with_what_to_do(build, arguments, said):
    done = build(*arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# --- what it will take ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("openverse", ["3,000", "200 or more", "10 min"]),
        ("wikimedia", ["3,000", "CLIPAUDIT_CONTACT"]),
        ("flickr", ["3,000", "FLICKR_API_KEY"]),
        ("google", ["300 or more", "3 days", "2027-01-01", "GOOGLE_CSE_ID"]),
    ],
)
def test_a_dry_run_says_what_it_will_take_and_asks_nobody(build, tmp_path, source, said):
    done = build("-k", "cifar100", "-s", source, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in said), done.stdout
    assert not (tmp_path / "set").exists()


# --- published lists -----------------------------------------------------------------------------


@pytest.fixture
def lists(tmp_path):
    """A service, a list of 30 of its pictures as CommonPool has it, and a larger one around it."""

    def row(service, picture):
        url = service.picture_url(picture)
        data = picture.jpeg()
        return {
            "uid": sha256(url.encode()).hexdigest()[:32],
            "url": url,
            "text": picture.title,
            "sha256": sha256(data).hexdigest(),
        }

    with OpenverseService(World(n_pictures=60, missing=0.1)) as service:
        rows = [row(service, picture) for picture in service.world.pictures("otter")]
        changed = {rows[3]["url"], rows[4]["url"]}
        for one in rows:
            if one["url"] in changed:
                one["sha256"] = "0" * 64
        pq.write_table(pa.Table.from_pylist(rows[:30]), tmp_path / "small.parquet")
        pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / "medium.parquet")
        yield service, tmp_path / "small.parquet", tmp_path / "medium.parquet"


def test_listed_members_and_unlisted_non_members_are_true_ones(build, tmp_path, lists):
    service, small, medium = lists
    done = build(
        *("--from-metadata", small, "--nonmembers-from", medium, "--count", "40"),
        service=service,
    )
    assert done.returncode == 0, done.stderr
    inside = {row["url"] for row in pq.read_table(small).to_pylist()}
    found = rows(tmp_path / "set")
    assert set(labels(tmp_path / "set")) == {"member", "non-member"}
    assert labels(tmp_path / "set")["member"] == labels(tmp_path / "set")["non-member"] >= 15
    for row in found:
        assert (row["image_url"] in inside) == (row["label"] == "member")
    card = (tmp_path / "set" / "README.md").read_text()
    assert "| changed | 2 |" in card
    assert "http-404" in card


def test_a_list_without_hashes_gives_potential_members(build, tmp_path, lists):
    service, small, _ = lists
    table = pq.read_table(small).drop_columns(["sha256"])
    pq.write_table(table, tmp_path / "plain.parquet")
    done = build("--from-metadata", tmp_path / "plain.parquet", "--count", "5", service=service)
    assert done.returncode == 0, done.stderr
    assert labels(tmp_path / "set") == {"potential-member": 5, "non-member": 5}


def test_a_sample_of_a_list_is_its_seeds_and_not_the_order_of_its_rows(build, tmp_path, lists):
    service, small, _ = lists
    turned = pq.read_table(small).take(list(range(29, -1, -1)))
    (tmp_path / "turned").mkdir()
    pq.write_table(turned, tmp_path / "turned" / "small.parquet")
    paths = {}
    for name, file in (("a", small), ("b", tmp_path / "turned" / "small.parquet")):
        done = build(
            *("--from-metadata", file, "--count", "8", "--nonmembers", "none"),
            *("-o", tmp_path / name),
            service=service,
        )
        assert done.returncode == 0, done.stderr
        paths[name] = [row["path"] for row in rows(tmp_path / name)]
    assert paths["a"] == paths["b"]


def test_a_list_that_cannot_be_used_is_named(build, tmp_path):
    (tmp_path / "list.parquet").write_bytes(b"PAR1 and no more")
    done = build("--from-metadata", tmp_path / "list.parquet")
    assert done.returncode == 3
    assert "list.parquet" in done.stderr
    assert "Traceback" not in done.stderr
