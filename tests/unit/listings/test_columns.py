"""What columns hold: by name, by look, or as the user says."""

import pytest

from clipaudit.errors import InputError, UsageError
from clipaudit.listings.columns import (
    Column,
    assign,
    check_roles,
    is_header,
    missing,
    parse_columns,
)


def columns(**types):
    return [Column(name, f'"{name}"', kind) for name, kind in types.items()]


def numbered(*samples):
    """Columns of a file without a header, and what is in them."""
    found = [Column(str(number), f"c{number}", "VARCHAR") for number in range(1, len(samples) + 1)]
    return found, {str(number): values for number, values in enumerate(samples, 1)}


def roles(found):
    return {role: column.name for role, column in found.by_role.items()}


PUBLISHED = {
    "LAION-400M": (
        columns(
            SAMPLE_ID="DOUBLE",
            URL="VARCHAR",
            TEXT="VARCHAR",
            HEIGHT="DOUBLE",
            WIDTH="DOUBLE",
            LICENSE="VARCHAR",
            NSFW="VARCHAR",
            similarity="DOUBLE",
        ),
        {
            "url": "URL",
            "text": "TEXT",
            "key": "SAMPLE_ID",
            "width": "WIDTH",
            "height": "HEIGHT",
            "license": "LICENSE",
        },
    ),
    "DataComp": (
        columns(
            uid="VARCHAR",
            url="VARCHAR",
            text="VARCHAR",
            original_width="BIGINT",
            original_height="BIGINT",
            face_bboxes="DOUBLE[][]",
            sha256="VARCHAR",
        ),
        {
            "url": "url",
            "text": "text",
            "sha256": "sha256",
            "key": "uid",
            "width": "original_width",
            "height": "original_height",
        },
    ),
    "COYO": (
        columns(id="BIGINT", url="VARCHAR", text="VARCHAR", image_phash="VARCHAR", width="INTEGER"),
        {"url": "url", "text": "text", "phash": "image_phash", "key": "id", "width": "width"},
    ),
    "img2dataset": (
        columns(
            url="VARCHAR",
            caption="VARCHAR",
            key="VARCHAR",
            status="VARCHAR",
            width="INTEGER",
            height="INTEGER",
            original_width="INTEGER",
            original_height="INTEGER",
            exif="VARCHAR",
            sha256="VARCHAR",
        ),
        {
            "url": "url",
            "text": "caption",
            "sha256": "sha256",
            "key": "key",
            "width": "original_width",
            "height": "original_height",
        },
    ),
    "YFCC100M on Hugging Face": (
        columns(
            photoid="BIGINT",
            uid="VARCHAR",
            title="VARCHAR",
            pageurl="VARCHAR",
            downloadurl="VARCHAR",
            licensename="VARCHAR",
            key="VARCHAR",
        ),
        {
            "url": "downloadurl",
            "text": "title",
            "flickr": "photoid",
            "key": "photoid",
            "license": "licensename",
        },
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_lists_are_known_by_their_columns(name):
    given, expected = PUBLISHED[name]
    assert roles(assign(given, {}, {})) == expected


def test_laions_numbers_are_not_taken_for_a_hash_of_the_picture():
    found = assign(columns(URL="VARCHAR", hash="BIGINT"), {}, {})
    assert roles(found) == {"url": "URL"}
    assert "hash is not compared" in found.notes[0]
    assert "LAION" in found.notes[0]


@pytest.mark.parametrize(("length", "role"), [(64, "sha256"), (32, "md5")])
def test_a_hash_that_looks_like_one_is_taken_for_it_and_said(length, role):
    given = columns(url="VARCHAR", hash="VARCHAR")
    found = assign(given, {"hash": ["0a" * (length // 2), "F" * length]}, {})
    assert roles(found)[role] == "hash"
    assert f"hash is taken for {role}" in found.notes[0]


def test_a_hash_of_another_length_is_not_compared():
    found = assign(columns(url="VARCHAR", hash="VARCHAR"), {"hash": ["abc", "abcd"]}, {})
    assert roles(found) == {"url": "url"}
    assert "hash is not compared" in found.notes[0]


HEX64, HEX32 = ["0b" * 32, "1c" * 32], ["2d" * 16, "3e" * 16]
ADDRESSES = ["http://a.example/1.jpg", "https://b.example/2.jpg"]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ((ADDRESSES, ["a cat", "a dog"]), {"url": "1", "text": "2"}),
        ((["a cat", "a dog"], ADDRESSES), {"url": "2", "text": "1"}),
        ((ADDRESSES, HEX64, HEX32), {"url": "1", "sha256": "2", "md5": "3"}),
        ((["0", "1"], ["617", "618"], HEX32), {"flickr": "2", "key": "2"}),
        (
            (["0"], ["617"], HEX32[:1], ["http://www.flickr.com/photos/a/617/"], ADDRESSES[:1]),
            {"flickr": "2", "key": "2", "url": "5"},
        ),
        ((ADDRESSES,), {"url": "1"}),
        ((["x", "y"], ["1", "2"]), {}),
    ],
)
def test_files_without_a_header_are_known_by_what_is_in_them(samples, expected):
    given, values = numbered(*samples)
    assert roles(assign(given, values, {})) == expected


def test_the_photo_hash_of_yfcc_is_no_md5_and_said():
    given, values = numbered(["0", "1"], ["617", "618"], HEX32)
    assert "column 3 is not compared" in assign(given, values, {}).notes[0]


def test_a_caption_that_is_an_address_does_not_make_a_column_of_addresses():
    given, values = numbered(ADDRESSES * 5, [*["a cat"] * 9, "http://spam.example/"])
    assert roles(assign(given, values, {})) == {"url": "1", "text": "2"}


@pytest.mark.parametrize("name", ["Image Link", "image link"])
def test_the_user_has_the_last_word(name):
    given = columns(**{"Image Link": "VARCHAR", "url": "VARCHAR", "text": "VARCHAR"})
    assert roles(assign(given, {}, {"url": name}))["url"] == "Image Link"


def test_a_name_in_other_letters_counts_unless_one_is_exact():
    given = columns(URL="VARCHAR", url="VARCHAR")
    assert roles(assign(given, {}, {"url": "url"}))["url"] == "url"
    assert roles(assign(given, {}, {"url": "Url"}))["url"] == "URL"


def test_what_the_user_names_and_is_not_there_is_said():
    given = columns(url="VARCHAR")
    assert missing(["url"], {"url": "URL", "sha256": "nothing"}) == {"sha256"}
    assert roles(assign(given, {}, {"sha256": "nothing"})) == {"url": "url"}


def test_a_type_that_a_role_cannot_be_read_from_is_an_error_where_the_user_says_so():
    given = columns(url="VARCHAR", boxes="DOUBLE[]")
    with pytest.raises(InputError, match=r"'boxes' holds DOUBLE\[\], which is no sha256"):
        assign(given, {}, {"sha256": "boxes"})


def test_a_type_that_a_role_cannot_be_read_from_is_a_note_otherwise():
    found = assign(columns(url="VARCHAR[]", sha256="BIGINT"), {}, {})
    assert found.by_role == {}
    assert len(found.notes) == 2


@pytest.mark.parametrize(
    ("name", "shared"), [("uid", "uid"), ("SAMPLE_ID", "sample_id"), ("key", None), ("id", None)]
)
def test_only_some_keys_mean_the_same_everywhere(name, shared):
    found = assign(columns(**{"url": "VARCHAR", name: "VARCHAR"}), {}, {})
    assert found.shared_key == shared
    assert assign(columns(**{name: "VARCHAR"}), {}, {"key": name}).shared_key == name.lower()


def test_a_first_row_with_a_known_name_is_a_header():
    assert is_header(["Caption", "URL"], {})
    assert is_header(["a", "Image Link"], {"url": "image link"})
    assert not is_header(["http://a.example/1.jpg", "a cat"], {"url": "1"})
    assert not is_header(["http://a.example/1.jpg", "Title"], {})
    assert not is_header(["0", "617", "2d"], {})


@pytest.mark.parametrize("text", ["url", "url=", "=URL", "url=URL,,", ""])
def test_columns_are_written_in_one_way(text):
    with pytest.raises(UsageError, match="--columns"):
        parse_columns(text)


def test_a_role_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match="picture=…") as caught:
        check_roles({"picture": "x"})
    assert "sha256" in caught.value.hint
    assert check_roles(parse_columns("URL=a,sha256=b")) == {"url": "a", "sha256": "b"}
