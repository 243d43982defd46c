"""Downloads from a server that does everything wrong: each ends soon, and says why."""

import gzip
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest
from clipaudit_crawlers.fetch import REASONS, DeferredError, DownloadFailed

from tests.made.canary import failure
from tests.services.hostile import (
    HostileServer,
    after,
    dripping,
    endless,
    head,
    reply,
    reset_at_once,
    said,
    said_and_gone,
    sent_on,
    silent,
)

OTTER = b"\x89PNG otter"


def test_a_download_gives_the_bytes_and_what_was_said_with_them(web, server):
    url = server.on(
        "/otter.png",
        reply(
            OTTER,
            200,
            ("Content-Type", "image/png"),
            ("ETag", '"7"'),
            ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ),
    )
    came = web.download(url)
    assert (came.data, came.status, came.url) == (OTTER, 200, url)
    assert (came.content_type, came.etag) == ("image/png", '"7"')
    assert came.last_modified == "Wed, 21 Oct 2015 07:28:00 GMT"
    headers = server.asked[0].headers
    assert headers["user-agent"] == web.config.user_agent
    assert headers["accept-encoding"] == "identity"
    assert headers["host"] == f"127.0.0.1:{server.port}"


def test_a_connection_is_used_again(web, server):
    url = server.on("/otter", reply(OTTER))
    for _ in range(3):
        assert web.download(url).data == OTTER
    assert (len(server.asked), server.connections) == (3, 1)


def test_cookies_and_the_environment_are_left_alone(make_web, server, monkeypatch, tmp_path):
    with HostileServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret")
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        web = make_web()
        url = server.on("/a", sent_on("/b", 302, ("Set-Cookie", "who=you; Path=/")))
        server.on("/b", reply(OTTER, 200, ("Set-Cookie", "so=what; Path=/")))
        for _ in range(2):
            web.download(url)
        assert proxy.connections == 0
    assert not [asked for asked in server.asked if {"cookie", "authorization"} & set(asked.headers)]


def test_whoever_runs_it_may_have_any_name(make_web, server):
    web = make_web(user_agent="clipaudit (Łukasz\n<me@x.example>)")
    web.download(server.on("/a", reply(OTTER)))
    assert server.asked[0].headers["user-agent"] == "clipaudit (?ukasz?<me@x.example>)"


# What hosts say of themselves


@pytest.mark.parametrize("retry_after", ["-1", "junk", "9" * 5000, "0", "Wed, 99 Foo 12 25:61"])
def test_a_wait_that_makes_no_sense_is_left_out(web, server, retry_after):
    busy = reply(b"", 429, ("Retry-After", retry_after))
    assert web.download(server.on("/a", busy, reply(OTTER))).data == OTTER
    assert len(server.asked) == 2


def test_a_wait_in_seconds_is_kept(web, server):
    url = server.on("/a", reply(b"", 429, ("Retry-After", "1")), reply(OTTER))
    assert web.download(url).data == OTTER  # though it takes longer than one request may
    assert server.asked[1].at - server.asked[0].at >= 1


def test_a_date_that_is_past_is_no_wait(web, server):
    past = formatdate(time.time() - 60, usegmt=True)
    url = server.on("/a", reply(b"", 503, ("Retry-After", past)), reply(OTTER))
    assert web.download(url).data == OTTER


@pytest.mark.parametrize("is_date", [False, True], ids=["s", "date"])
def test_a_long_wait_is_left_for_another_run_at_once(web, server, is_date):
    retry_after = formatdate(time.time() + 99_999, usegmt=True) if is_date else "99999"
    url = server.on("/a", reply(b"", 429, ("Retry-After", retry_after)))
    started = time.monotonic()
    error = failure(web.download, url)
    assert isinstance(error, DeferredError)
    assert error.host == "127.0.0.1"
    assert error.wait_s == pytest.approx(99_999, abs=300)
    assert "28 hours" in str(error)
    assert "28 hours" in error.hint
    # Nor is the host asked for anything else meanwhile.
    assert isinstance(failure(web.download, server.on("/b", reply(OTTER))), DeferredError)
    assert server.paths() == ["/a"]
    assert time.monotonic() - started < 10


def test_a_host_that_asks_to_wait_is_left_alone_by_everybody(make_web, server):
    web = make_web(per_host=4, total_timeout_s=5.0, read_timeout_s=2.0)
    first = after(0.1, reply(b"", 429, ("Retry-After", "1")))
    server.on("/first", first, reply(OTTER))
    server.on("/other", reply(OTTER))
    with ThreadPoolExecutor(4) as pool:
        one = pool.submit(web.download, server.url("/first"))
        time.sleep(0.25)
        others = [pool.submit(web.download, server.url("/other")) for _ in range(3)]
        assert {future.result().data for future in [one, *others]} == {OTTER}
    asked_at = [asked.at for asked in server.asked]
    assert min(asked_at[1:]) - asked_at[0] >= 1


