"""Tar shards in the place of folders: the same rows, each decoded once, in little memory."""

import io
import json
import subprocess
import sys
import tarfile

import pytest
from PIL import Image

from tests.made.score_runs import clean, draw_pictures, picture, refused
from tests.made.shards import samples, write_parquet, write_shard, write_zip


@pytest.fixture
def shards(tmp_path, world):
    """The 12 pictures of the world in two shards, with captions; gives their folder."""
    files = [path.read_bytes() for path in sorted(world.pictures.iterdir())]
    for number, first in enumerate((0, 6)):
        captions = [f"picture {first + place}" for place in range(6)]
        inside = samples(files[first : first + 6], captions, first, "png")
        write_shard(tmp_path / "shards" / f"{number:05}.tar", inside)
    return tmp_path / "shards"


def scores(done):
    return [(row["sha256"], row["findings"]) for row in done.document["rows"]]


def test_a_folder_of_shards_has_the_rows_of_a_folder_of_files(run, world, shards):
    files = clean(run(world.pictures, "--format", "json"))
    packed = clean(run(shards, "--format", "json", "--no-cache"))
    assert scores(packed) == scores(files)
    paths = [row["path"] for row in packed.document["rows"]]
    assert paths[0] == f"{shards}/00000.tar/000000000.png"
    assert paths[-1] == f"{shards}/00001.tar/000000011.png"
    one = clean(run(shards / "00001.tar", "--format", "json"))
    assert scores(one) == scores(files)[6:]
    single = clean(run(f"{shards}/00001.tar/000000007.png", "--format", "json"))
    assert scores(single) == scores(files)[7:8]


def test_zip_and_parquet_files_have_the_rows_of_a_folder_of_files(run, world, tmp_path):
    files = [path.read_bytes() for path in sorted(world.pictures.iterdir())]
    write_zip(tmp_path / "mixed" / "0.zip", samples(files[:6], ending="png"))
    write_parquet(tmp_path / "mixed" / "1.parquet", [*files[6:], b"no picture", None])
    (tmp_path / "mixed" / "2.zip").write_bytes((tmp_path / "mixed" / "0.zip").read_bytes()[:900])
    plain = clean(run(world.pictures, "--format", "json"))
    packed = clean(run(tmp_path / "mixed", "--format", "json", "--no-cache"))
    assert scores(packed)[:12] == scores(plain)
    paths = [row["path"].removeprefix(str(tmp_path)) for row in packed.document["rows"]]
    assert paths[5:7] == ["/mixed/0.zip/000000005.png", "/mixed/1.parquet#0/0.png"]
    errors = [(row["error"] or "").partition(":")[0] for row in packed.document["rows"]]
    assert errors == [""] * 12 + ["not_an_image", "missing", "truncated"]


def test_parts_of_a_set_are_scored_apart_and_merged(run, warm, world, shards, tmp_path):
    environment = {"CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "100"}

    def merge(*arguments):
        return warm("merge", *arguments, env=environment)

    whole = clean(run(shards, world.pictures, "--format", "json"))
    parts = []
    for number in (1, 2, 3):
        parts.append(tmp_path / f"{number}.json")
        clean(run(shards, world.pictures, f"--shard={number}/3", "-o", parts[-1]))
    merged = tmp_path / "all.jsonl"
    done = clean(merge(*parts, "-o", merged, "--format", "json"))
    rows = {row["path"]: row for row in done.document["rows"]}
    assert rows == {row["path"]: row for row in whole.document["rows"]}
    assert len(done.document["rows"]) == 24
    assert done.document["summary"] == whole.document["summary"]
    assert len(merged.read_text().splitlines()) == 25
    fewer = clean(merge(parts[2], parts[0], "-o", tmp_path / "few.json"))
    assert "1 shard of 3 is missing: 2" in " ".join(fewer.err.split())
    error = refused(merge(parts[0], merged), 3)
    assert "the number of shards differs" in " ".join(error.split())
    error = refused(run(shards, "--shard=1/2", "--control", world.pictures), 2)
    assert "--shard and --control exclude each other" in " ".join(error.split())
    error = refused(run(shards / "00000.tar/000000000.png", "--shard=1/1000000"), 3)
    assert "no file falls into shard 1/1000000" in " ".join(error.split())


def test_a_second_run_on_shards_embeds_nothing(run, world, shards, calls):
    clean(run(shards))
    before = calls()
    again = clean(run(shards, "--format", "json"))
    assert calls() == before
    assert again.document["run"]["n_from_store"] == 12


def test_a_damaged_shard_ends_with_a_row_and_the_run_goes_on(run, shards):
    whole = (shards / "00000.tar").read_bytes()
    with tarfile.open(shards / "00000.tar") as archive:
        third = archive.getmember("000000002.png").offset_data
    (shards / "00000.tar").write_bytes(whole[: third + 10])
    done = clean(run(shards, "--format", "json"))
    assert [row["status"] for row in done.document["rows"]] == ["ok"] * 2 + ["skipped"] + ["ok"] * 6
    assert done.document["rows"][2]["path"] == f"{shards}/00000.tar"
    assert done.document["rows"][2]["error"].startswith("truncated: the archive is cut off")
    error = refused(run(shards, "--strict"), 3)
    assert "the archive is cut off" in " ".join(error.split())


def test_what_is_passed_over_in_a_shard_is_said_once(run, shards):
    with tarfile.open(shards / "00001.tar", "a") as archive:
        member = tarfile.TarInfo("000000011.npy")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    done = clean(run(shards))
    assert done.err.count("1 file passed over (1 neither a picture nor a caption)") == 1


def test_a_control_a_calibration_and_a_report_read_shards(run, warm, world, shards, tmp_path):
    control = [path.read_bytes() for path in draw_pictures(tmp_path / "more", 24, first=500)]
    write_shard(tmp_path / "control.tar", samples(control, ending="png"))
    report = tmp_path / "report.html"
    done = clean(run(shards, "--control", tmp_path / "control.tar", "-o", report, "--no-cache"))
    assert "24 " in done.out.decode()
    assert report.read_text().count("data:image/webp;base64,") > 12
    environment = {"CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache")}
    arguments = [*world.arguments(), "--workers=0"]
    calibrated = warm(
        "calibrate", "--nonmembers", tmp_path / "control.tar", *arguments, env=environment
    )
    assert "24 files read" in clean(calibrated).out.decode()


