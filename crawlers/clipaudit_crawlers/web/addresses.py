"""Which addresses may be asked, and adapters that ask no other.

requests-hardened resolves a name once, refuses most addresses that are not public, and connects
to the very address that it looked at: what DNS says a moment later does not matter. What it lets
pass is refused here, behind it.
"""

from __future__ import annotations

import logging
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

# It has annotations, but no py.typed.
from requests_hardened.ip_filter import InvalidIPAddress  # type: ignore[import-untyped]
from requests_hardened.ip_filter_adapter import (  # type: ignore[import-untyped]
    IPFilterAdapter,
)

from clipaudit_crawlers.web.failures import Broken
from clipaudit_crawlers.web.wire import POOLS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network
    from urllib.parse import SplitResult

    Address = IPv4Address | IPv6Address
    Network = IPv4Network | IPv6Network

SCHEMES = {"http": 80, "https": 443}

_LONGEST_URL = 8192
_NO_PART_OF_A_URL = re.compile(r"[\x00-\x1f\x7f\\]")
"""Programs do not agree on what these mean: a check would see another host than a connection."""

_INSIDE = frozenset((ip_address("168.63.129.16"),))
"""Public by its number, but answered by the host of a virtual machine. Source: Microsoft, What is
IP address 168.63.129.16?"""

# It warns of each address that it refuses; without this, Python would print that.
logging.getLogger("requests_hardened").addHandler(logging.NullHandler())


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet, rather than of this machine or its networks."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.is_site_local:
            return False
    is_inside = address.is_multicast or address.is_reserved or address in _INSIDE
    return address.is_global and not is_inside


def loopback_networks(networks: Sequence[str]) -> tuple[Network, ...]:
    """The networks by their names, such as `127.0.0.1/32`.

    Raises:
        ValueError: One of them is not of this machine.
    """
    parsed = tuple(map(ip_network, networks))
    for network in parsed:
        if not network.is_loopback:
            raise ValueError(f"{network} is not a network of this machine alone")
    return parsed


def prepared(url: str, ports: Sequence[int], *, any_port: bool) -> SplitResult:
    """The parts of a URL in the form in which it is sent, as the adapter will read them.

    Args:
        url: As it was found.
        ports: Those that may be asked.
        any_port: Whether the others may be asked, too.

    Raises:
        Broken: `bad-url`: it is not one that we ask.
    """
    if len(url) > _LONGEST_URL:
        raise _bad_url("it has more than 8,192 characters")
    if _NO_PART_OF_A_URL.search(url):
        raise _bad_url("it has control characters or backslashes in it")
    try:
        ready = requests.Request("GET", url.strip()).prepare().url or ""
        parts = urlsplit(ready)
        port = parts.port
    except (requests.RequestException, ValueError):
        ready = ""
    if not ready or not parts.hostname:
        raise _bad_url("it cannot be read as an address")
    if parts.scheme not in SCHEMES:
        raise _bad_url(f"it begins with {parts.scheme}:, not with http: or https:")
    if "@" in parts.netloc:
        raise _bad_url("it has a name or a password in it")
    port = SCHEMES[parts.scheme] if port is None else port
    if not any_port and port not in ports:
        raise _bad_url(f"port {port} is not one that is asked")
    return parts


class CheckedAdapter(IPFilterAdapter):  # type: ignore[misc] # untyped, see above
    """Connects to public addresses, and to those of this machine that are named."""

    def __init__(self, scheme: str, allowed: Sequence[Network]) -> None:
        super().__init__(is_https_proto=scheme == "https", allow_loopback=bool(allowed))
        self.poolmanager.pool_classes_by_scheme = POOLS
        self._allowed = allowed

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The address to connect to in the place of the name.

        Raises:
            InvalidIPAddress: It is not public.
            OSError: The name has no address.
        """
        try:
            host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        except UnicodeError:  # the name is none
            raise
        except (IndexError, ValueError) as error:  # a resolver that gives no address of use
            raise socket.gaierror(socket.EAI_NONAME, "no address") from error
        address = ip_address(host["host"].strip("[]"))
        if not self._may_ask(address):
            raise InvalidIPAddress(address)
        return host, pool

    def _may_ask(self, address: Address) -> bool:
        return is_public(address) or any(address in network for network in self._allowed)


class OpenAdapter(HTTPAdapter):
    """Connects to any address."""

    def __init__(self) -> None:
        super().__init__()
        self.poolmanager.pool_classes_by_scheme = POOLS


def adapters(allow_private: bool | Sequence[str]) -> dict[str, HTTPAdapter]:
    """An adapter for each scheme.

    Args:
        allow_private: As `WebConfig.allow_private`.
    """
    if allow_private is True:
        return {scheme: OpenAdapter() for scheme in SCHEMES}
    allowed = loopback_networks(allow_private or ())
    return {scheme: CheckedAdapter(scheme, allowed) for scheme in SCHEMES}


def _bad_url(why: str) -> Broken:
    return Broken("bad-url", f"its address cannot be used: {why}", host="")
