"""Addresses of pictures: two ways to compare them, and the Flickr photos that they lead to."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

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


def normalise(url: str) -> str | None:
    """What two addresses of one picture share; None for what is no http(s) address.

    Scheme, `www.`, default port, credentials, fragment and tracking parameters are dropped, and
    the host is in small letters. Path and other parameters stay as they are: they may matter.

    >>> normalise("HTTPS://www.Example.org:443/A.jpg?v=2&utm_source=x#top")
    'example.org/A.jpg?v=2'
    >>> normalise("mailto:a@example.org") is None
    True
    """
    found = _split(url)
    if found is None:
        return None
    parts, host, port = found
    given = filter(None, parts.query.split("&"))
    parameters = [parameter for parameter in given if not _TRACKING.fullmatch(parameter)]
    query = f"?{'&'.join(parameters)}" if parameters else ""
    return f"{host.removeprefix('www.')}{port}{parts.path or '/'}{query}"


def spellings(url: str) -> set[str]:
    """All that may stand before `?` and `#` in an address that is normalised to the same.

    Up to upper and lower case, which a host may have, and but for credentials and a dot after
    the host, which lists do not have. A sieve for rows that then have to be normalised.

    >>> sorted(spellings("http://a.org/x.jpg?v=1"))[:3]
    ['http://a.org/x.jpg', 'http://a.org:80/x.jpg', 'http://www.a.org/x.jpg']
    """
    found = _split(url)
    if found is None:
        return set()
    parts, host, port = found
    host = host.removeprefix("www.")
    paths = {parts.path or "/", *([""] if parts.path in {"", "/"} else [])}
    return {
        f"{scheme}://{www}{name}{own_port}{path}"
        for scheme, default in _DEFAULT_PORTS.items()
        for www in ("", "www.")
        for name in {host, _unicode(host)}
        for own_port in ([port] if port else ["", f":{default}"])
        for path in paths
    }


def host_of(text: str) -> str | None:
    """The host in an address or a bare name of a site, in small letters and ASCII, or None.

    >>> host_of("https://WWW.Example.org/about"), host_of("bücher.example")
    ('www.example.org', 'xn--bcher-kva.example')
    """
    found = _split(text if "://" in text else f"https://{text}")
    return None if found is None else found[1]


def flickr_id(url: str) -> str | None:
    """The photo id in an address of Flickr's: of a picture's file or of its page.

    >>> flickr_id("https://live.staticflickr.com/65535/51234567890_0a1b2c3d4e_b.jpg")
    '51234567890'
    >>> flickr_id("https://www.flickr.com/photos/someone/51234567890/in/photostream")
    '51234567890'
    """
    found = _split(url)
    if found is None:
        return None
    parts, host, _ = found
    if _STATIC_FLICKR.fullmatch(host):
        match = _STATIC_NAME.fullmatch(parts.path.rpartition("/")[2])
    elif host == "flickr.com" or host.endswith(".flickr.com"):
        match = _PHOTO_PAGE.fullmatch(parts.path)
    else:
        return None
    return match[1] if match else None


def _split(url: str) -> tuple[SplitResult, str, str] | None:
    """The parts of an http(s) address, its host, and its port where that is not the default."""
    try:
        url.encode()  # names of files, and so arguments, may hold bytes that are no text
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        return None
    host = _ascii(host.removesuffix("."))
    if not host or any(char.isspace() for char in host):
        return None
    own_port = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return parts, f"[{host}]" if ":" in host else host, own_port


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _unicode(host: str) -> str:
    if "xn--" not in host:
        return host
    try:
        return host.encode("ascii").decode("idna")
    except UnicodeError:
        return host
