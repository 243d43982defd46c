"""Hosts that do not want their pictures to be fetched, or to be learned from."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.made.canary import failure
from tests.services.hostile import endless, head, reply, reset_at_once, sent_on

OTTER = b"\x89PNG otter"

TAG = "X-Robots-Tag"


@pytest.mark.parametrize(
    "headers",
    [
        [(TAG, "noai")],
        [(TAG, "noimageai")],
        [(TAG, "noindex")],
        [(TAG, "noimageindex")],
        [(TAG, "none")],
        [("x-robots-tag", "NoAI")],
        [(TAG, "all, nofollow ,noai")],
        [(TAG, "nofollow"), (TAG, "max-snippet:20"), (TAG, "noai")],
        [(TAG, "clipaudit: noai")],
        [(TAG, "CLIPAudit : nofollow, noai")],
        [(TAG, "*: noai")],
        [(TAG, "otherbot: nofollow, clipaudit: noai")],
        [(TAG, "unavailable_after: Fri, 25 Jun 2010 15:00:00 PST, noai")],
        [("TDM-Reservation", "1")],
        [("tdm-reservation", " 1 "), (TAG, "all")],
    ],
)
def test_a_picture_that_says_no_is_left_out(make_web, server, headers):
    url = server.on("/a", endless(head(200, headers), OTTER))  # its body is not even read
    error = failure(make_web().download, url)
    assert (error.reason, error.is_transient) == ("opted-out", False)
    server.on("/a", reply(OTTER, 200, *headers))
    assert make_web(honour_opt_outs=False).download(url).data == OTTER


@pytest.mark.parametrize(
    "headers",
    [
        [(TAG, "all")],
        [(TAG, "nofollow, noarchive, nosnippet, max-image-preview: large")],
        [(TAG, "googlebot: noindex, noai")],
        [(TAG, "unavailable_after: Fri, 25 Jun 2010 15:00:00 PST")],
        [(TAG, "noaime, xnoai, no ai")],
        [(TAG, "")],
        [(TAG, ",,::, :noai:, ;")],
        [("TDM-Reservation", "0")],
        [("TDM-Reservation", "10")],
        [("TDM-Policy", "https://example.org/1")],
    ],
)
def test_a_picture_that_says_nothing_of_the_kind_is_fetched(web, server, headers):
    assert web.download(server.on("/a", reply(OTTER, 200, *headers))).data == OTTER


def test_only_the_picture_itself_is_listened_to(web, server):
    # A redirect that is not to be indexed says nothing of where it leads.
    server.on("/b", reply(OTTER))
    assert web.download(server.on("/a", sent_on("/b", 302, (TAG, "noindex")))).data == OTTER


# robots.txt


def robots(text):
    return reply(text.encode(), 200, ("Content-Type", "text/plain"))


def test_robots_txt_is_not_asked_where_nobody_wants_it(web, server):
    server.on("/robots.txt", robots("User-agent: *\nDisallow: /"))
    assert web.download(server.on("/a", reply(OTTER))).data == OTTER
    assert server.paths() == ["/a"]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("User-agent: *\nDisallow: /private/", ["/a"]),
        ("User-agent: clipaudit\nDisallow: /\nUser-agent: *\nAllow: /", []),
        ("User-agent: *\nDisallow: /\n\nUser-agent: ClipAudit\nAllow: /", ["/a", "/private/a"]),
        ("\ufeffUser-agent: *\nDisallow: /", []),
        ("<html><body>Disallow: /</body></html>", ["/a", "/private/a"]),
        ("User-agent: *\nDisallow: /private/\n" + "#" * 9_000_000, ["/a"]),
    ],
    ids=["for all", "not for us", "for us alone", "byte order mark", "no robots.txt", "too long"],
)
def test_robots_txt_is_read_once_and_honoured(web, server, text, allowed):
    server.on("/robots.txt", robots(text))
    for path in ("/a", "/private/a"):
        url = server.on(path, reply(OTTER))
        if path in allowed:
            assert web.download(url, ask_robots=True).data == OTTER
        else:
            error = failure(web.download, url, ask_robots=True)
            assert (error.reason, error.is_transient) == ("robots", False)
    assert server.paths() == ["/robots.txt", *allowed]


def test_many_threads_read_robots_txt_once(make_web, server):
    web = make_web(per_host=6)
    server.on("/robots.txt", robots("User-agent: *\nAllow: /"))
    url = server.on("/a", reply(OTTER))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: web.download(url, ask_robots=True), range(12)))
    assert server.paths().count("/robots.txt") == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_host_without_robots_txt_allows_everything(web, server, status):
    server.on("/robots.txt", reply(b"User-agent: *\nDisallow: /", status))
    assert web.download(server.on("/a", reply(OTTER)), ask_robots=True).data == OTTER


@pytest.mark.parametrize("answer", [reply(b"", 503), reset_at_once, sent_on("/robots.txt")])
def test_a_robots_txt_that_cannot_be_read_allows_nothing_for_now(web, server, answer):
    server.on("/robots.txt", answer)
    url = server.on("/a", reply(OTTER))
    for _ in range(2):  # nor is it asked for again
        error = failure(web.download, url, ask_robots=True)
        assert (error.reason, error.is_transient) == ("robots", True)
        assert "could not be read" in error.explanation
    assert set(server.paths()) == {"/robots.txt"}
    assert len(server.asked) <= web.config.most_redirects + 1


def test_robots_txt_of_every_host_on_the_way_is_asked(web, server, names):
    names.known["elsewhere.example"] = ["127.0.0.1"]
    server.on("/robots.txt", robots("User-agent: *\nDisallow: /b"))
    url = server.on("/a", sent_on(server.url("/b", "elsewhere.example")))
    assert failure(web.download, url, ask_robots=True).reason == "robots"
    hosts = [asked.headers["host"] for asked in server.asked]
    port = server.port
    assert hosts == [f"127.0.0.1:{port}", f"127.0.0.1:{port}", f"elsewhere.example:{port}"]
    assert server.paths() == ["/robots.txt", "/a", "/robots.txt"]


@pytest.mark.parametrize(("asked_s", "kept_s"), [("0.1", 0.1), ("9999", 0.15), ("soon", 0.0)])
def test_a_crawl_delay_is_kept_as_long_as_it_makes_sense(make_web, server, asked_s, kept_s):
    web = make_web(longest_crawl_delay_s=0.15)
    server.on("/robots.txt", robots(f"User-agent: *\nCrawl-delay: {asked_s}"))
    url = server.on("/a", reply(OTTER))
    started = time.monotonic()
    for _ in range(3):
        web.download(url, ask_robots=True)
    times = [asked.at for asked in server.asked if asked.path == "/a"]
    assert times[-1] - times[0] >= 1.8 * kept_s
    assert time.monotonic() - started < 3 * kept_s + 10