def test_evaluate_takes_the_shards_of_each_side(warm, world, shards, tmp_path):
    others = [path.read_bytes() for path in draw_pictures(tmp_path / "more", 12, first=500)]
    for number, first in enumerate((0, 6)):
        write_shard(
            tmp_path / "others" / f"{number}.tar", samples(others[first:][:6], ending="png")
        )
    environment = {"CLIPAUDIT_CACHE_DIR": str(tmp_path / "cache")}
    arguments = [*world.arguments(), "--workers=0", "--no-blind", "--format=json"]

    def evaluate(*sides):
        return clean(warm("evaluate", *sides, *arguments, env=environment)).document

    named = evaluate(
        f"--members={shards}/00000.tar",
        f"--members={shards}/00001.tar",
        f"--nonmembers={tmp_path}/others/0.tar",
        f"--nonmembers={tmp_path}/others/1.tar",
    )
    assert (named["set"]["members"]["n"], named["set"]["nonmembers"]["n"]) == (12, 12)
    assert named["set"]["members"]["name"] == f"{shards}/00000.tar, {shards}/00001.tar"
    (tmp_path / "set").mkdir()
    shards.rename(tmp_path / "set" / "members")
    (tmp_path / "others").rename(tmp_path / "set" / "nonmembers")
    in_folder = evaluate(tmp_path / "set")
    assert in_folder["methods"] == named["methods"]
    few = evaluate(tmp_path / "set", "--limit=5")
    assert few["set"]["members"]["n"] == 5
    error = refused(warm("evaluate", f"--members={shards}", *arguments, env=environment), 2)
    assert "by its folder, or by its members and its non-members" in " ".join(error.split())


_RUN = """
import json, resource, sys
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import score_into
from tests.made.score_runs import N_VIEWS
folder, inferrer = sys.argv[1:]
rows = []
config = ScoreConfig(
    encoder="probe:size=8", device="cpu", inferrers=(inferrer,), n_views=N_VIEWS, workers=0,
    batch_size=64,
)
run = score_into(lambda row: rows.append(row.status), [folder], config)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([len(rows), rows.count("ok"), run.n_from_store, peak, run.seconds]))
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_twenty_thousand_pictures_in_four_shards_take_no_more_memory_than_few(
    world, tmp_path, kind
):
    """Some 3 minutes; the second run reads every byte and decodes nothing."""

    def tiny(number):
        file = io.BytesIO()
        Image.fromarray(picture(number)[:8, :8]).save(file, "PNG")
        return file.getvalue()

    def measure(name, n_pictures):
        for shard in range(4):
            numbers = range(shard * n_pictures // 4, (shard + 1) * n_pictures // 4)
            captions = [f"picture {number}" for number in numbers]
            inside = samples(map(tiny, numbers), captions, numbers[0], "png")
            path = tmp_path / name / f"{shard:05}.{kind}"
            if kind == "parquet":
                write_parquet(path, [*map(tiny, numbers)], row_group_size=100, text=captions)
            else:
                (write_zip if kind == "zip" else write_shard)(path, inside)
        environment = {
            "PYTHONPATH": world.pythonpath,
            "CLIPAUDIT_CACHE_DIR": str(tmp_path / f"{name} cache"),
            "OMP_NUM_THREADS": "1",
            "PATH": "",
        }
        command = [sys.executable, "-c", _RUN, str(tmp_path / name), str(world.inferrers / "t")]
        runs = []
        for _ in range(2):
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            runs.append(json.loads(done.stdout))
        return runs

    few, few_again = measure("few", 1000)
    many, many_again = measure("many", 20_000)
    assert few[:3] == [1000, 1000, 0]
    assert many[:3] == [20_000, 20_000, 0]
    assert (few_again[2], many_again[2]) == (1000, 20_000)
    print(f"peak RSS in MB: {few[3]:.0f} for 1,000, {many[3]:.0f} for 20,000; {many[4]:.0f} s")
    assert many[3] - few[3] < 60
    assert many_again[3] - few_again[3] < 60
