"""Limits and manners of whoever asks the web."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """Limits and manners.

    Attributes:
        user_agent: With a way to reach whoever runs it, as some services ask for.
        connect_timeout_s: For a connection.
        read_timeout_s: Between two pieces of an answer.
        total_timeout_s: For one request with its redirects and repetitions, whatever comes; waits
            that a host asks for, and those for one's turn, do not count.
        least_bytes_per_s: A body that comes more slowly is given up.
        slow_grace_s: For so long it may.
        most_image_bytes: A larger file is given up while it comes.
        most_answer_bytes: The same for an answer in JSON, after unpacking.
        longest_wait_s: A service that asks to wait longer is left for a later run.
        longest_crawl_delay_s: Longest pause between two downloads that robots.txt may ask for.
        tries: How often a request is sent at most.
        backoff_s: Wait before the second try, where the host does not say; it doubles each time.
        per_host: Downloads from one host at a time.
        most_redirects: A longer chain is given up.
        ports: Where connections may go.
        allow_private: Whether addresses of this machine and of private networks, and ports of any
            number, may be asked; or networks of this machine that may be asked on `ports`, such
            as `("127.0.0.1/32",)`.
        ca_bundle: Certificates to trust instead of those of the `certifi` package.
        honour_opt_outs: Whether pictures that say no to machine learning are left out.
        offline: Whether only kept answers are used; no socket is opened.
    """

    user_agent: str = "clipaudit (membership inference audits)"
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    total_timeout_s: float = 60.0
    least_bytes_per_s: int = 1024
    slow_grace_s: float = 5.0
    most_image_bytes: int = 30_000_000
    most_answer_bytes: int = 20_000_000
    longest_wait_s: float = 120.0
    longest_crawl_delay_s: float = 30.0
    tries: int = 4
    backoff_s: float = 1.0
    per_host: int = 2
    most_redirects: int = 5
    ports: tuple[int, ...] = (80, 443)
    allow_private: bool | tuple[str, ...] = False
    ca_bundle: Path | None = None
    honour_opt_outs: bool = True
    offline: bool = False
