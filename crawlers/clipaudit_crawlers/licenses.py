"""What sources say, in our words: licences as short ids, lines of credit, markup as plain text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import quote, urlsplit

LICENSES = (
    *("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd", "cc0", "pdm"),
    *("sampling+", "nc-sampling+"),
)
"""The ids of Creative Commons' licences and marks; the last two are retired, but still in use."""

FREE = ("by", "by-sa", "cc0", "pdm")
"""Those that let everybody use and change a picture, for any end."""

_CC_URL = re.compile(
    r"(?:https?:)?//(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/"
    r"(?P<id>[a-z+-]+)(?:/(?P<version>\d\.\d))?(?:/|$)"
)
_CC_NAME = re.compile(
    r"(?:cc|creative commons)[ -](?P<id>by(?:-[a-z]{2})*)(?:[ -](?P<version>\d\.\d))?"
)
_CC0_NAME = re.compile(r"\bcc[ -]?(?:0|zero)\b")
_PUBLIC_DOMAIN_NAME = re.compile(r"public domain\b|pdm\b|(?:cc-)?pd(?:-|$)")
_PATHS = {"zero": "cc0", "mark": "pdm", "publicdomain": "pdm", "by-nd-nc": "by-nc-nd"}
"""What the URLs of Creative Commons call a licence, where it is not our id."""

_BLANK = re.compile(r"[^\S\x00-\x1f\x7f-\x9f\u2028\u2029]")

_SECOND = re.compile(r"\shttps?://", re.IGNORECASE)
"""Two addresses in the place of one."""

_MOST_MARKUP = 20_000
_EMPTY_TAGS = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr")
)
_INLINE_TAGS = frozenset(
    ("a", "abbr", "b", "bdi", "cite", "em", "font", "i", "small", "span", "strong", "sub", "sup")
)


@dataclass(frozen=True, slots=True)
class License:
    """A licence as a source names it.

    Attributes:
        id: One of `LICENSES`, or the source's own words; None where it says nothing.
        version: Such as `4.0`.
        url: Its text.
    """

    id: str | None
    version: str | None = None
    url: str | None = None

    @property
    def title(self) -> str | None:
        """Its name for people, such as `CC BY-SA 4.0`."""
        if self.id == "pdm":
            return f"Public Domain Mark {self.version}" if self.version else "public domain"
        if self.id not in LICENSES:
            return self.id
        name = {"cc0": "CC0"}.get(self.id, f"CC {self.id.upper().replace('SAMPLING', 'Sampling')}")
        return f"{name} {self.version}" if self.version else name

    def credit(self, title: str | None, author: str | None, page_url: str | None) -> str:
        """A line that names title, author, page and licence, as CC's licences ask for.

        >>> License("by", "4.0").credit("Otter", "Ann", "https://example.org/1")
        '"Otter" by Ann (https://example.org/1), CC BY 4.0'
        """
        line = f'"{title}"' if title else "This picture"
        if author:
            line += f" by {author}"
        if page_url:
            line += f" ({page_url})"
        if self.title:
            line += f", {self.title}"
        if self.url:
            line += f" ({self.url})"
        return line


def read_license(name: str | None, url: str | None = None) -> License:
    """The licence that a name and a URL stand for; the URL decides where it is one of CC's.

    A plain "public domain" reads as `pdm`, which is Creative Commons' mark for the same, without
    its version.

    >>> read_license("CC BY-SA 3.0 de")
    License(id='by-sa', version='3.0', url=None)
    >>> read_license("Attribution", "https://creativecommons.org/licenses/by/2.0/").title
    'CC BY 2.0'
    >>> read_license("No known copyright restrictions").id
    'No known copyright restrictions'
    """
    url = http_url(url)
    words = one_line(name)
    if match := _CC_URL.match((url or "").lower()):
        known = _PATHS.get(match["id"], match["id"])
        if known in LICENSES:
            return License(known, match["version"], url)
    if words is None:
        return License(None, url=url)
    small = words.lower().replace("_", "-")
    if _CC0_NAME.search(small):
        return License("cc0", "1.0", url)
    if _PUBLIC_DOMAIN_NAME.match(small):
        return License("pdm", "1.0" if "mark" in small else None, url)
    if match := _CC_NAME.match(small):
        known = _PATHS.get(match["id"], match["id"])
        if known in LICENSES:
            return License(known, match["version"], url)
    return License(words, url=url)


def plain_text(markup: str | None, most: int = 300) -> str | None:
    """What a person would read of HTML, in one line of at most `most` characters, or None.

    >>> plain_text('<a href="//x.org">Ann &amp; Bob</a><br/>of <i>Otters</i>')
    'Ann & Bob of Otters'
    """
    return one_line(_read(markup).text, most) if markup else None


def first_link(markup: str | None) -> str | None:
    """Where the first link in HTML leads, if to the web.

    >>> first_link('by <a href="//commons.wikimedia.org/wiki/User:Ann">Ann</a>')
    'https://commons.wikimedia.org/wiki/User:Ann'
    """
    return http_url(_read(markup).link) if markup else None


def one_line(text: str | None, most: int = 300) -> str | None:
    """Text without breaks of lines and without what cannot be printed; None where none is left.

    Invisible characters that turn the direction of text are left out; those that join letters, as
    Persian and Hindi need them, stay.
    """
    if text is None:
        return None
    line = " ".join(text.split())
    line = "".join(char for char in line if char.isprintable() or char in "\u200c\u200d").strip()
    if len(line) > most:
        line = line[: most - 1].rstrip() + "…"
    return line or None


def http_url(text: str | None) -> str | None:
    """A complete URL of the web, or None; one that begins with // is taken for `https`.

    Blanks in it are percent-encoded, as a browser would.

    >>> http_url("//example.org/a b.jpg")
    'https://example.org/a%20b.jpg'
    """
    if text is None:
        return None
    text = text.strip()
    if text.startswith("//"):
        text = f"https:{text}"
    try:
        parts = urlsplit(text)
        is_complete = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets that hold no address
        return None
    if not is_complete or _BLANK.search(parts.netloc) or _SECOND.search(text):
        return None
    text = _BLANK.sub(lambda match: quote(match[0]), text)
    return text if text.isprintable() else None


class _Reader(HTMLParser):
    """Collects the text that is shown, and where the first link leads."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.link: str | None = None
        self._parts: list[str] = []
        self._open: list[str] = []
        self._hidden_from: int | None = None  # how many were open when one hid what it holds

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "a" and self.link is None:
            self.link = said.get("href")
        if tag not in _INLINE_TAGS:
            self._parts.append(" ")
        if tag in _EMPTY_TAGS:
            return
        style = (said.get("style") or "").replace(" ", "").lower()
        if self._hidden_from is None and (tag in {"script", "style"} or "display:none" in style):
            self._hidden_from = len(self._open)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _INLINE_TAGS:
            self._parts.append(" ")
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        if self._hidden_from is not None and len(self._open) <= self._hidden_from:
            self._hidden_from = None

    def handle_data(self, data: str) -> None:
        if self._hidden_from is None:
            self._parts.append(data)


def _read(markup: str) -> _Reader:
    reader = _Reader()
    try:
        reader.feed(markup[:_MOST_MARKUP])
        reader.close()
    except AssertionError:  # what older parsers of the standard library say to a broken "<!["
        reader = _Reader()
        reader.feed(markup[:_MOST_MARKUP].replace("<!", " "))
        reader.close()
    return reader
