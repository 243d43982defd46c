"""Addresses of pictures: two ways to compare them, and the Flickr photos that they lead to."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}

_TRACKING = re.compile(
    r"(utm_\w+|fbclid|gclid|gclsrc|dclid|gbraid|wbraid|msclkid|yclid|twclid|ttclid|igshid"
    r"|mc_cid|mc_eid|_ga|_gl)(=.*)?",
    re.IGNORECASE,
)
"""Parameters that say who followed a link and not what it leads to."""

_STATIC_FLICKR = re.compile(r"(.+\.)?static\.?flickr\.com")
_STATIC_NAME = re.compile(r"(\d+)_[0-9a-f]+(_\w+)?\.\w+", re.IGNORECASE)
_PHOTO_PAGE = re.compile(r"/photos/[^/]+/(\d+)(/.*)?")

_AROUND = '\t\n\r "<>' + "".join(
    map(
        chr,
        (
            *range(0x80, 0xA1),
            *(0xAD, 0x1680, 0x205F, 0x2060, 0x3000, 0xFEFF),
            *range(0x2000, 0x2010),
            *range(0x2028, 0x2030),
        ),
    )
)
"""What may stand around an address in a list: blanks of all kinds, marks without width, quotes."""

_ENTITY = re.compile(r"&(?:amp|quot|apos|lt|gt|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")
"""What an address has in it that was copied out of a page's source. Names without a semicolon are
left: `&copy=1` is a parameter."""

_UNRESERVED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
_IN_PATH = frozenset(_UNRESERVED + "!$'()*+,;=:@")
_IN_NAME = frozenset(_UNRESERVED + "!$'()*,:@/?")
_IN_VALUE = _IN_NAME | {"="}
"""Characters that mean the same with and without percent-encoding in a path, and in the name and
the value of a parameter. Not `&`, which may begin an entity, nor `+`, which may be a space."""

_ENCODED_OR_ODD = re.compile(r"%[0-9a-fA-F]{2}|[^a-zA-Z0-9._~-]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Address:
    """An http(s) address in one spelling.

    Attributes:
        host: In small letters and ASCII.
        port: With its colon; empty for the default one.
        path: Begins with a slash; as `normalise` says.
        query: Parameters without tracking, or empty.
    """

    host: str
    port: str
    path: str
    query: str


def normalise(url: str) -> str | None:
    """What two addresses of one picture share; None for what is no http(s) address.

    Scheme, `www.`, default port, credentials, fragment and tracking parameters are dropped, and
    so are blanks and quotes around it. The host is in small letters and ASCII (IDNA), the path has
    no dot segments, and only what has to be percent-encoded is; `&amp;` and the like are read as a
    browser would. Else path and other parameters stay as they are: they may matter.

    Source: RFC 3986, section 6.2.2; RFC 3987, section 3.1.

    >>> normalise("HTTPS://www.Example.org:443/A.jpg?v=2&utm_source=x#top")
    'example.org/A.jpg?v=2'
    >>> normalise(" //example.org/b/../%7Eü(1).jpg") == normalise("http://example.org/~%c3%bc%281).jpg")
    True
    >>> normalise("mailto:a@example.org") is None
    True
    """
    found = _read(url)
    if found is None:
        return None
    query = f"?{found.query}" if found.query else ""
    return f"{found.host.removeprefix('www.')}{found.port}{found.path}{query}"


def complete(url: str) -> str:
    """An address as it can be asked for: without what stands around it, and with its scheme.

    >>> complete(" //example.org/a b.jpg ")
    'https://example.org/a b.jpg'
    """
    url = url.strip(_AROUND)
    return f"https:{url}" if url.startswith("//") else url


def is_web(text: str) -> bool:
    """Whether a text begins like an address of the web.

    >>> is_web(" HTTP://example.org"), is_web("//example.org/"), is_web("photo.jpg")
    (True, True, False)
    """
    return complete(text).lower().startswith(("http://", "https://"))


def spellings(url: str) -> set[str]:
    """Plain spellings of all before `?` in an address that is normalised to the same.

    Those without a fragment or credentials, whose path is encoded no further than it has to be,
    up to upper and lower case: a sieve for rows that then have to be normalised.

    >>> sorted(spellings("http://a.org/x.jpg?v=1"))[:3]
    ['http://a.org./x.jpg', 'http://a.org.:/x.jpg', 'http://a.org.:80/x.jpg']
    """
    found = _read(url)
    if found is None:
        return set()
    paths = {found.path, *([""] if found.path == "/" else [])}
    return {
        f"{scheme}://{www}{found.host.removeprefix('www.')}{dot}{port}{path}"
        for scheme, default in _DEFAULT_PORTS.items()
        for www in ("", "www.")
        for dot in ("", ".")
        for port in ([found.port] if found.port else ["", ":", f":{default}"])
        for path in paths
    }


def path_of(url: str) -> str | None:
    """The path of an address as it is normalised.

    >>> path_of("https://example.org/a/./b%41[1].jpg?v=1")
    '/a/bA%5B1%5D.jpg'
    """
    found = _read(url)
    return None if found is None else found.path


def host_of(text: str) -> str | None:
    """The host in an address or a bare name of a site, in small letters and ASCII, or None.

    >>> host_of("https://WWW.Example.org/about"), host_of("bücher.example")
    ('www.example.org', 'xn--bcher-kva.example')
    """
    found = _read(text if is_web(text) or "://" in text else f"https://{text}")
    return None if found is None else found.host


def unicode_host(host: str) -> str:
    """A host as people read it.

    >>> unicode_host("xn--bcher-kva.example")
    'bücher.example'
    """
    import idna

    if "xn--" not in host:
        return host
    try:
        return idna.decode(host)
    except UnicodeError:  # idna's own error is one
        return host


def flickr_id(url: str) -> str | None:
    """The photo id in an address of Flickr's: of a picture's file or of its page.

    >>> flickr_id("https://live.staticflickr.com/65535/51234567890_0a1b2c3d4e_b.jpg")
    '51234567890'
    >>> flickr_id("https://www.flickr.com/photos/someone/51234567890/in/photostream")
    '51234567890'
    """
    found = _read(url)
    if found is None:
        return None
    if _STATIC_FLICKR.fullmatch(found.host):
        match = _STATIC_NAME.fullmatch(found.path.rpartition("/")[2])
    elif found.host == "flickr.com" or found.host.endswith(".flickr.com"):
        match = _PHOTO_PAGE.fullmatch(found.path)
    else:
        return None
    return match[1] if match else None


def _read(url: str) -> _Address | None:
    try:
        url.encode()  # names of files, and so arguments, may hold bytes that are no text
        parts = urlsplit(complete(_without_entities(url)))
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not name:
        return None
    host = _host(name)
    if host is None:
        return None
    return _Address(
        host=f"[{host}]" if ":" in host else host,
        port="" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}",
        path=_without_dots(_encoded(parts.path, _IN_PATH, "/")),
        query=_query(parts.query),
    )


def _without_entities(url: str) -> str:
    """The address as a browser reads it in a page's source, however often it was escaped."""
    while True:
        plain = _ENTITY.sub(lambda match: html.unescape(match[0]), url)
        if plain == url:
            return url
        url = plain


