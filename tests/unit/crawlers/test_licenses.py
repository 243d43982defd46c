"""Licences as short ids, lines of credit, and markup as plain text."""

import pytest
from clipaudit_crawlers.licenses import (
    FREE,
    LICENSES,
    License,
    first_link,
    http_url,
    one_line,
    plain_text,
    read_license,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.made.present import present

CC = "https://creativecommons.org"


@pytest.mark.parametrize(
    ("url", "known"),
    [
        (f"{CC}/licenses/by/2.0/", ("by", "2.0")),
        (f"{CC}/licenses/by-sa/4.0", ("by-sa", "4.0")),
        (f"{CC}/licenses/by-nc-nd/3.0/de/deed.en", ("by-nc-nd", "3.0")),
        (f"{CC}/licenses/by-nd-nc/1.0/", ("by-nc-nd", "1.0")),
        (f"{CC}/licenses/sampling+/1.0/", ("sampling+", "1.0")),
        (f"{CC}/publicdomain/zero/1.0/deed.fr", ("cc0", "1.0")),
        (f"{CC}/publicdomain/mark/1.0/", ("pdm", "1.0")),
        (f"{CC}/licenses/publicdomain/", ("pdm", None)),
        ("//creativecommons.org/licenses/by/4.0/", ("by", "4.0")),
        ("http://www.creativecommons.org/licenses/BY-SA/2.5/", ("by-sa", "2.5")),
    ],
)
def test_a_url_of_creative_commons_says_which_licence_it_is(url, known):
    found = read_license("Any name", url)
    assert (found.id, found.version) == known
    assert present(found.url).endswith(url.removeprefix("//"))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("CC BY-SA 4.0", ("by-sa", "4.0")),
        ("CC BY 2.0 de", ("by", "2.0")),
        ("cc-by-sa-3.0,2.5,2.0,1.0", ("by-sa", "3.0")),
        ("CC-BY", ("by", None)),
        ("Creative Commons BY-NC 3.0", ("by-nc", "3.0")),
        ("CC0", ("cc0", "1.0")),
        ("cc-zero", ("cc0", "1.0")),
        ("Public Domain Dedication (CC0)", ("cc0", "1.0")),
        ("Public domain", ("pdm", None)),
        ("Public Domain Mark", ("pdm", "1.0")),
        ("pd", ("pdm", None)),
        ("PD-old-100", ("pdm", None)),
    ],
)
def test_a_name_says_which_licence_it_is(name, known):
    found = read_license(name)
    assert (found.id, found.version) == known


@pytest.mark.parametrize(
    "name",
    [
        "No known copyright restrictions",
        "Attribution",
        "GFDL",
        "CC BY-XX 4.0",
        "All Rights Reserved",
    ],
)
def test_words_that_are_no_licence_of_creative_commons_stay_the_sources_own(name):
    assert read_license(name) == License(name)


def test_a_url_of_another_site_decides_nothing():
    url = "https://evil.example/creativecommons.org/licenses/by/4.0/"
    assert read_license("CC BY-NC 2.0", url) == License("by-nc", "2.0", url)


def test_nothing_said_is_no_licence():
    assert read_license(None) == read_license("", None) == read_license("  \n") == License(None)


def test_what_everybody_may_use_is_among_the_licences():
    assert set(FREE) < set(LICENSES)
    assert not any("nc" in name or "nd" in name for name in FREE)


@pytest.mark.parametrize(
    ("known", "title"),
    [
        (License("by-sa", "4.0"), "CC BY-SA 4.0"),
        (License("by"), "CC BY"),
        (License("cc0", "1.0"), "CC0 1.0"),
        (License("pdm", "1.0"), "Public Domain Mark 1.0"),
        (License("pdm"), "public domain"),
        (License("nc-sampling+", "1.0"), "CC NC-Sampling+ 1.0"),
        (License("GFDL"), "GFDL"),
        (License(None), None),
    ],
)
def test_a_licence_has_a_title_for_people(known, title):
    assert known.title == title


