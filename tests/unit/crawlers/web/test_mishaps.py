"""Errors of the libraries and the system, in our words."""

import errno
import http.client
import os
import socket
import ssl

import pytest
import requests
import urllib3
from clipaudit_crawlers.web.config import WebConfig
from clipaudit_crawlers.web.failures import Broken
from clipaudit_crawlers.web.mishaps import Hop
from clipaudit_crawlers.web.wire import Clock

POOL = urllib3.HTTPConnectionPool("otters.example")


def system_error(number):
    return OSError(number, os.strerror(number))


def wrapped(error):
    """As requests hands on what urllib3 hands on."""
    reason = urllib3.exceptions.NewConnectionError(
        urllib3.connection.HTTPConnection("example.org"), "failed"
    )
    reason.__cause__ = error
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(POOL, "/", reason))


def broken_by(error, seconds=60.0, may_repeat=True):
    def call():
        raise error

    with pytest.raises(Broken) as broken:
        Hop("otters.example", Clock(seconds), WebConfig(), may_repeat).explained(call)
    assert broken.value.__context__ is None
    assert broken.value.host == "otters.example"
    return broken.value


@pytest.mark.parametrize(
    ("error", "reason", "is_transient", "is_worth_repeating"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "unknown-host", True, False),
        (system_error(errno.ENETUNREACH), "unreachable", True, False),
        (system_error(errno.EHOSTUNREACH), "unreachable", True, False),
        (system_error(errno.ECONNREFUSED), "unreachable", True, True),
        (system_error(errno.ECONNRESET), "unreachable", True, True),
        (system_error(errno.EPIPE), "unreachable", True, True),
        (system_error(errno.ETIMEDOUT), "timeout", True, False),
        (ssl.SSLCertVerificationError("expired"), "tls", False, False),
        (ssl.SSLEOFError("EOF"), "tls", True, False),
        (http.client.RemoteDisconnected("gone"), "unreachable", True, True),
        (http.client.BadStatusLine("SSH-2.0"), "protocol", False, False),
        (UnicodeError("label too long"), "bad-url", False, False),
        (urllib3.exceptions.ClosedPoolError(POOL, "closed"), "stopped", True, False),
        (urllib3.exceptions.DecodeError("not gzip"), "protocol", False, False),
    ],
)
def test_every_cause_has_its_word(error, reason, is_transient, is_worth_repeating):
    broken = broken_by(wrapped(error))
    assert (broken.reason, broken.is_transient) == (reason, is_transient)
    assert broken.is_worth_repeating is is_worth_repeating


def test_what_a_host_may_have_seen_is_not_repeated_where_it_must_not():
    assert not broken_by(
        wrapped(system_error(errno.ECONNRESET)), may_repeat=False
    ).is_worth_repeating
    assert broken_by(wrapped(system_error(errno.ECONNREFUSED)), may_repeat=False).is_worth_repeating


def test_a_silence_and_the_end_of_all_time_are_told_apart():
    error = urllib3.exceptions.ReadTimeoutError(POOL, "/", "timed out")
    assert broken_by(error).explanation == "otters.example was silent for more than 10 seconds"
    assert broken_by(error, seconds=0).explanation == "otters.example took more than 60 seconds"


def test_a_circle_of_causes_ends():
    one, other = OSError("one"), OSError("other")
    one.__context__, other.__context__ = other, one
    assert broken_by(one).reason == "protocol"


def test_our_own_mistakes_are_not_taken_for_those_of_a_host():
    def call():
        raise KeyError("ours")

    with pytest.raises(KeyError):
        Hop("otters.example", Clock(1), WebConfig(), may_repeat=True).explained(call)
