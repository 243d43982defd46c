import hashlib
import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipaudit.errors import InputError
from clipaudit.files import FileError
from clipaudit.lab.scale import SplitSizes
from clipaudit.lab.splits import make_split, read_split, split_folder
from clipaudit.shadow.datasets import open_data
from tests.made.labs import draw_pictures

SIZES = SplitSizes(target=12, shadow=11, probe=10)
GROUPS = ("target-members", "target-nonmembers", "shadow-members", "shadow-nonmembers")
PROBES = ("probe-train", "probe-test")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Ten pictures more than a split has, in three classes."""
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 76, "drawn")


@pytest.fixture(scope="module")
def made(pictures, tmp_path_factory):
    return draw(tmp_path_factory.mktemp("lab"), pictures)


def draw(lab, pictures, seed=0, size_px=16, sizes=SIZES):
    folder = split_folder(lab, "drawn", sizes, size_px, seed)
    return make_split(folder, "drawn", lambda: data_of(pictures), sizes, size_px, seed)


def data_of(pictures):
    return open_data(str(pictures), "drawn", Path("nowhere"), n_workers=0)


@pytest.fixture
def copied(made, tmp_path):
    """The same split once more, to be broken."""
    return Path(shutil.copytree(made.folder, tmp_path / "split"))


def never():
    raise AssertionError("the data set was opened")


# --- what a split is -----------------------------------------------------------------------------


def test_no_picture_is_in_two_groups(made, pictures):
    assert {name: len(ids) for name, ids in made.groups.items()} == SIZES.counts
    for one, other in combinations(made.groups.values(), 2):
        assert not set(one) & set(other)
    ids = [one for group in made.groups.values() for one in group]
    assert len(set(ids)) == len(ids) == 66
    assert set(ids) <= set(data_of(pictures).ids)


def test_no_copy_of_a_picture_is_in_another_group(pictures, tmp_path):
    for path in pictures.rglob("*.png"):
        shutil.copy(path, tmp_path / path.name)
        Image.open(path).resize((32, 32)).save(tmp_path / f"{path.stem}-copy.png")
    name_of = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path.stem.removesuffix("-copy")
        for path in tmp_path.glob("*.png")
    }
    split = draw(tmp_path / "lab", tmp_path)
    drawn = [name_of[one] for group in split.groups.values() for one in group]
    assert len(set(drawn)) == len(drawn) == 66
    assert split.n_near_duplicates > 0
    assert read_split(split.folder) == split


def test_classes_are_the_folders_of_the_pictures(made, pictures):
    class_of = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path.parent.name
        for path in pictures.rglob("*.png")
    }
    assert set(made.labels) == set(PROBES)
    for group in PROBES:
        assert made.labels[group] == tuple(class_of[one] for one in made.groups[group])


def test_pictures_in_one_folder_have_no_classes(pictures, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in pictures.rglob("*.png"):
        shutil.copy(path, flat / f"{path.parent.name}-{path.name}")
    split = draw(tmp_path, flat)
    assert split.labels is None
    assert read_split(split.folder).labels is None


def test_classes_that_nobody_could_learn_from_are_none(pictures, tmp_path):
    """All pictures but one are of one class, and that one trains nothing."""
    shutil.copytree(pictures / "a", tmp_path / "set" / "a")
    for number in range(40):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "set" / "a" / f"more-{number}.png")
    odd = tmp_path / "set" / "b" / "odd.png"
    odd.parent.mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(odd)
    split = draw(tmp_path, tmp_path / "set", sizes=SplitSizes(target=10, shadow=10, probe=10))
    assert hashlib.sha256(odd.read_bytes()).hexdigest() not in split.groups["probe-train"]
    assert split.labels is None


def test_pixels_come_in_the_order_asked_for_and_are_those_of_the_data_set(made, pictures):
    everything = [one for group in made.groups.values() for one in group]
    asked = tuple(np.random.default_rng(0).permutation(everything).tolist()[:20])
    found = made.pixels(asked)
    assert (found.shape, found.dtype) == ((20, 3, 16, 16), np.uint8)
    np.testing.assert_array_equal(found, data_of(pictures).pixels(asked, 16))
    for one, pixels in zip(asked, found, strict=True):
        np.testing.assert_array_equal(made.pixels((one,))[0], pixels)


def test_pixels_are_resized_once_for_all(pictures, tmp_path):
    split = draw(tmp_path, pictures, size_px=24)
    asked = split.groups["probe-test"]
    np.testing.assert_array_equal(split.pixels(asked), data_of(pictures).pixels(asked, 24))


def test_pictures_of_an_encoder_are_its_members_and_then_as_many_non_members(made):
    for role, most in (("target", 12), ("shadow", 11)):
        members, others = made.groups[f"{role}-members"], made.groups[f"{role}-nonmembers"]
        assert made.pictures(role, 10) == (members[:10] + others[:10], 10)
        assert made.pictures(role, most) == (members + others, most)


# --- written once --------------------------------------------------------------------------------


def test_a_split_is_written_once_and_read_again_without_its_data_set(made):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(made.folder)}
    again = make_split(made.folder, "drawn", never, SIZES, 16, 0)
    assert again == made == read_split(made.folder)
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(made.folder)
    }


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_same_seed_gives_the_same_bytes_elsewhere(made, pictures, tmp_path):
    again = draw(tmp_path, pictures)
    assert [path.name for path in files(again.folder)] == ["pixels.npy", "split.json"]
    for path in files(again.folder):
        assert path.read_bytes() == (made.folder / path.name).read_bytes()


def test_another_seed_gives_another_split_in_another_folder(made, pictures, tmp_path):
    lab = made.folder.parent.parent
    other = draw(lab, pictures, seed=1)
    assert other.folder != made.folder
    assert other.folder.parent == made.folder.parent
    for group in made.groups:
        assert set(other.groups[group]) != set(made.groups[group])


def test_every_thing_that_matters_has_a_folder_of_its_own():
    other = SIZES.model_copy(update={"shadow": 12})
    folders = [
        split_folder(Path("lab"), *what)
        for what in (
            *(("drawn", SIZES, 16, 0), ("drawn", SIZES, 16, 1), ("drawn", SIZES, 24, 0)),
            *(("drawn", other, 16, 0), ("other", SIZES, 16, 0)),
        )
    ]
    assert len(set(folders)) == 5
    assert split_folder(Path("lab"), "drawn", SIZES, 16, 0) == folders[0]


def test_a_split_whose_drawing_was_cut_short_is_drawn_again(made, pictures, tmp_path):
    folder = split_folder(tmp_path, "drawn", SIZES, 16, 0)
    folder.mkdir(parents=True)
    (folder / "pixels.npy").write_bytes(b"half")  # the list comes last
    assert draw(tmp_path, pictures).groups == made.groups
    assert (folder / "pixels.npy").read_bytes() == (made.folder / "pixels.npy").read_bytes()


def test_a_data_set_that_is_too_small_leaves_nothing_behind(pictures, tmp_path):
    with pytest.raises(InputError, match=r"different pictures.*40 target-members") as caught:
        draw(tmp_path, pictures, sizes=SplitSizes(target=40, shadow=10, probe=10))
    assert "split of a matrix" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_lab_that_cannot_be_written_to_is_an_error_of_ours(pictures, tmp_path):
    (tmp_path / "lab").touch()
    with pytest.raises(FileError, match="cannot write"):
        draw(tmp_path / "lab", pictures)


# --- broken --------------------------------------------------------------------------------------


def document_of(folder):
    return json.loads((folder / "split.json").read_text())


def write(folder, document):
    (folder / "split.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("target-members", "target-nonmembers"),
        ("target-members", "shadow-members"),
        ("shadow-nonmembers", "probe-test"),
        ("probe-train", "probe-train"),
    ],
)
def test_a_split_that_was_edited_so_that_it_overlaps_is_refused(copied, one, other):
    document = document_of(copied)
    document["groups"][other][1] = document["groups"][one][0]
    write(copied, document)
    with pytest.raises(InputError, match="overlaps: 1 pictures") as caught:
        read_split(copied)
    assert "Delete that folder" in caught.value.hint
    with pytest.raises(InputError, match="overlaps"):
        make_split(copied, "drawn", never, SIZES, 16, 0)


def without_a_group(document):
    del document["groups"]["shadow-members"]


def of_another_format(document):
    document["format"] = 2


def without_a_format(document):
    del document["format"]


def without_labels(document):
    del document["labels"]


def with_a_number_for_a_group(document):
    document["groups"]["probe-test"] = 3


def with_a_list_for_labels(document):
    document["labels"] = [["a"]]


@pytest.mark.parametrize(
    "change",
    [
        *(without_a_group, of_another_format, without_a_format, without_labels),
        *(with_a_number_for_a_group, with_a_list_for_labels),
    ],
)
def test_a_split_of_another_form_is_an_error_of_ours(copied, change):
    document = document_of(copied)
    change(document)
    write(copied, document)
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_split(copied)
    assert "Delete that folder" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff", b"null", b'{"format": 1}'])
def test_a_list_that_is_none_is_an_error_of_ours(copied, content):
    (copied / "split.json").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        read_split(copied)


def test_a_split_that_is_not_there_is_an_error_of_ours(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_split(tmp_path)


@pytest.mark.parametrize("kept", [None, 0, 60, 1000, -1])
def test_pixels_that_are_missing_or_cut_are_an_error_of_ours(copied, kept):
    path = copied / "pixels.npy"
    whole = path.read_bytes()
    path.unlink() if kept is None else path.write_bytes(whole[:kept])
    split = read_split(copied)
    with pytest.raises(InputError, match="cannot be read") as caught:
        split.pixels(split.groups["probe-test"])
    assert "draw it again" in caught.value.hint


def test_pixels_of_too_few_pictures_are_an_error_of_ours(copied):
    np.save(copied / "pixels.npy", np.zeros((3, 3, 16, 16), np.uint8))
    split = read_split(copied)
    with pytest.raises(InputError, match="cannot be read"):
        split.pixels(split.groups["probe-test"])


def test_a_deleted_split_comes_back_as_it_was(copied, made, pictures):
    lab = copied.parent / "lab"
    again = draw(lab, pictures)
    shutil.rmtree(again.folder)
    assert draw(lab, pictures).groups == made.groups