def test_a_line_of_credit_names_what_is_known():
    url = f"{CC}/licenses/by/4.0/"
    assert License("by", "4.0", url).credit("Otter", "Ann", "https://example.org/1") == (
        f'"Otter" by Ann (https://example.org/1), CC BY 4.0 ({url})'
    )
    assert License("pdm").credit(None, None, None) == "This picture, public domain"
    assert License(None).credit(None, "Ann", None) == "This picture by Ann"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("Ann", "Ann"),
        ("<a href='/x'>Ann</a> &amp; Bob", "Ann & Bob"),
        ("one<br>two<br/>three<p>four</p>", "one two three four"),
        ("O<b>tt</b>er", "Otter"),
        ("a<script>alert(1)</script>b<style>c{}</style>", "a b"),
        ('Ann<span style="display: none;">twice <b>Ann</b></span> Lee', "Ann Lee"),
        ('<span style="DISPLAY:NONE">a<br>b</span>seen', "seen"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("unclosed <b>bold", "unclosed bold"),
        ("stray </i> end", "stray end"),
        ("<![broken declaration", "[broken declaration"),
        ("<!-- comment -->seen", "seen"),
        ("", None),
        ("<p> </p>", None),
        (None, None),
    ],
)
def test_markup_becomes_what_a_person_would_read(markup, text):
    assert plain_text(markup) == text


def test_long_text_is_cut_at_a_length():
    assert plain_text("x" * 400) == "x" * 299 + "…"
    assert plain_text("<p>" + "word " * 400, 12) == "word word w…"


def test_what_cannot_be_printed_is_left_out():
    assert one_line("a\x1b[2Jb\u202ec\x00\ud800d") == "a[2Jbcd"
    assert one_line("می\u200cخواهم") == "می\u200cخواهم"  # letters that do not join
    assert one_line("\u3000a\n\tb ") == "a b"


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_reads_as_one_printable_line_that_can_be_written(text):
    for line in (one_line(text), plain_text(text)):
        if line is not None:
            assert line == line.strip()
            assert len(line) <= 300
            assert "\n" not in line
            line.encode()


PIECES = ("<", ">", "<b>", "</b>", "<!", "<![", "--", "<a href=", "x", "'", "<script>", "&#0;")


@given(st.lists(st.sampled_from(PIECES)))
def test_no_markup_is_too_broken_to_read(pieces):
    assert plain_text("".join(pieces)) != ""
    assert first_link("".join(pieces)) is None


@pytest.mark.parametrize(
    ("markup", "url"),
    [
        ('<a href="//commons.wikimedia.org/wiki/A">A</a>', "https://commons.wikimedia.org/wiki/A"),
        ('<b><a href="http://a.org">A</a><a href="http://b.org">B</a>', "http://a.org"),
        ('<a href="javascript:alert(1)">A</a>', None),
        ('<a href="/wiki/User:A">A</a>', None),
        ("<a>A</a>", None),
        ("no link", None),
        (None, None),
    ],
)
def test_the_first_link_is_found_if_it_leads_to_the_web(markup, url):
    assert first_link(markup) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "otter", "ftp://a.org/x", "file:///etc/passwd", "javascript:alert(1)", "https://"),
        *("http://[::1", "https://a b.org/x", "https://a.org/\x00", "https://a.org/\u202e", "/x"),
        *(
            "data:image/png;base64,",
            "http:a.org",
            "https://a.org/1 http://a.org/2",
            "https://a.org/\ud800",
            "https://a.org/a\nb",
        ),
    ],
)
def test_what_is_no_complete_address_of_the_web_is_none(text):
    assert http_url(text) is None


def test_an_address_without_its_scheme_is_taken_for_https():
    assert http_url(" //a.org/x.jpg\n") == "https://a.org/x.jpg"
    assert http_url("http://a.org/ä.jpg?x=1#y") == "http://a.org/ä.jpg?x=1#y"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://a.org/a b.jpg", "https://a.org/a%20b.jpg"),
        (" //a.org/a  b.jpg?q=c d ", "https://a.org/a%20%20b.jpg?q=c%20d"),
        ("http://a.org/a%20b c.jpg", "http://a.org/a%20b%20c.jpg"),
        ("http://a.org/a\u00a0b\u3000c.jpg", "http://a.org/a%C2%A0b%E3%80%80c.jpg"),
    ],
)
def test_blanks_in_an_address_are_encoded(text, url):
    assert http_url(text) == url