def _host(name: str) -> str | None:
    """The name of a host in small letters and ASCII; None for what is none."""
    if "%" in name and ":" not in name:
        name = unquote(name).lower()
        if any(char in "/?#@:\\\ufffd" for char in name):
            return None
    if not name.isascii():
        name = _ascii(name)
    name = name.removesuffix(".")
    is_name = name and not any(char.isspace() for char in name)
    return name if is_name else None


def _ascii(name: str) -> str:
    import idna

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except UnicodeError:  # idna's own error is one
        pass
    try:  # the older rules let more names pass
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def _encoded(text: str, plain: frozenset[str], delimiters: str) -> str:
    """The text with percent-encoding where it has to be, and nowhere else.

    Args:
        text: A part of an address.
        plain: What means the same with and without.
        delimiters: What stays as it is, and is something else when it is encoded.
    """

    def spell(match: re.Match[str]) -> str:
        found = match[0]
        if len(found) == 1:
            return found if found in plain or found in delimiters else quote(found, safe="")
        char = chr(int(found[1:], 16))
        return char if char in plain else found.upper()

    return _ENCODED_OR_ODD.sub(spell, text)


def _without_dots(path: str) -> str:
    """The path without `.` and `..`. Source: RFC 3986, section 5.2.4."""
    segments: list[str] = []
    names = path.split("/")[1:]
    for name in names:
        if name == "..":
            segments[-1:] = []
        elif name != ".":
            segments.append(name)
    if names and names[-1] in {".", ".."}:
        segments.append("")
    return "/" + "/".join(segments)


def _query(text: str) -> str:
    parameters = []
    for parameter in filter(None, text.split("&")):
        name, equals, value = parameter.partition("=")
        spelled = _encoded(name, _IN_NAME, "+") + equals + _encoded(value, _IN_VALUE, "+")
        if not _TRACKING.fullmatch(spelled):
            parameters.append(spelled)
    return "&".join(parameters)
