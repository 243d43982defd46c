import hashlib
import io
import logging
import os
import pickle
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torchvision.datasets import CIFAR10, CIFAR100, STL10

from clipaudit.errors import InputError, SourceError
from clipaudit.pictures.base import Limits
from clipaudit.seeding import stream
from clipaudit.shadow import datasets
from clipaudit.shadow.datasets import NAMED, open_data
from clipaudit.shadow.procedural import draw_picture
from clipaudit.shadow.splits import draw_groups, split
from tests.made.present import present

ROOT = Path(__file__).parents[3]
NOTHING: frozenset[str] = frozenset()


def png(number, side=8):
    """A picture that no other number gives."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue(), pixels


FILES = {f"{number // 5}/{number:03}.png": png(number)[0] for number in range(20)}
IDS = {hashlib.sha256(data).hexdigest() for data in FILES.values()}


def hash_of(data, picture):
    (phash,) = data.perceptual_hashes([picture])
    return phash


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
    return open_data(str(path), name, Path("nowhere"), n_workers=0)


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
        assert hash_of(data, one) is not None
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
    files: dict[str, bytes] = {}
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
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
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
    for n_asked in (21, 24, 25):  # of 24 files
        with pytest.raises(InputError, match="has 20 different pictures") as caught:
            split(data, n_asked - 10, 10, 0, NOTHING)
        assert "20 together" in caught.value.hint


def test_a_picture_that_breaks_later_is_named(tmp_path):
    data = data_of(folder_of(tmp_path))
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"gone")
    with pytest.raises(InputError) as caught:
        data.pixels([sorted(IDS)[0]], 8)
    assert sorted(IDS)[0] in str(caught.value)


# --- groups, and pictures that look the same -----------------------------------------------------

N_FAMILIES = 12


@cache
def family(number):
    """A picture as PNG, and three copies that look the same: as JPEG, larger, brighter."""
    picture = Image.fromarray(draw_picture(stream(0, f"family {number}", "data sets"), 32))
    brighter = ImageEnhance.Brightness(picture).enhance(1.05)
    copies = []
    for one, form in (
        (picture, "PNG"),
        (picture, "JPEG"),
        (picture.resize((48, 48)), "PNG"),
        (brighter, "PNG"),
    ):
        file = io.BytesIO()
        one.save(file, form)
        copies.append(file.getvalue())
    return tuple(copies)


def families():
    return {
        f"{copy}/{number:02}.png": data
        for number in range(N_FAMILIES)
        for copy, data in enumerate(family(number))
    }


FAMILY = {
    hashlib.sha256(data).hexdigest(): number
    for number in range(N_FAMILIES)
    for data in family(number)
}


def look(data):
    """The hash of imagehash itself, whose distances count bits; None of what is no picture."""
    try:
        return imagehash.phash(Image.open(io.BytesIO(data)).convert("RGB"))
    except OSError:
        return None


LOOKS = {
    hashlib.sha256(data).hexdigest(): look(data)
    for data in (*families().values(), *FILES.values(), *BROKEN.values())
}


def slow_draw(ids, counts, seed, name):
    """The groups, and how many were passed over: unreadable, and near-duplicates."""
    key = hashlib.blake2b(f"{seed}/split/{name}".encode(), digest_size=16).digest()
    order = np.random.Generator(np.random.PCG64(int.from_bytes(key, "big"))).permutation(len(ids))
    waiting = [sorted(ids)[place] for place in order]
    kept: list[str] = []
    n_unreadable, n_near = 0, 0
    while len(kept) < sum(counts.values()):
        one = waiting.pop(0)
        if LOOKS[one] is None:
            n_unreadable += 1
        elif any(LOOKS[one] - LOOKS[other] <= 6 for other in kept):
            n_near += 1
        else:
            kept.append(one)
    groups = {name: tuple(kept.pop(0) for _ in range(count)) for name, count in counts.items()}
    return groups, n_unreadable, n_near


def test_the_families_are_what_these_tests_take_them_for():
    for one, number in FAMILY.items():
        for other, other_number in FAMILY.items():
            assert (LOOKS[one] - LOOKS[other] <= 6) == (number == other_number)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """A folder of twelve pictures, each in four copies that look the same, and broken files."""
    return folder_of(tmp_path_factory.mktemp("alike"), families() | BROKEN)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 4), min_size=1),
    st.integers(0, 2**63 - 1),
)
@settings(max_examples=60)
def test_groups_are_drawn_as_a_comparison_with_each_picture_would(alike, counts, seed):
    data = data_of(alike)
    if sum(counts.values()) > N_FAMILIES:
        with pytest.raises(InputError, match="has 12 different pictures"):
            draw_groups(data, counts, seed)
        return
    drawn = draw_groups(data, counts, seed)
    groups, n_unreadable, n_near = slow_draw(data.ids, counts, seed, "pictures")
    assert drawn.groups == groups
    assert list(drawn.groups) == list(counts)
    assert (drawn.n_unreadable, drawn.n_near_duplicates) == (n_unreadable, n_near)


@pytest.mark.parametrize("seed", range(10))
def test_no_group_has_a_picture_that_looks_like_one_of_another(alike, seed):
    counts = {"shadow": 3, "target": 5, "probe": 4}
    groups = draw_groups(data_of(alike), counts, seed).groups
    drawn = [one for group in groups.values() for one in group]
    assert [len(group) for group in groups.values()] == [3, 5, 4]
    assert sorted(FAMILY[one] for one in drawn) == list(range(N_FAMILIES))


def test_copies_that_were_passed_over_are_counted_and_said(alike, caplog):
    caplog.set_level(logging.INFO, logger="clipaudit")
    drawn = draw_groups(data_of(alike), {"a": 6, "b": 6}, 0)
    assert drawn.n_near_duplicates > 0
    assert f"{drawn.n_near_duplicates} near-duplicates in pictures, passed over" in caplog.text
    caplog.clear()
    assert split(data_of(alike), 6, 6, 0, NOTHING)
    assert "near-duplicates" in caplog.text


def test_without_copies_nothing_is_passed_over(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="clipaudit")
    drawn = draw_groups(data_of(folder_of(tmp_path)), {"a": 20}, 0)
    assert (drawn.n_unreadable, drawn.n_near_duplicates) == (0, 0)
    assert set(drawn.groups["a"]) == IDS
    assert not caplog.records


def test_a_split_is_the_draw_of_two_groups(alike):
    drawn = draw_groups(data_of(alike), {"one": 5, "other": 4}, 3).groups
    halves = split(data_of(alike), 5, 4, 3, NOTHING)
    assert (halves.members, halves.nonmembers) == (drawn["one"], drawn["other"])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 2**63 - 1))
@settings(max_examples=30)
def test_however_they_are_cut_into_groups_the_same_pictures_come_in_the_same_order(
    alike, sizes, seed
):
    data = data_of(alike)
    together = draw_groups(data, {"all": N_FAMILIES}, seed).groups["all"]
    sizes = sizes if sum(sizes) <= N_FAMILIES else sizes[:2]
    groups = draw_groups(data, dict(zip("abcde", sizes, strict=False)), seed).groups
    assert sum(groups.values(), ()) == together[: sum(sizes)]


def test_groups_do_not_depend_on_names_or_order_of_files(alike, tmp_path):
    counts = {"a": 5, "b": 4, "c": 2}
    before = draw_groups(data_of(alike), counts, 1)
    shuffled = list((families() | BROKEN).values())
    random.Random(2).shuffle(shuffled)
    renamed = {f"{number % 3}/{number}.png": data for number, data in enumerate(shuffled)}
    for path in (folder_of(tmp_path / "other", renamed), zip_of(tmp_path / "other.zip", renamed)):
        assert draw_groups(data_of(path), counts, 1) == before


def test_a_set_that_is_too_small_says_how_many_are_left_without_copies(alike):
    for last in (3, 30, 300):  # fewer than there are files, and more
        with pytest.raises(InputError) as caught:
            draw_groups(data_of(alike), {"red": 6, "green": 4, "blue": last}, 0)
        assert "pictures has 12 different pictures" in str(caught.value)
        assert f"6 red and 4 green and {last} blue were asked for" in str(caught.value)
        assert "12 together at most" in caught.value.hint
    without = frozenset(one for one, number in FAMILY.items() if number < 5)
    with pytest.raises(InputError, match="has 7 different pictures"):
        draw_groups(data_of(alike), {"red": 8}, 0, without)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_ruled_out_is_in_no_group_but_its_copies_may_be(alike, seed):
    originals = frozenset(hashlib.sha256(family(k)[0]).hexdigest() for k in range(N_FAMILIES))
    groups = draw_groups(data_of(alike), {"a": 7, "b": 5}, seed, originals).groups
    drawn = {*groups["a"], *groups["b"]}
    assert not drawn & originals
    assert {FAMILY[one] for one in drawn} == set(range(N_FAMILIES))


# --- classes -------------------------------------------------------------------------------------


def in_both(tmp_path, files):
    """The same files as folder and as zip; the zip in another order."""
    shuffled = list(files.items())
    random.Random(3).shuffle(shuffled)
    yield data_of(folder_of(tmp_path / "set", files))
    yield data_of(zip_of(tmp_path / "set.zip", dict(shuffled)))


def id_of(number):
    return hashlib.sha256(png(number)[0]).hexdigest()


def test_the_class_of_a_picture_is_its_folder_or_the_one_above_images(tmp_path):
    folders = ("cat", "cat", "train/dog", "val/dog", "cat/young", "train/n01/images", "a/images/b")
    classes = ("cat", "cat", "dog", "dog", "young", "n01", "b")
    files = {f"{one}/{number}.png": png(number)[0] for number, one in enumerate(folders)}
    ids = [id_of(number) for number in range(len(files))]
    for data in in_both(tmp_path, files):
        assert data.labels(ids) == classes
        assert data.labels(ids[::-1]) == classes[::-1]
        assert data.labels([ids[2], ids[0], ids[2]]) == ("dog", "cat", "dog")
        assert data.labels([]) == ()


def test_pictures_in_no_folder_are_of_one_class(tmp_path):
    files = {"0.png": png(0)[0], "images/1.png": png(1)[0], "cat/2.png": png(2)[0]}
    for data in in_both(tmp_path, files):
        first, second, third = data.labels([id_of(number) for number in range(3)])
        assert first == second != third == "cat"


@pytest.mark.parametrize("folder", ["", "cat/", "cat/images/"])
def test_pictures_in_one_folder_have_no_classes(tmp_path, folder):
    files = {f"{folder}{number}.png": png(number)[0] for number in range(3)}
    for data in in_both(tmp_path, files):
        assert data.labels([id_of(1), id_of(0)]) is None


def test_a_set_has_classes_even_if_the_pictures_asked_for_are_of_one(tmp_path):
    files = {"cat/0.png": png(0)[0], "cat/1.png": png(1)[0], "dog/2.png": png(2)[0]}
    for data in in_both(tmp_path, files):
        assert data.labels([id_of(0), id_of(1)]) == ("cat", "cat")


def test_a_picture_in_two_folders_is_of_the_first(tmp_path):
    """By name, folder by folder: a-b comes after a, though a-b/0.png comes before a/0.png."""
    files = {"b/0.png": png(0)[0], "a-b/0.png": png(0)[0], "a/z.png": png(0)[0]}
    files |= {"b/1.png": png(1)[0], "a-b/c/1.png": png(1)[0]}
    for data in in_both(tmp_path, files):
        assert data.labels([id_of(0), id_of(1)]) == ("a", "c")


def test_a_broken_copy_or_a_file_of_another_kind_makes_no_class(tmp_path):
    files = {"cat/0.png": png(0)[0], "cat/1.png": png(1)[0], "words/2.txt": b"dog"}
    for data in in_both(tmp_path, files):
        assert data.labels([id_of(0)]) is None


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
        print(f"{error} | {error.hint} | {error.exit_code}")
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
        assert line.startswith(f"{name} is not in {tmp_path / 'data'} and cannot be downloaded: ")
        assert "refused" in line
        assert "Check the network, or pass a folder" in line
        assert f"clipaudit train PATH --data-name {name}, " in line
        assert line.endswith(f"clipaudit lab run … --data {name}=PATH | 6")


# --- what is downloaded, from a server on this machine -------------------------------------------


def tar_of(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def md5(data):
    return hashlib.md5(data).hexdigest()


def drawn_pictures(what, n, side):
    return [draw_picture(stream(0, f"{what} {number}", "data sets"), side) for number in range(n)]


def cifar_file(pictures, **more):
    """Rows of 3,072 bytes: a picture's red, then its green, then its blue, line by line."""
    rows = [
        [int(one[y, x, c]) for c in range(3) for y in range(32) for x in range(32)]
        for one in pictures
    ]
    return pickle.dumps({"data": np.array(rows, np.uint8), **more}, protocol=2)


