"""Files that give no picture, and odd pictures: each ends in a row, and none ends a run."""

import io
import os
import re
import shutil
import signal
import struct
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from clipaudit.errors import EncoderError
from tests.made.score_runs import N_VIEWS, children, clean, draw_pictures, picture, wait_for


def png_of(width, height):
    """The head of a PNG that claims a size, and hardly any data."""

    def chunk(kind, data):
        return (
            struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
        )

    head = struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def photo():
    return Image.fromarray(picture(0))


BAD = {
    "zero.png": (b"", "empty"),
    "text.jpg": (b"I am a text.\n", "not_an_image"),
    "page.png": (b"<!DOCTYPE html><html>404</html>", "not_an_image"),
    "truncated.jpg": (saved(photo().resize((400, 300)), "JPEG")[:2000], "truncated"),
    "bomb.png": (png_of(20_000, 20_000), "too_many_pixels"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported"),
    "program.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%touch owned) (w) file\n", "unsupported"),
}


def odd_pictures():
    grey = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    palette = photo().quantize(8)
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [photo(), Image.new("RGB", photo().size, "red")]
    return {
        "cmyk.jpg": saved(photo().convert("CMYK"), "JPEG"),
        "deep.png": saved(Image.fromarray(grey), "PNG"),
        "clear palette.png": saved(palette, "PNG", transparency=0),
        "moving.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "turned.jpg": saved(photo(), "JPEG", exif=turned),
        "clear.webp": saved(photo().convert("RGBA"), "WEBP"),
    }