def test_what_was_refused_for_good_is_not_asked_twice(web, server):
    error = failure(web.download, server.on("/a", reply(b"no", 403)))
    assert (error.reason, error.status, error.is_transient) == ("http-403", 403, False)
    assert len(server.asked) == 1


def test_a_host_in_trouble_gets_another_try(web, server):
    url = server.on("/a", reply(b"", 503), reply(b"", 500), reply(OTTER))
    assert web.download(url).data == OTTER
    assert len(server.asked) == 3


def test_tries_come_to_an_end_and_farther_apart_each_time(make_web, server):
    web = make_web(backoff_s=0.04)
    error = failure(web.download, server.on("/a", reply(b"", 502)))
    assert (error.reason, error.status, error.is_transient) == ("http-502", 502, True)
    assert len(server.asked) == web.config.tries
    assert server.asked[-1].at - server.asked[0].at >= 0.04 + 0.08 + 0.16 - 0.03


@pytest.mark.parametrize(
    "broken",
    [
        reset_at_once,
        said_and_gone(b""),
        said_and_gone(head(200, [("Content-Length", "10")]) + OTTER[:4]),
        said_and_gone(head(200, [("Transfer-Encoding", "chunked")]) + b"a\r\n" + OTTER[:4]),
    ],
    ids=["reset", "closed", "half a body", "half a chunk"],
)
def test_a_dropped_connection_is_tried_again(web, server, broken):
    assert web.download(server.on("/a", broken, reply(OTTER))).data == OTTER
    error = failure(web.download, server.on("/b", broken))
    assert (error.reason, error.is_transient) == ("unreachable", True)
    assert server.paths().count("/b") == web.config.tries


def test_a_host_that_refuses_connections_is_tried_again(make_web):
    server = HostileServer()  # it does not listen yet
    web = make_web(ports=(server.port,), backoff_s=0.1)
    error = failure(web.download, server.url("/a"))
    assert (error.reason, error.is_transient) == ("unreachable", True)
    assert "refuses connections" in error.explanation
    url = server.on("/a", reply(OTTER))
    start = threading.Timer(0.05, server.__enter__)
    start.start()
    assert web.download(url).data == OTTER
    start.join()
    server.__exit__()


# Bodies


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (silent, "timeout"),
        (said(head(200, [("Content-Length", "9")])), "timeout"),
        (dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"z", 0.02), "timeout"),
        (dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02), "timeout"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99), "timeout"),
        (dripping(head(200, [("Content-Length", "999")]), b"z", 0.05), "too-slow"),
        (dripping(head(200), b"z", 0.05), "too-slow"),
        (dripping(head(200, [("Transfer-Encoding", "chunked")]), b"1\r\nz\r\n", 0.05), "too-slow"),
        (dripping(head(200), b"z" * 500, 0.02), "timeout"),
        (endless(head(200), b"z" * 5000), "too-large"),
        (
            endless(head(200, [("Transfer-Encoding", "chunked")]), b"1f4\r\n%500d\r\n" % 0),
            "too-large",
        ),
        (endless(head(200, [("Transfer-Encoding", "chunked")]) + b"0\r\n", b"X: y\r\n"), "timeout"),
        (said(head(200, [("Content-Length", "10000000000")])), "too-large"),
        (said(head(200, [("X-Long", "z" * 70_000)])), "protocol"),
        (said(head(200, [("X-Many", "z")] * 200)), "protocol"),
        (said(b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol"),
        (said(head(200, [("Content-Length", "3"), ("Content-Length", "4")])), "protocol"),
        (reply(OTTER, 200, ("Content-Encoding", "br")), "protocol"),
        (reply(OTTER, 200, ("Content-Encoding", "gzip, gzip")), "protocol"),
        (reply(OTTER, 200, ("Content-Encoding", "gzip")), "protocol"),
        (said_and_gone(head(200, [("Transfer-Encoding", "chunked")]) + b"-5\r\nzz"), "unreachable"),
        (said_and_gone(head(200, [("Transfer-Encoding", "chunked")]) + b"odd\r\n"), "unreachable"),
        (reply(b"", 204), "http-204"),
        (reply(b"", 302), "http-302"),
        (reply(b"", 999), "http-999"),
    ],
)
def test_every_rude_answer_ends_in_time_and_with_a_reason(web, server, answer, reason):
    started = time.monotonic()
    error = failure(web.download, server.on("/a", answer))
    assert error.reason == reason
    assert time.monotonic() - started < web.config.total_timeout_s + 5
    assert error.reason in REASONS or error.status == 999