def stl_file(pictures):
    """A channel at a time, each column by column."""
    return bytes(
        int(one[y, x, c])
        for one in pictures
        for c in range(3)
        for x in range(96)
        for y in range(96)
    )


def as_jpeg(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG")
    return file.getvalue()


CIFAR = drawn_pictures("cifar", 7, 32)
TESTED = drawn_pictures("cifar test", 2, 32)
STL = drawn_pictures("stl", 4, 96)
UNLABELLED = drawn_pictures("stl unlabelled", 3, 96)
TINY = [as_jpeg(one) for one in drawn_pictures("tiny", 6, 64)]


def cifar10_tar():
    parts = (CIFAR[:3], CIFAR[3:4], CIFAR[4:5], CIFAR[5:6], CIFAR[6:])
    labels = ([2, 0, 1], [2], [0], [1], [1])
    batches = {
        f"data_batch_{number}": cifar_file(pictures, labels=classes)
        for number, (pictures, classes) in enumerate(zip(parts, labels, strict=True), start=1)
    }
    rest = {"test_batch": cifar_file(TESTED, labels=[0, 0])}
    rest["batches.meta"] = pickle.dumps({"label_names": ["cat", "dog", "ship"]}, protocol=2)
    return "cifar-10-batches-py", batches | rest


def cifar100_tar():
    classes = {"fine_labels": [2, 0, 1, 2, 0, 1, 1], "coarse_labels": [1, 0, 0, 1, 0, 0, 0]}
    names = {"fine_label_names": ["cat", "dog", "ship"], "coarse_label_names": ["pet", "boat"]}
    return "cifar-100-python", {
        "train": cifar_file(CIFAR, **classes),
        "test": cifar_file(TESTED, fine_labels=[0, 0], coarse_labels=[0, 0]),
        "meta": pickle.dumps(names, protocol=2),
    }


def stl10_tar():
    return (
        "stl10_binary",
        {
            "train_X.bin": stl_file(STL),
            "train_y.bin": bytes([10, 1, 3, 1]),  # counted from one
            "unlabeled_X.bin": stl_file(UNLABELLED),
            "test_X.bin": stl_file(STL[:1]),
            "test_y.bin": bytes([2]),
            "class_names.txt": b"airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n",
            "fold_indices.txt": b"0 1 \n" * 10,
        },
    )


def tiny_imagenet_zip():
    names = [f"train/n0{k // 2}/images/n0{k // 2}_{k}.JPEG" for k in range(4)]
    names += ["val/images/val_0.JPEG", "test/images/test_0.JPEG"]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny-imagenet-200/wnids.txt", "n00\nn01\n")
        archive.writestr("tiny-imagenet-200/train/n00/n00_boxes.txt", "n00_0.JPEG\t0\t0\t9\t9\n")
        for name, data in zip(names, TINY, strict=True):
            archive.writestr(f"tiny-imagenet-200/{name}", data)
    return file.getvalue()


TARS = {CIFAR10: cifar10_tar, CIFAR100: cifar100_tar, STL10: stl10_tar}


@pytest.fixture(scope="session")
def archives():
    """What the server has at each of its paths, and the files in the tar files of each library."""
    files = {kind: make() for kind, make in TARS.items()}
    served = {
        f"/{kind.filename}": tar_of({f"{folder}/{name}": data for name, data in inside.items()})
        for kind, (folder, inside) in files.items()
    }
    return served | {"/tiny-imagenet-200.zip": tiny_imagenet_zip()}, files


@pytest.fixture
def server(httpserver, archives, monkeypatch):
    """A server that has all that is named, only smaller; the libraries know its checksums."""
    monkeypatch.setenv("no_proxy", "*")
    served, files = archives
    for kind, (_, inside) in files.items():
        path = f"/{kind.filename}"
        monkeypatch.setattr(kind, "url", httpserver.url_for(path))
        monkeypatch.setattr(kind, "tgz_md5", md5(served[path]))
        for name in ("train_list", "test_list"):
            known = [[file, md5(inside[file])] for file, _ in getattr(kind, name)]
            monkeypatch.setattr(kind, name, known)
        if kind is not STL10:
            meta = kind.meta | {"md5": md5(inside[kind.meta["filename"]])}
            monkeypatch.setattr(kind, "meta", meta)
    path = "/tiny-imagenet-200.zip"
    monkeypatch.setattr(datasets, "_TINY_IMAGENET_URL", httpserver.url_for(path))
    monkeypatch.setattr(datasets, "_TINY_IMAGENET_MD5", md5(served[path]))
    return httpserver


def serve(server, archives):
    for path, data in archives[0].items():
        server.expect_request(path).respond_with_data(data)


ARRAYS = {
    "cifar10": (CIFAR, ("ship", "cat", "dog", "ship", "cat", "dog", "dog")),
    "cifar100": (CIFAR, ("ship", "cat", "dog", "ship", "cat", "dog", "dog")),
    "stl10": (UNLABELLED, None),
    "stl10-labelled": (STL, ("truck", "airplane", "car", "airplane")),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_named_set_has_the_pixels_and_classes_that_were_published(
    server, archives, tmp_path, name
):
    serve(server, archives)
    data = open_data(name, None, tmp_path / "new" / "folder")
    pictures, classes = ARRAYS[name]
    ids = [hashlib.sha256(one.tobytes()).hexdigest() for one in pictures]
    assert data.name == name
    assert set(data.ids) == set(ids)
    side = pictures[0].shape[0]
    np.testing.assert_array_equal(data.pixels(ids, side), np.stack(pictures).transpose(0, 3, 1, 2))
    assert data.labels(ids) == classes
    assert data.labels(ids[:0:-1]) == (classes and classes[:0:-1])
    for one, picture in zip(ids, pictures, strict=True):
        assert hash_of(data, one) == int(str(imagehash.phash(Image.fromarray(picture))), 16)
    n = len(pictures) // 2
    drawn = draw_groups(data, {"a": n, "b": n}, 0)
    assert len({*drawn.groups["a"], *drawn.groups["b"]} & set(ids)) == 2 * n


def test_tiny_imagenet_is_its_pictures_for_training(server, archives, tmp_path):
    serve(server, archives)
    data = open_data("tiny-imagenet", "tiny", tmp_path, n_workers=0)
    ids = [hashlib.sha256(one).hexdigest() for one in TINY[:4]]
    assert data.name == "tiny"
    assert set(data.ids) == set(ids)
    assert data.labels(ids) == ("n00", "n00", "n01", "n01")
    for one, encoded in zip(ids, TINY, strict=False):
        expected = np.asarray(Image.open(io.BytesIO(encoded))).transpose(2, 0, 1)
        np.testing.assert_array_equal(data.pixels([one], 64)[0], expected)


@pytest.mark.parametrize("name", NAMED)
def test_a_named_set_is_downloaded_once(server, archives, tmp_path, capfd, name):
    serve(server, archives)
    first = open_data(name, None, tmp_path)
    assert server.log
    server.clear()
    again = open_data(name, "again", tmp_path)
    assert again.ids == first.ids
    assert not server.log
    assert not capfd.readouterr().out  # that is for results


@pytest.mark.parametrize("side", [8, 32, 48])
def test_an_array_is_resized_as_a_file_is(server, archives, tmp_path, side):
    serve(server, archives)
    data = open_data("cifar100", None, tmp_path)
    ids = [hashlib.sha256(one.tobytes()).hexdigest() for one in CIFAR]
    files = {}
    for number, picture in enumerate(CIFAR):
        Image.fromarray(picture).save(file := io.BytesIO(), "PNG")
        files[f"{number}.png"] = file.getvalue()
    same = data_of(folder_of(tmp_path / "files", files))
    file_ids = [hashlib.sha256(one).hexdigest() for one in files.values()]
    np.testing.assert_array_equal(data.pixels(ids, side), same.pixels(file_ids, side))
    for one, other in zip(ids, file_ids, strict=True):
        assert hash_of(data, one) == hash_of(same, other)


@pytest.mark.parametrize("name", NAMED)
def test_a_download_that_fails_is_an_error_of_ours_and_may_be_tried_again(
    server, archives, tmp_path, name
):
    for path in archives[0]:
        server.expect_oneshot_request(path).respond_with_data("gone", status=404)
        server.expect_oneshot_request(path).respond_with_data(b"nothing of the kind")
        server.expect_oneshot_request(path).respond_with_data(b"nothing of the kind")
    for reason in ("404", "corrupted"):
        with pytest.raises(SourceError, match=f"cannot be downloaded: .*{reason}") as caught:
            open_data(name, None, tmp_path)
        assert caught.value.exit_code == 6
        assert "Check the network" in caught.value.hint
    server.clear()
    serve(server, archives)
    assert open_data(name, None, tmp_path).ids


def test_cifar_from_its_zip(cifar_zip):
    data = open_data(str(cifar_zip), "cifar10", Path("nowhere"))
    assert 49_900 < len(data.ids) <= 50_000
    drawn = split(data, 10, 10, 0, NOTHING)
    assert data.pixels(drawn.members, 32).shape == (10, 3, 32, 32)
    classes = present(data.labels(data.ids))
    assert len(set(classes)) == 10
    assert {"airplane", "truck"} < set(classes)


def endless():
    """A JPEG of some megabytes whose last scan is repeated, so that decoding takes long."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((4000, 3000)).save(file, "JPEG", progressive=True, quality=30)
    data = file.getvalue()
    scan = data.rindex(b"\xff\xda")
    return data[:-2] + 300 * data[scan:-2] + data[-2:]


def test_a_picture_that_takes_too_long_is_passed_over_with_its_reason(
    tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(datasets, "_LIMITS", Limits(decode_timeout_s=1.0))
    folder = folder_of(tmp_path, FILES | {"0/endless.jpg": endless(), "1/cut.png": png(1)[0][:-30]})
    data = open_data(str(folder), "pictures", Path("nowhere"), n_workers=1)
    in_process = data_of(folder_of(tmp_path / "fine"))
    with pytest.raises(InputError, match="has 20 different pictures"):
        draw_groups(data, {"a": 21}, 0)
    assert "2 files of pictures cannot be decoded, passed over: " in caplog.text
    assert "1 timeout" in caplog.text
    ids = draw_groups(data, {"a": 20}, 0).groups["a"]
    assert {*ids} == IDS
    np.testing.assert_array_equal(data.pixels(ids, 16), in_process.pixels(ids, 16))