STRANGE = (
    "two\nlines.png",
    "\x1b[2J\x1b]0;owned\x07.png",
    "[red]tag[bold].png",
    "-f.png",
    "=1+1.png",
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A folder with everything in it, and how many files of each outcome that makes."""
    folder = tmp_path_factory.mktemp("zoo")
    draw_pictures(folder, 3)
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    for name, data in odd_pictures().items():
        (folder / name).write_bytes(data)
    for number, name in enumerate(STRANGE):
        (source,) = draw_pictures(folder / ".hidden", 1, first=50 + number)
        shutil.copy(source, folder / name)
    (source,) = draw_pictures(folder / ".hidden", 1, first=60)
    shutil.copy(source, folder / os.fsdecode(b"\xff\xfe.png"))
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "around").symlink_to(folder, target_is_directory=True)
    (folder / "linked.png").symlink_to("0001.png")
    return folder


REASONS = {
    **{name: reason for name, (_, reason) in BAD.items()},
    "pipe.png": "not_a_file",
    "dangling.png": "missing",
    "loop.png": "unreadable",
}
N_SCORED = 3 + 6 + len(STRANGE) + 1


@pytest.fixture(scope="module")
def audited(zoo, warm, world, tmp_path_factory):
    """One run over all of it, as JSON, and as CSV in a file."""
    out = tmp_path_factory.mktemp("out") / "audit.csv"
    done = warm(
        *("score", zoo, *world.arguments(), "-f", "json", "-o", out, "--workers", "1"),
        env={"CLIPAUDIT_CACHE_DIR": str(out.parent / "cache")},
    )
    return clean(done), out


def test_every_bad_file_is_a_row_with_its_reason_and_the_good_ones_are_scored(audited, tmp_path):
    done, _ = audited
    assert done.err == ""
    found = {
        name: row["error"].partition(":")[0] for name, row in done.rows.items() if row["error"]
    }
    assert found == REASONS
    assert all(row["error"].partition(": ")[2] for row in done.rows.values() if row["error"])
    summary = done.document["summary"]
    assert summary["n_scored"] == N_SCORED
    assert summary["n_files"] == N_SCORED + len(REASONS)
    assert summary["n_skipped"] == sum(summary["skip_reasons"].values()) == len(REASONS)
    assert summary["skip_reasons"]["not_an_image"] == 2
    for row in done.document["rows"]:
        assert (row["status"] == "ok") == bool(row["findings"]) == (row["error"] is None)


def test_odd_pictures_are_scored_and_say_what_was_done(audited):
    rows = audited[0].rows
    gradient = "too plain to compare"
    assert rows["deep.png"]["notes"] == ["16-bit scaled to 8-bit", gradient]
    assert rows["moving.gif"]["notes"] == ["first of several frames"]
    assert rows["clear palette.png"]["notes"] == ["transparency on white"]
    assert any("CMYK" in note for note in rows["cmyk.jpg"]["notes"])
    assert rows["0000.png"]["notes"] == rows["turned.jpg"]["notes"] == []


def test_notes_are_kept_in_the_store(zoo, world, warm, audited):
    out = audited[1]
    again = warm(
        *("score", zoo, *world.arguments(), "-f", "json"),
        env={"CLIPAUDIT_CACHE_DIR": str(out.parent / "cache")},
    )
    assert clean(again).document["run"]["n_from_store"] == N_SCORED
    assert again.document["rows"] == audited[0].document["rows"]


def test_names_survive_every_format(audited, zoo):
    done, out = audited
    paths = {row["path"] for row in done.document["rows"]}
    assert {f"{zoo}/{name}" for name in STRANGE} <= paths
    assert f"{zoo}/\udcff\udcfe.png" in paths
    assert "\x1b" not in out.read_text()


def test_the_table_shows_names_escaped(zoo, run):
    done = clean(run(zoo, "--workers", "1"))
    text = done.out.decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    for shown in (r"two\nlines.png", r"\x1b[2J", "[red]tag[bold].png", "-f.png", r"\xff\xfe.png"):
        assert shown in text
    assert f"{N_SCORED + len(REASONS)} read, {N_SCORED} scored, {len(REASONS)} skipped" in text
    assert "2 not an image" in text
    assert done.err == ""


def test_a_name_that_looks_like_an_option_can_be_given(zoo, warm, world):
    done = warm(*("score", *world.arguments(), "--no-cache", "-f", "json", "--", "-f.png"), cwd=zoo)
    assert clean(done).rows["-f.png"]["status"] == "ok"


def test_nothing_that_lies_in_a_file_was_run(zoo, audited):
    assert not (zoo / "owned").exists()
    assert not os.path.lexists("owned")


def test_a_decoder_that_is_killed_costs_no_picture(run, tmp_path, calls):
    """As the system does where memory is short."""
    draw_pictures(tmp_path / "many", 24)
    running = run(
        *(tmp_path / "many", "-f", "json", "--workers", "1", "--batch-size", "2"),
        encoder="probe:slow=0.05",
        start=True,
    )
    killed = set()
    for moment in (2, 5, 8):  # each decoder is well under way, and not just starting
        wait_for(lambda moment=moment: len(calls()) > moment, running)
        (pid,) = children(running.pid)
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    done = clean(running.wait())
    assert len(killed) == 3
    assert [row["status"] for row in done.document["rows"]] == ["ok"] * 24


def test_files_that_vanish_or_change_between_listing_and_reading(api, tmp_path):
    """The encoder is busy with the first batch while later files come and go."""
    folder = tmp_path / "busy"
    paths = draw_pictures(folder, 100)
    changed: list[int] = []

    def meddle(step):
        if not changed:
            paths[-1].unlink()
            paths[-2].write_bytes(b"changed")
            paths[-3].unlink()
            paths[-3].mkdir()
            changed.append(step.done)

    audit = api(folder, batch_size=1, on_progress=meddle)
    assert changed == [1]
    assert len(audit) == 100
    assert {row.path: row.error.partition(":")[0] for row in audit.skipped} == {
        str(paths[-1]): "missing",
        str(paths[-2]): "not_an_image",
        str(paths[-3]): "not_a_file",
    }


def test_a_file_that_grows_while_it_is_read_is_one_bad_row(api, tmp_path, monkeypatch):
    paths = draw_pictures(tmp_path / "growing", 3)
    read = os.read

    def read_and_write(descriptor, n_bytes):
        data = read(descriptor, n_bytes)
        if data and data == paths[1].read_bytes()[: len(data)]:
            with paths[1].open("ab") as file:
                file.write(b"more")
        return data

    monkeypatch.setattr(os, "read", read_and_write)
    audit = api(tmp_path / "growing")
    assert [row.status for row in audit] == ["ok", "skipped", "ok"]
    assert audit[1].error.startswith("changed: ")


BLACK = ("nan", "inf", "odd", "zero", "constant", "huge")


@pytest.mark.parametrize("habit", BLACK)
def test_a_picture_of_which_the_encoder_makes_nothing_is_one_bad_row(api, tmp_path, world, habit):
    folder = tmp_path / "some"
    draw_pictures(folder, 5)
    expected = api(folder, use_store=False)
    Image.new("RGB", (20, 20)).save(folder / "0002 black.png")
    Image.new("RGB", (30, 20)).save(folder / "9999 black.png")
    for n_known in (0, 5):  # what is unusable is never kept
        audit = api(folder, encoder=f"probe:black={habit}", batch_size=3)
        assert [row.path[len(str(folder)) + 1 :] for row in audit.skipped] == [
            "0002 black.png",
            "9999 black.png",
        ]
        assert {row.error for row in audit.skipped} == {
            "no_embedding: the encoder's embedding of it is zero, constant or not finite"
        }
        assert all(row.sha256 for row in audit.skipped)
        assert audit.run.n_from_store == n_known
        for row, twin in zip(audit.scored, expected, strict=True):
            assert row.mean_similarity == pytest.approx(twin.mean_similarity, abs=1e-5)


def test_a_folder_of_nothing_but_such_pictures(run, tmp_path):
    for side in (20, 30, 40):
        (tmp_path / "black").mkdir(exist_ok=True)
        Image.new("RGB", (side, side)).save(tmp_path / "black" / f"{side}.png")
    done = clean(run(tmp_path / "black", "-f", "json", encoder="probe:black=zero"), 3)
    assert len(done.rows) == 3
    assert "3 no embedding" in done.err


@pytest.mark.parametrize("error", ["torch", "cpu", "python"])
def test_short_memory_halves_the_batch_and_the_run_goes_on(run, world, calls, error):
    expected = clean(run(world.pictures, "-f", "json", "--no-cache")).rows
    short = run(
        *(world.pictures, "-f", "json", "--batch-size", "6", "--no-cache"),
        encoder=f"probe:most=12,error={error}",
    )
    rows = clean(short).rows
    for name, row in rows.items():
        score = row["findings"][0]["score"]
        assert score == pytest.approx(expected[name]["findings"][0]["score"], rel=0, abs=1e-5)
    assert short.err.splitlines() == [
        "warning: out of memory with 30 views at once, going on with 15",
        "warning: out of memory with 15 views at once, going on with 7",
    ]
    worked = [n for n in calls() if n <= 12]
    assert max(worked) == N_VIEWS + 1


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_machine_that_is_really_short_of_memory(run, world):
    """The views of twelve pictures need more than that; those of a few do not."""
    expected = clean(run(world.pictures, "-f", "json", "--no-cache", encoder="probe:size=320")).rows
    short = run(
        *(world.pictures, "-f", "json", "--no-cache", "--batch-size=12"),
        encoder="probe:size=320,room=245",
    )
    rows = clean(short).rows
    assert "warning: out of memory with 60 views at once, going on with 30" in short.err
    for name, row in rows.items():
        score = row["findings"][0]["score"]
        assert score == pytest.approx(expected[name]["findings"][0]["score"], rel=0, abs=1e-5)


def test_no_memory_for_a_single_view_ends_the_run_and_keeps_the_store_whole(run, world):
    clean(run(world.pictures / "0000.png", "-f", "json"))
    done = clean(run(world.pictures, encoder="probe:most=0"), 4)
    assert done.out == b""
    assert "not even one view at a time" in done.err
    assert "hint: " in done.err
    assert clean(run(world.pictures, "-f", "json")).document["run"]["n_from_store"] == 1


def test_another_failure_of_an_encoder_is_not_taken_for_want_of_memory(api):
    with pytest.raises(EncoderError, match="RuntimeError: shapes cannot be multiplied"):
        api(encoder="probe:most=3,error=other")


HABITS = {
    "half": "gives an array of shape (8, 24) for 15 views, not (15, 24)",
    "twice": "gives an array of shape (30, 24) for 15 views",
    "wide": "gives an array of shape (15, 48) for 15 views",
    "none": "gives a NoneType for 15 views",
    "raise": "failed with 15 views: KeyError: 'a layer'",
    "hang": "gave no answer for 15 views within 1 s",
    "pause": "gave no answer for 15 views within 1 s",
    "abort": "crashed with 15 views (SIGABRT)",
    "segfault": "crashed with 15 views (SIGSEGV)",
}


@pytest.mark.parametrize("habit", HABITS)
def test_what_was_done_before_an_encoder_fails_is_printed_and_kept(run, world, tmp_path, habit):
    out = tmp_path / "partial.csv"
    done = run(
        *(world.pictures, "-f", "json", "--batch-size=3", "--batch-timeout=1", "-o", out),
        encoder=f"probe:bad={habit},good=4",
    )
    assert done.code == 4
    assert HABITS[habit] in " ".join(done.err.split())
    assert "hint: " in done.err
    assert "Traceback" not in done.err
    document = done.document
    assert document["run"]["interrupted"] is True
    assert [row["status"] for row in document["rows"]] == ["ok"] * 6
    assert out.read_text().count(".png") == 6
    expected = clean(run(world.pictures, "-f", "json"))
    assert expected.document["run"]["n_from_store"] == 6
    assert expected.document["rows"][:6] == document["rows"]


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_crash_that_is_not_the_encoders_ends_the_run_as_ever(run, world, calls, number):
    running = run(world.pictures, "--batch-size=3", encoder="probe:slow=0.5", start=True)
    wait_for(lambda: len(calls()) >= 1, running)
    os.kill(running.pid, number)
    assert running.wait(seconds=10).code == -number


@pytest.mark.parametrize("habit", [*HABITS, "random"])
def test_an_encoder_that_fails_when_it_is_tried_leaves_no_row(run, world, habit):
    started = time.monotonic()
    done = run(
        world.pictures, "-f", "json", "--batch-timeout=1", encoder=f"probe:bad={habit},good=0"
    )
    assert (done.code, done.out) == (4, b"")
    assert "Traceback" not in done.err
    assert time.monotonic() - started < 15


def test_the_suspects_are_printed_where_the_encoder_fails_at_the_control(run, world, tmp_path):
    control = tmp_path / "control"
    draw_pictures(control, 15, first=100)
    done = run(
        *(world.pictures, "-f", "json", "--batch-size=3", "--control", control),
        encoder="probe:bad=raise,good=6",
    )
    # Loaded anew for the control, it fails at the fifth batch; the suspects have four.
    assert done.code == 4
    assert done.document["run"]["interrupted"] is True
    assert [row["status"] for row in done.document["rows"]] == ["ok"] * 12
