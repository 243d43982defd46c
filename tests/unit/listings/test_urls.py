"""Two ways to compare addresses, and photo ids of Flickr."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipaudit.listings.urls import complete, flickr_id, host_of, is_web, normalise, spellings
from tests.made.spellings import OTHERS, PAIRS, SAME

"""Two spellings of one address each."""


@pytest.mark.parametrize("url", SAME)
def test_what_says_nothing_of_the_picture_is_dropped(url):
    assert normalise(url) == "example.org/a/B.jpg?v=2"


@pytest.mark.parametrize(("url", "other"), PAIRS)
def test_two_spellings_of_an_address_are_normalised_to_the_same(url, other):
    assert normalise(url) == normalise(other) is not None


def test_an_address_in_a_list_is_asked_for_without_what_stands_around_it():
    assert complete('\t"//a.org/x y.jpg"\u00a0') == "https://a.org/x y.jpg"
    assert complete("http://a.org/é.jpg") == "http://a.org/é.jpg"
    assert is_web("\u00a0//a.org/")
    assert not is_web("/a.org/")


@pytest.mark.parametrize("url", OTHERS)
def test_what_may_lead_to_another_picture_is_kept(url):
    assert normalise(url) not in {None, "example.org/a/B.jpg?v=2"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "photo.jpg",
        "/home/me/photo.jpg",
        "ftp://example.org/x.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "/example.org/x.jpg",
        "//",
        "https:/example.org/x.jpg",
        "http://exa%20mple.org/x.jpg",
        "http://exa%2Fmple.org/x.jpg",
        "http://",
        "https:///x.jpg",
        "http://example.org:99999/x.jpg",
        "http://exa mple.org/x.jpg",
        "http://[::1/x.jpg",
        "http://example.org/\udcff.jpg",
    ],
)
def test_what_is_no_web_address_is_none(text):
    assert normalise(text) is None
    assert spellings(text) == set()
    assert flickr_id(text) is None


def test_names_beyond_ascii_are_the_same_in_both_spellings():
    assert normalise("http://bücher.example/ü.jpg") == "xn--bcher-kva.example/%C3%BC.jpg"
    assert normalise("http://xn--bcher-kva.example/ü.jpg") == "xn--bcher-kva.example/%C3%BC.jpg"


def test_an_address_without_a_path_is_that_of_the_root():
    assert normalise("http://example.org") == normalise("http://example.org/") == "example.org/"
    assert {"http://example.org", "https://www.example.org/"} <= spellings("http://example.org")


HOSTS = st.from_regex(r"(www\.)?[a-z]{1,5}\.[a-z]{2,3}(:80|:443|:8080)?", fullmatch=True)
ODD = st.sampled_from(["%26", "&amp;", "%3B", "%25", "%", "%2541", "..", "ö", "%C3", " ", "+"])
PATHS = st.builds(
    "{}{}{}".format,
    st.from_regex(r"(/[a-zA-Z0-9._%-]{0,6}){0,3}", fullmatch=True),
    st.lists(st.one_of(st.just("/"), ODD), max_size=4).map(lambda parts: "/" + "".join(parts)),
    st.from_regex(r"(\?[a-z%]=[0-9;&%]{0,3})?(#[a-z])?", fullmatch=True),
)
URLS = st.builds("{}://{}{}".format, st.sampled_from(["http", "https"]), HOSTS, PATHS)


@given(URLS)
def test_normalising_what_is_normalised_changes_nothing(url):
    scheme = url.partition("://")[0]  # which decides what port is the default one
    assert normalise(f"{scheme}://{normalise(url)}") == normalise(url)


@pytest.mark.parametrize(
    ("url", "photo"),
    [
        ("https://live.staticflickr.com/65535/51234567890_0a1b2c3d4e_b.jpg", "51234567890"),
        ("https://live.staticflickr.com/4086/5068346023_8ba8e3a8f6.jpg", "5068346023"),
        ("http://farm5.staticflickr.com/4086/5068346023_8ba8e3a8f6_o.png?zz=1", "5068346023"),
        ("http://farm1.static.flickr.com/2/1418878_1e92283336_m.jpg", "1418878"),
        ("https://www.flickr.com/photos/39019111@N00/6985418911/", "6985418911"),
        ("http://flickr.com/photos/some-one/6985418911", "6985418911"),
        ("https://www.flickr.com/photos/some-one/6985418911/in/album-72157/?x=1", "6985418911"),
        ("https://www.flickr.com/photos/some-one/albums/72157", None),
        ("https://www.flickr.com/people/6985418911/", None),
        ("https://live.staticflickr.com/65535/cover.jpg", None),
        ("https://example.org/51234567890_0a1b2c3d4e_b.jpg", None),
        ("https://notflickr.com/photos/a/6985418911", None),
        ("https://staticflickr.com.example.org/1/5068346023_8ba8e3a8f6.jpg", None),
    ],
)
def test_photo_ids_come_out_of_flickr_addresses_alone(url, photo):
    assert flickr_id(url) == photo


def test_a_site_is_named_with_or_without_the_rest_of_an_address():
    assert host_of("Example.org") == "example.org"
    assert host_of("https://example.org:8080/about") == "example.org"
    assert host_of("bücher.example") == "xn--bcher-kva.example"
    assert host_of("no site") is None
