"""robots.txt of every host that is asked, read once."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from protego import Protego

from clipaudit_crawlers.web.failures import Broken
from clipaudit_crawlers.web.opt_outs import AGENT

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 512_000
"""How much of a robots.txt is read. Source: RFC 9309, section 2.5, asks for 500 KiB."""


_AGENT_FIELDS = frozenset({"user-agent", "useragent", "user agent"})
_OTHERS = "others"


class _Host:
    """What is known of one host; None until it was asked."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.rules: Protego | Broken | None = None


class Robots:
    """What hosts let us fetch; safe to use from several threads.

    Source: RFC 9309. A host without a robots.txt allows everything; where it cannot be read for
    the moment, nothing is allowed.
    """

    def __init__(self, read: Callable[[str], str]) -> None:
        """`read` gives the text of a robots.txt, empty where there is none, or raises `Broken`."""
        self._read = read
        self._lock = Lock()
        self._hosts: dict[str, _Host] = {}

    def delay_s(self, url: str) -> float:
        """Seconds that the host wants between two requests, where it allows one for this URL.

        Raises:
            Broken: `robots`: it does not allow it, or nobody can say.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        rules = self._rules(f"{parts.scheme}://{parts.netloc}/robots.txt")
        if isinstance(rules, Broken):
            why = f"robots.txt of {host} could not be read: {rules.explanation}"
            raise Broken("robots", why, host=host, is_transient=True)
        if not rules.can_fetch(url, AGENT):
            raise Broken("robots", f"robots.txt of {host} does not allow it", host=host)
        return rules.crawl_delay(AGENT) or 0.0

    def _rules(self, robots_url: str) -> Protego | Broken:
        with self._lock:
            host = self._hosts.setdefault(robots_url, _Host())
        with host.lock:
            if host.rules is None:
                try:
                    host.rules = Protego.parse(for_us(self._read(robots_url)))
                except Broken as broken:
                    host.rules = broken.with_traceback(None)  # which holds what came
            return host.rules


def for_us(text: str) -> str:
    """A robots.txt in which all programs bear one name that cannot be us.

    protego keeps the rules of a group once for every program that it names, so that a file of
    nothing but names and rules would take hours and fill the memory.
    """
    return "\n".join(map(_line_for_us, text.splitlines()))


def _line_for_us(line: str) -> str:
    line = line.partition("#")[0].strip()
    agent = _agent(line)
    if not agent:
        return line
    name = agent.lower().replace("*", "").strip()  # as protego reads it
    if agent != "*" and (not name or name not in AGENT):
        name = _OTHERS
    return f"User-agent: {name or '*'}"


def _agent(line: str) -> str:
    """The program that a line names, empty where it names none; as generous as protego is."""
    field, colon, value = line.partition(":")
    if field.strip().lower() in _AGENT_FIELDS:
        return value.strip()
    if colon and (not value or value[0].isspace()):
        return ""
    words = line.split()
    for n_words in (1, 2):
        if " ".join(words[:n_words]).lower() in _AGENT_FIELDS:
            return " ".join(words[n_words:])
    return ""
