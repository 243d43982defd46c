"""`clipaudit lookup` from the command line to its JSON, table and exit code."""

import hashlib
import json

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tests.made import lists


@pytest.fixture
def ask(command):
    """The JSON of a lookup that has to work."""

    def call(*arguments):
        code, out, err = command("lookup", *arguments, "-f", "json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three photographs of a kind, as JPEG files."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((400, 300), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    return folder


def digest(path, name="sha256"):
    return hashlib.new(name, path.read_bytes()).hexdigest()


def ways(document):
    """Last part of what was asked for → (way, row, bits) of its matches."""
    return {
        answer["asked"].rpartition("/")[2]: [
            (match["way"], match["row"], match["bits"]) for match in answer["matches"]
        ]
        for answer in document["answers"]
    }


def statuses(document):
    return {one["asked"].rpartition("/")[2]: one["status"] for one in document["answers"]}


def with_photos(path, photos, **columns):
    """A list of eight rows of which number 2 and 5 are about the first two photos."""
    names = {"url": [lists.url(number) for number in range(8)]}
    for name, (values, fresh) in columns.items():
        filled = [values(number) for number in range(8)]
        filled[2], filled[5] = fresh(photos / "0.jpg"), fresh(photos / "1.jpg")
        names[name] = filled
    return lists.write(path, names)


def test_files_are_found_by_the_hash_of_their_bytes(ask, photos, tmp_path):
    listed = with_photos(
        tmp_path / "a.parquet",
        photos,
        sha256=(lists.sha256, digest),
        md5=(lists.md5, lambda path: digest(path, "md5")),
    )
    found = ask(photos, "-m", listed)
    assert ways(found) == {
        "0.jpg": [("sha256", 2, None), ("md5", 2, None)],
        "1.jpg": [("sha256", 5, None), ("md5", 5, None)],
        "2.jpg": [],
    }
    assert statuses(found)["2.jpg"] == "not_listed"
    assert found["answers"][2]["compared"] == ["sha256", "md5"]
    assert found["answers"][0]["matches"][0]["url"] == lists.url(2)


def test_copies_are_found_by_their_looks(ask, photos, tmp_path):
    listed = with_photos(
        tmp_path / "coyo.parquet",
        photos,
        image_phash=(lists.phash, lambda path: str(imagehash.phash(Image.open(path)))),
    )
    copy = tmp_path / "copy.jpg"
    Image.open(photos / "1.jpg").resize((200, 150)).save(copy, quality=60)
    found = ways(ask(copy, photos / "2.jpg", "-m", listed))
    ((way, row, bits),) = found["copy.jpg"]
    assert (way, row) == ("phash", 5)
    assert bits <= 6
    assert found["2.jpg"] == []


def test_a_plain_picture_is_not_compared_by_its_looks(ask, tmp_path):
    listed = lists.write(
        tmp_path / "list.parquet", {"url": [lists.url(0)], "image_phash": ["8000000000000000"]}
    )
    for colour in ("white", "black", "red"):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{colour}.png")
    found = ask(*tmp_path.glob("*.png"), "-m", listed)
    assert {*statuses(found).values()} == {"not_compared"}
    for answer in found["answers"]:
        assert answer["phash"] is None
        assert answer["error"] == "plain: one colour, so it has no perceptual hash"


def test_a_file_that_is_too_large_to_look_at_is_found_by_its_bytes(ask, tmp_path):
    large = tmp_path / "large.tif"
    with large.open("wb") as file:
        file.truncate(400_000_000)
    with large.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    listed = lists.write(tmp_path / "a.parquet", {"url": [lists.url(0)], "sha256": [sha256]})
    found = ask(large, "-m", listed)
    assert statuses(found) == {"large.tif": "listed"}
    assert found["answers"][0]["error"].startswith("too_large: ")


def test_addresses_are_found_in_two_ways(ask, tmp_path):
    listed = lists.laion400m(tmp_path / "a.parquet", range(9))
    other = "http://www.images.example.org/photos/4.jpg?fbclid=1"
    found = ask(lists.url(3), other, lists.url(99), "-m", listed)
    assert [one["status"] for one in found["answers"]] == ["listed", "listed", "not_listed"]
    assert [list(one["n_matches"]) for one in found["answers"]] == [["url"], ["normalised_url"], []]
    (match,) = found["answers"][0]["matches"]
    assert (match["row"], match["key"], match["text"]) == (3, "3", "caption 3")
    assert found["summary"]["n_by_way"] == {"url": 1, "normalised_url": 1}


def test_a_photo_of_flickr_is_found_in_openais_subset(ask, tmp_path):
    listed = lists.yfcc_subset(tmp_path / "yfcc100m_subset_data.tsv", [5, 617, 7])
    found = ask("https://live.staticflickr.com/1/617_0a1b2c_b.jpg", "-m", listed)
    assert ways(found) == {"617_0a1b2c_b.jpg": [("flickr_id", 1, None)]}
    assert found["answers"][0]["matches"][0]["key"] == "617"


def test_addresses_may_come_from_a_file(ask, tmp_path):
    listed = lists.cc12m(tmp_path / "a.tsv", range(9))
    addresses = tmp_path / "addresses.txt"
    lines = f"\ufeff{lists.url(3)}\r\n\r\n  {lists.url(77)}\n/home/me/1.jpg\n"
    addresses.write_bytes(lines.encode())
    found = ask("--urls", addresses, "-m", listed)
    assert [one["status"] for one in found["answers"]] == ["listed", "not_listed", "skipped"]
    assert {one["kind"] for one in found["answers"]} == {"url"}


def test_several_files_are_one_list(ask, tmp_path):
    folder = tmp_path / "list"
    folder.mkdir()
    for start in (0, 10, 20):
        lists.datacomp(folder / f"{start}.parquet", [*range(start, start + 10), 5])
    found = ask(lists.url(5), lists.url(23), "-m", folder)
    (five, twenty_three) = found["answers"]
    assert five["n_matches"] == {"url": 4}
    assert [(one["file"].rpartition("/")[2], one["row"]) for one in five["matches"]] == [
        ("0.parquet", 5),
        ("0.parquet", 10),
        ("10.parquet", 10),
        ("20.parquet", 10),
    ]
    assert [one["row"] for one in twenty_three["matches"]] == [3]
    assert found["summary"]["n_rows"] == 33


def test_at_most_20_rows_are_named_in_all_files_and_all_are_counted(ask, tmp_path):
    for name in ("a", "b"):
        lists.write(tmp_path / f"{name}.parquet", {"url": [lists.url(1)] * 15})
    (answer,) = ask(lists.url(1), "-m", tmp_path)["answers"]
    assert answer["n_matches"] == {"url": 30}
    assert len(answer["matches"]) == 20


def test_rows_of_a_site_are_counted_over_all_files(ask, tmp_path):
    rows = ["https://example.org/1.jpg", "https://cdn.example.org/2.jpg", "https://b.example/3.jpg"]
    lists.write(tmp_path / "a.parquet", {"url": rows})
    lists.write(tmp_path / "b.parquet", {"url": rows[:2]})
    found = ask("--domain", "https://www.Example.org/", "--domain", "none.example", "-m", tmp_path)
    assert [(one["domain"], one["n_rows"]) for one in found["sites"]] == [
        ("example.org", 4),
        ("none.example", 0),
    ]
    assert [(one["name"], one["n_rows"]) for one in found["sites"][0]["hosts"]] == [
        ("cdn.example.org", 2),
        ("example.org", 2),
    ]


# --- what cannot be compared ---------------------------------------------------------------------


def test_files_against_a_list_of_addresses_are_not_compared_and_said(ask, photos, tmp_path):
    listed = lists.laion2b(tmp_path / "a.parquet", range(9))
    found = ask(photos / "0.jpg", "-m", listed)
    assert statuses(found) == {"0.jpg": "not_compared"}
    assert "only web addresses can be compared" in found["notes"][0]
    (facts,) = found["lists"]
    assert "column hash is not compared" in facts["notes"][0]


def test_addresses_against_a_list_of_hashes_are_not_compared_and_said(ask, tmp_path):
    listed = lists.write(tmp_path / "a.parquet", {"sha256": [lists.sha256(1)]})
    found = ask(lists.url(1), "--domain", "example.org", "-m", listed)
    assert [one["status"] for one in found["answers"]] == ["not_compared"]
    assert any("only files of pictures can be compared" in note for note in found["notes"])
    assert any("no rows can be counted by domain" in note for note in found["notes"])


def test_bad_pictures_are_listed_and_end_nothing(ask, photos, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    whole = (photos / "0.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[:2000])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "good.jpg").write_bytes(whole)
    (folder / "notes.txt").write_text("no picture")
    (folder / "gone.jpg").symlink_to(tmp_path / "nothing")
    sha256 = [digest(folder / "cut.jpg"), digest(folder / "good.jpg")]
    listed = lists.write(tmp_path / "a.parquet", {"sha256": sha256})
    found = ask(folder, "https:///x.jpg", "-m", listed)
    assert statuses(found) == {
        "cut.jpg": "listed",
        "empty.jpg": "skipped",
        "good.jpg": "listed",
        "notes.txt": "skipped",
        "gone.jpg": "skipped",
        "x.jpg": "skipped",
    }
    errors = {one["asked"].rpartition("/")[2]: one["error"] for one in found["answers"]}
    assert errors["cut.jpg"].startswith("truncated: ")
    assert errors["good.jpg"] is None
    assert errors["x.jpg"].startswith("not_an_address: ")
    assert found["summary"]["skip_reasons"]["empty"] == 1


def test_nothing_usable_is_exit_code_3_after_the_result(command, tmp_path):
    listed = lists.laion2b(tmp_path / "a.parquet", range(3))
    (tmp_path / "notes.txt").write_text("no picture")
    code, out, err = command(
        "lookup", tmp_path / "notes.txt", tmp_path / "none.jpg", "-m", listed, "-f", "json"
    )
    assert code == 3
    assert len(json.loads(out)["answers"]) == 2
    assert "1 missing, 1 not an image" in err


def test_found_and_not_found_are_both_exit_code_0(command, tmp_path):
    listed = lists.laion2b(tmp_path / "a.parquet", range(3))
    for url in (lists.url(1), lists.url(99)):
        code, out, _ = command("lookup", url, "-m", listed)
        assert code == 0
        assert "proves nothing" in out


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "{list}"], "there is nothing to look up"),
        (["a.jpg"], "metadata"),
        (["a.jpg", "-m", "{list}", "--columns", "url"], "does not say what a column holds"),
        (["a.jpg", "-m", "{list}", "--columns", "picture=URL"], "no column can hold that"),
        (
            ["a.jpg", "-m", "{list}", "--phash-bits", "17"],
            "--phash-bits must be between 0 and 16, got 17",
        ),
        (
            ["a.jpg", "-m", "{list}", "--phash-bits", "-1"],
            "--phash-bits must be between 0 and 16, got -1",
        ),
        (["a.jpg", "-m", "{list}", "--memory", "5"], "--memory must be at least 100 MB, got 5"),
        (["--domain", "nonsense", "-m", "{list}"], "--domain must be the name of a site"),
        (["--domain", "a b.org", "-m", "{list}"], "--domain must be the name of a site"),
        (["a.jpg", "-m", "{list}", "-o", "out.html"], "names no format"),
        (["a.jpg", "-m", "{list}", "-f", "xml"], "xml"),
    ],
)
def test_a_wrong_option_is_exit_code_2_with_a_hint(command, tmp_path, arguments, message):
    listed = lists.laion2b(tmp_path / "a.parquet", range(3))
    code, out, err = command("lookup", *(argument.format(list=listed) for argument in arguments))
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "none.parquet"], "there is no file or folder"),
        (["-m", "{tmp}/html.parquet"], "no Parquet file"),
        (["-m", "{tmp}/empty.parquet"], "has no rows"),
        (["-m", "{tmp}/odd.parquet"], "no column that a picture can be found by"),
        (["-m", "{tmp}/good.parquet", "--columns", "url=LINK"], "no column is called 'LINK'"),
        (["-m", "{tmp}/good.parquet", "-m", "{tmp}/html.parquet"], "no Parquet file"),
        (["-m", "{tmp}/good.parquet", "--urls", "none.txt"], "cannot read the list"),
    ],
)
def test_a_list_that_cannot_be_used_is_exit_code_3_with_a_hint(
    command, tmp_path, arguments, message
):
    lists.laion2b(tmp_path / "good.parquet", range(3))
    lists.laion2b(tmp_path / "empty.parquet", range(0))
    lists.write(tmp_path / "odd.parquet", {"name": ["x"], "url": pa.array([[1]])})
    (tmp_path / "html.parquet").write_text("<html>404")
    code, out, err = command(
        "lookup", lists.url(1), *(one.format(tmp=tmp_path) for one in arguments)
    )
    assert (code, out) == (3, "")
    assert message in " ".join(err.split())
    assert "hint:" in err