def test_the_last_byte_gives_no_time_beyond_the_whole(make_web, server):
    web = make_web(read_timeout_s=9.0, total_timeout_s=2.5)
    late = dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"z", 2.0)  # the next one would come at 4.0
    started = time.monotonic()
    assert failure(web.download, server.on("/a", late)).reason == "timeout"
    assert time.monotonic() - started < 3.8


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Encoding", "gzip")],
        [("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")],
    ],
    ids=["whole", "chunked"],
)
def test_a_bomb_is_given_up_before_it_fills_the_memory(web, server, headers):
    bomb = gzip.compress(bytes(50_000_000), 1)
    body = bomb if len(headers) == 1 else b"%x\r\n%b\r\n0\r\n\r\n" % (len(bomb), bomb)
    url = server.on("/a", said_and_gone(head(200, headers) + body))
    tracemalloc.start()
    try:
        error = failure(web.download, url)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.reason == "too-large"
    assert peak < 4 * web.config.most_image_bytes


def test_what_is_packed_though_nobody_asked_is_unpacked(web, server):
    packed = reply(gzip.compress(OTTER), 200, ("Content-Encoding", "gzip"))
    assert web.download(server.on("/a", packed)).data == OTTER


def test_a_body_may_have_the_very_size_that_is_allowed(make_web, server):
    web = make_web(most_image_bytes=len(OTTER))
    assert web.download(server.on("/a", said_and_gone(head(200) + OTTER))).data == OTTER
    longer = server.on("/b", said_and_gone(head(200) + OTTER + b"!"))
    assert failure(web.download, longer).reason == "too-large"


def test_a_slow_body_that_was_announced_may_end(make_web, server):
    web = make_web(slow_grace_s=0.0, least_bytes_per_s=10**9)
    assert web.download(server.on("/a", reply(OTTER))).data == OTTER


# Redirects


def chain(server, length):
    """A URL from which so many redirects lead to a picture."""
    server.on("/hop0", reply(OTTER))
    for number in range(1, length + 1):
        server.on(
            f"/hop{number}", sent_on(f"/hop{number - 1}", (301, 302, 303, 307, 308)[number % 5])
        )
    return server.url(f"/hop{length}")


def test_redirects_are_followed_up_to_a_limit(web, server):
    most = web.config.most_redirects
    came = web.download(chain(server, most))
    assert (came.data, came.url) == (OTTER, server.url("/hop0"))
    assert failure(web.download, chain(server, most + 1)).reason == "redirects"
    assert len(server.asked) == 2 * (most + 1)


def test_a_circle_of_redirects_ends(web, server):
    url = server.on("/a", sent_on("/a"))
    assert failure(web.download, url).reason == "redirects"


def test_the_body_of_a_redirect_is_not_read(web, server):
    forever = endless(
        head(302, [("Location", "/b"), ("Transfer-Encoding", "chunked")]), b"1\r\nz\r\n"
    )
    server.on("/b", reply(OTTER))
    assert web.download(server.on("/a", forever)).data == OTTER


def test_a_redirect_may_lead_to_letters_of_any_language(web, server):
    server.on("/%C3%B8tter", reply(OTTER))
    assert web.download(server.on("/a", sent_on("/øtter"))).data == OTTER


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://x/", "http://[", "https://"])
def test_a_redirect_to_what_is_no_address_is_refused(web, server, location):
    assert failure(web.download, server.on("/a", sent_on(location))).reason == "bad-url"


# Turns


def test_few_downloads_at_a_time_come_from_one_host(web, server):
    url = server.on("/a", after(0.03, reply(OTTER)))
    with ThreadPoolExecutor(6) as pool:
        came = list(pool.map(web.download, [url] * 12))
    assert len(came) == 12
    assert server.most_at_once == web.config.per_host


def test_wikimedia_is_asked_for_one_picture_at_a_time(web, server, names):
    names.known["upload.wikimedia.org"] = ["127.0.0.1"]
    server.on("/a", after(0.03, reply(OTTER)))
    url = server.url("/a", "upload.wikimedia.org")
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(web.download, [url] * 6))) == 6
    assert server.most_at_once == 1


def test_standing_in_line_does_not_count(make_web, server):
    web = make_web(per_host=1, total_timeout_s=0.6)
    url = server.on("/a", after(0.2, reply(OTTER)))
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(web.download, [url] * 4))) == 4


def test_closing_wakes_who_waits(make_web, server):
    web = make_web(longest_wait_s=120.0)
    url = server.on("/a", reply(b"", 503, ("Retry-After", "60")))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(failure, web.download, url)
        while not server.asked:
            time.sleep(0.01)
        time.sleep(0.05)
        web.close()
        error = waiting.result(timeout=1)
    assert isinstance(error, DownloadFailed)
    assert (error.reason, error.is_transient) == ("stopped", True)
    assert failure(web.download, server.on("/b", reply(OTTER))).reason == "stopped"


def test_offline_nobody_is_asked(make_web, server):
    error = failure(make_web(offline=True).download, server.on("/a", reply(OTTER)))
    assert (error.reason, error.is_transient) == ("offline", True)
    assert server.connections == 0
