import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clipaudit.errors import InputError, SourceError
from clipaudit.shadow.datasets import NAMED, open_data, split

ROOT = Path(__file__).parents[3]
NOTHING = frozenset()


def png(number, side=8):
    """A picture that no other number gives."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue(), pixels


FILES = {f"{number // 5}/{number:03}.png": png(number)[0] for number in range(20)}
IDS = {hashlib.sha256(data).hexdigest() for data in FILES.values()}


def folder_of(path, files=FILES):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def zip_of(path, files=FILES, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def data_of(path, name="pictures"):
    return open_data(str(path), name, Path("nowhere"))


@pytest.fixture(params=["folder", "zip", "stored zip", "lzma zip"])
def source(request, tmp_path):
    """The same twenty pictures, in every form that a data set may have."""
    if request.param == "folder":
        return folder_of(tmp_path / "set")
    kinds = {"zip": zipfile.ZIP_DEFLATED, "stored zip": zipfile.ZIP_STORED}
    return zip_of(tmp_path / "set.zip", compression=kinds.get(request.param, zipfile.ZIP_LZMA))


def test_pictures_are_known_by_the_hash_of_their_files(source):
    data = data_of(source)
    assert set(data.ids) == IDS
    assert len(data.ids) == 20


def test_pixels_are_those_of_the_files_in_the_order_asked_for(source):
    data = data_of(source)
    for number in (7, 3):
        encoded, pixels = png(number)
        one = hashlib.sha256(encoded).hexdigest()
        assert data.is_picture(one)
        np.testing.assert_array_equal(data.pixels([one], 8)[0], pixels.transpose(2, 0, 1))
    ids = sorted(IDS)
    together = data.pixels(ids, 16)
    assert together.shape == (20, 3, 16, 16)
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(data.pixels(ids[::-1], 16), together[::-1])


def test_a_set_is_called_as_asked_or_as_its_file(source, tmp_path, monkeypatch):
    assert data_of(source, "mine").name == "mine"
    assert data_of(source, None).name == "set"
    if source.is_dir():
        monkeypatch.chdir(source)
        assert data_of(".", None).name == "set"


def test_files_that_are_not_named_as_pictures_are_not_in_the_set(tmp_path):
    litter = {"words.txt": b"cat", "a/.DS_Store": b"x", "README": b"", "labels.csv": b"1"}
    litter |= {"__MACOSX/0/._000.png": b"fork", ".hidden/1.png": png(99)[0], "b.png/": b""}
    assert set(data_of(zip_of(tmp_path / "set.zip", FILES | litter)).ids) == IDS
    litter.pop("b.png/")
    assert set(data_of(folder_of(tmp_path / "set", FILES | litter)).ids) == IDS


def test_capital_endings_and_other_formats_are_pictures_too(tmp_path):
    files = {}
    for ending, form in (("JPG", "JPEG"), ("Jpeg", "JPEG"), ("webp", "WEBP"), ("TIF", "TIFF")):
        file = io.BytesIO()
        Image.new("RGB", (9, 7), (60 * len(files), 0, 0)).save(file, form)
        files[f"a.{ending}"] = file.getvalue()
    data = data_of(folder_of(tmp_path, files))
    assert data.pixels(data.ids, 8).shape == (4, 3, 8, 8)


# --- splitting -----------------------------------------------------------------------------------


def test_the_split_does_not_depend_on_names_or_order_of_files(source, tmp_path):
    before = split(data_of(source), 8, 9, 0, NOTHING)
    shuffled = list(FILES.values())
    random.Random(1).shuffle(shuffled)
    renamed = {f"{number}.PNG": data for number, data in enumerate(shuffled)}
    assert split(data_of(folder_of(tmp_path / "other", renamed)), 8, 9, 0, NOTHING) == before
    assert split(data_of(zip_of(tmp_path / "other.zip", renamed)), 8, 9, 0, NOTHING) == before


@given(st.integers(1, 10), st.integers(1, 10), st.integers(0, 2**63), st.sets(st.integers(0, 19)))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
def test_members_and_non_members_are_apart_and_never_among_those_ruled_out(
    tmp_path, n_members, n_nonmembers, seed, ruled_out
):
    if not (tmp_path / "set").exists():
        folder_of(tmp_path / "set")
    data = data_of(tmp_path / "set")
    without = frozenset(sorted(IDS)[number] for number in ruled_out)
    if n_members + n_nonmembers > 20 - len(without):
        with pytest.raises(InputError, match=f"has {20 - len(without)} different pictures"):
            split(data, n_members, n_nonmembers, seed, without)
        return
    drawn = split(data, n_members, n_nonmembers, seed, without)
    assert (len(drawn.members), len(drawn.nonmembers)) == (n_members, n_nonmembers)
    assert len({*drawn.members, *drawn.nonmembers}) == n_members + n_nonmembers
    assert {*drawn.members, *drawn.nonmembers} <= IDS - without


def test_the_split_is_a_permutation_of_the_sorted_hashes(tmp_path):
    key = hashlib.blake2b(b"3/split/pictures", digest_size=16).digest()
    order = np.random.Generator(np.random.PCG64(int.from_bytes(key, "big"))).permutation(20)
    expected = tuple(sorted(IDS)[place] for place in order)
    drawn = split(data_of(folder_of(tmp_path)), 12, 8, 3, NOTHING)
    assert drawn.members + drawn.nonmembers == expected


def test_every_seed_and_every_name_draws_another_split(tmp_path):
    folder_of(tmp_path)
    drawn = [split(data_of(tmp_path), 10, 10, seed, NOTHING) for seed in (0, 1)]
    drawn.append(split(data_of(tmp_path, "other"), 10, 10, 0, NOTHING))
    assert len({frozenset(one.members) for one in drawn}) == 3


def test_every_picture_is_as_likely_to_be_a_member(tmp_path):
    data = data_of(folder_of(tmp_path))
    counts = dict.fromkeys(IDS, 0)
    for seed in range(400):
        for one in split(data, 10, 10, seed, NOTHING).members:
            counts[one] += 1
    assert 150 < min(counts.values()) <= max(counts.values()) < 250


def test_copies_of_a_file_count_once(tmp_path):
    copies = {f"copy/{name}": data for name, data in FILES.items()}
    data = data_of(folder_of(tmp_path, FILES | copies))
    assert len(data.ids) == 20
    drawn = split(data, 10, 10, 0, NOTHING)
    assert not set(drawn.members) & set(drawn.nonmembers)


def test_a_set_that_is_too_small_says_how_many_there_are(source):
    with pytest.raises(InputError) as caught:
        split(data_of(source), 11, 10, 0, NOTHING)
    assert "20 different pictures" in str(caught.value)
    assert "11 members and 10 non-members" in str(caught.value)
    assert "20 together" in caught.value.hint


BROKEN = {
    "0/text.jpg": b"hello",
    "0/empty.png": b"",
    "1/cut.png": png(1)[0][:-30],
    "9/half.png": png(50, side=64)[0][:5000],
}


def test_files_that_cannot_be_decoded_are_passed_over(tmp_path, caplog):
    data = data_of(folder_of(tmp_path, FILES | BROKEN))
    drawn = split(data, 10, 10, 0, NOTHING)
    assert {*drawn.members, *drawn.nonmembers} == IDS
    data.pixels(drawn.members, 8)
    assert "files of pictures cannot be decoded" in caplog.text
    with pytest.raises(InputError, match="has 20 different pictures"):
        split(data, 11, 10, 0, NOTHING)


def test_a_picture_that_breaks_later_is_named(tmp_path):
    data = data_of(folder_of(tmp_path))
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"gone")
    with pytest.raises(InputError) as caught:
        data.pixels([sorted(IDS)[0]], 8)
    assert sorted(IDS)[0] in str(caught.value)


# --- what is no data set -------------------------------------------------------------------------


def refused(path):
    with pytest.raises(SourceError) as caught:
        data_of(path)
    assert caught.value.exit_code == 6
    assert "ass a folder" in caught.value.hint
    return str(caught.value)


def test_a_name_that_nobody_knows_is_answered_with_those_that_are_known():
    with pytest.raises(SourceError) as caught:
        open_data("cifar11", None, Path("nowhere"))
    assert all(name in caught.value.hint for name in NAMED)


def test_a_folder_without_pictures_is_no_data_set(tmp_path):
    assert "holds no pictures" in refused(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert "holds no pictures" in refused(tmp_path)


def test_a_file_that_is_no_zip_is_no_data_set(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK\x03\x04 and nothing more")
    assert "zip file" in refused(tmp_path / "set.zip")
    (tmp_path / "set.zip").write_bytes(b"")
    assert "zip file" in refused(tmp_path / "set.zip")


def test_a_zip_that_was_cut_off_is_no_data_set(tmp_path):
    whole = zip_of(tmp_path / "set.zip").read_bytes()
    (tmp_path / "set.zip").write_bytes(whole[: len(whole) // 2])
    assert "zip file" in refused(tmp_path / "set.zip")


def test_a_zip_with_a_password_holds_nothing_for_us(tmp_path):
    whole = bytearray(zip_of(tmp_path / "set.zip").read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.find(signature)
        while at >= 0:
            whole[at + flags] |= 1  # "encrypted"
            at = whole.find(signature, at + 4)
    (tmp_path / "set.zip").write_bytes(whole)
    assert "holds no pictures" in refused(tmp_path / "set.zip")


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_no_damage_to_a_zip_is_a_traceback(tmp_path, kind):
    path = zip_of(tmp_path / "set.zip", compression=kind)
    whole = path.read_bytes()
    chance = random.Random(0)
    n_opened = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 12)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with suppress(SourceError, InputError):
            data = data_of(path)
            drawn = split(data, 5, 5, 0, NOTHING)
            data.pixels(drawn.members, 8)
            n_opened += 1
    assert 20 < n_opened < 150


def test_entries_that_lead_out_of_the_zip_are_never_written(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    evil = {"../../evil.png": png(1)[0], "/evil.png": png(2)[0], "a/../../evil.png": png(3)[0]}
    path = zip_of(inside / "set.zip", evil)
    before = sorted(tmp_path.rglob("*"))
    data = data_of(path)
    data.pixels(data.ids, 8)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/evil.png").exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX file systems only")
def test_a_folder_with_names_that_are_no_text_can_be_read(tmp_path):
    path = folder_of(tmp_path / "set")
    shutil.copy(path / "0/000.png", os.fsencode(path) + b"/\xff.png")
    assert set(data_of(path).ids) == IDS


OFFLINE = """
import sys
from pathlib import Path
from clipaudit.errors import SourceError
from clipaudit.shadow.datasets import NAMED, open_data
for name in NAMED:
    try:
        open_data(name, None, Path(sys.argv[1]))
    except SourceError as error:
        print(f"{error} | {error.hint}")
"""


def test_without_a_network_a_named_set_says_what_to_pass(tmp_path):
    nowhere = "http://127.0.0.1:9"  # the discard port, where nobody listens
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE, tmp_path / "data"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": ""},
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(NAMED), done.stdout + done.stderr
    for name, line in zip(NAMED, lines, strict=True):
        assert line.startswith(f"{name} is not in")
        assert f"clipaudit train PATH --data-name {name}" in line


def test_cifar_from_its_zip(cifar_zip):
    data = open_data(str(cifar_zip), "cifar10", Path("nowhere"))
    assert 49_900 < len(data.ids) <= 50_000
    drawn = split(data, 10, 10, 0, NOTHING)
    assert data.pixels(drawn.members, 32).shape == (10, 3, 32, 32)