def test_names_of_columns_are_shown_and_not_obeyed(command, tmp_path):
    evil = "\"; ATTACH 'x.db'; -- \x1b[2J"
    path = lists.write(tmp_path / "a.parquet", {evil: [lists.url(1)], "url": ["x"]})
    code, out, err = command(
        "lookup", lists.url(1), "-m", path, "--columns", f"url={evil}", "-f", "json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["summary"]["n_listed"] == 1
    _, out, err = command("lookup", lists.url(1), "-m", path, "--columns", "url=nope")
    assert "\x1b" not in err
    assert not (tmp_path / "x.db").exists()


def test_a_file_is_written_beside_what_is_printed(command, tmp_path):
    listed = lists.laion2b(tmp_path / "a.parquet", range(3))
    code, out, _ = command(
        "lookup", lists.url(1), "-m", listed, "-f", "csv", "-o", tmp_path / "out.csv"
    )
    assert code == 0
    assert (tmp_path / "out.csv").read_bytes().decode() == out


def test_a_picture_of_too_many_pixels_is_looked_up_by_its_bytes_and_the_option_is_named(
    ask, command, photos, tmp_path
):
    listed = with_photos(tmp_path / "list.parquet", photos, sha256=(lists.sha256, digest))
    (small,) = ask(photos / "0.jpg", "-m", listed, "--max-megapixels", "0.1")["answers"]
    assert (small["status"], small["phash"]) == ("listed", None)
    assert small["error"].startswith("too_many_pixels: ")
    assert "--max-megapixels raises it" in small["error"]
    (whole,) = ask(photos / "0.jpg", "-m", listed, "--max-megapixels", "0.2")["answers"]
    assert (whole["status"], whole["error"]) == ("listed", None)
    assert whole["phash"]
    code, _, _ = command("lookup", photos / "0.jpg", "-m", listed, "--max-megapixels", "nan")
    assert code == 2
