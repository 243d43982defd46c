"""Answers of services: asked politely, kept once they are good, and never with a key in them."""

import hashlib
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from clipaudit_crawlers.fetch import DeferredError, RefusedError, TryAgain, archive_key

from clipaudit.errors import SourceError
from tests.made.canary import CANARY, assert_no_key, failure
from tests.services.hostile import (
    HostileServer,
    dripping,
    endless,
    head,
    reply,
    reset_at_once,
    said,
    said_and_gone,
    silent,
)

KEYS = {"secret_params": {"key": CANARY}, "secret_headers": {"Authorization": f"Bearer {CANARY}"}}
OTTERS = {"results": [{"id": 7, "title": "Otter"}]}


def as_json(answer, status=200, *headers):
    return reply(json.dumps(answer).encode(), status, *headers)


def ask(web, server, path="/v1", params=None, **options):
    return web.get_json("Otters", server.url(path), params or {"q": "otter"}, **KEYS, **options)


def test_keys_reach_the_service_and_nobody_else(web, server, archive):
    server.on("/v1", as_json(OTTERS))
    assert ask(web, server, params={"q": "sea otter", "page": "2"}) == OTTERS
    (asked,) = server.asked
    query = parse_qs(urlsplit(asked.target).query)
    assert query == {"q": ["sea otter"], "page": ["2"], "key": [CANARY]}
    assert asked.headers["authorization"] == f"Bearer {CANARY}"
    assert archive.answers() == [OTTERS]


def test_a_kept_answer_is_not_asked_for_again(make_web, server, archive):
    server.on("/v1", as_json(OTTERS))
    answers = [
        ask(make_web(), server),
        ask(make_web(), server),
        ask(make_web(offline=True), server),
    ]
    assert answers == [OTTERS] * 3
    assert len(server.asked) == 1
    assert archive.read(archive_key(server.url("/v1"), {"q": "otter"})) is not None


def test_the_order_of_parameters_and_the_key_make_no_other_answer(web, server):
    server.on("/v1", as_json(OTTERS))
    web.get_json("Otters", server.url("/v1"), {"a": "1", "b": "2"}, secret_params={"key": CANARY})
    web.get_json("Otters", server.url("/v1"), {"b": "2", "a": "1"})
    web.get_json("Otters", server.url("/v1"), {"a": "2", "b": "1"})
    assert len(server.asked) == 2


def test_the_archive_key_is_the_same_for_ever():
    # A run of a later version has to find what an earlier one kept.
    canonical = b"https://x.example/v1?a=1&q=%C3%A5+b"
    key = archive_key("https://x.example/v1", {"q": "å b", "a": "1"})
    assert key == hashlib.sha256(canonical).hexdigest()


def test_what_urllib3_logs_holds_marks_in_the_place_of_keys(web, server, caplog):
    server.on("/v1", as_json(OTTERS))
    ask(web, server)
    assert re.search(r'"GET /v1\?q=otter&key=~[0-9a-f]{8}\.0~ HTTP/1\.1" 200', caplog.text)


def test_keys_that_a_service_echoes_are_struck_out(web, server, archive):
    echo = {
        "next": f"https://x.example/?key={quote(CANARY, safe='')}&page=2",
        "you": [CANARY, {CANARY: f"({CANARY})"}],
        "n": 12345,
    }
    server.on("/v1", as_json(echo))
    struck = {
        "next": "https://x.example/?key=***&page=2",
        "you": ["***", {"***": "(***)"}],
        "n": 12345,
    }
    assert ask(web, server) == struck
    assert archive.answers() == [struck]


def test_a_key_is_struck_out_without_the_word_before_it(web, server):
    server.on("/v1", as_json({"you": "tok-0123, the bearer"}))
    headers = {"Authorization": "Bearer tok-0123"}
    answer = web.get_json("Otters", server.url("/v1"), {}, secret_headers=headers)
    assert answer == {"you": "***, the bearer"}


def test_an_answer_with_a_name_twice_keeps_no_key(web, server, archive):
    server.on("/v1", reply(b'{"you": %s, "you": 1}' % json.dumps(CANARY).encode()))
    assert ask(web, server) == {"you": 1}
    assert archive.answers() == [{"you": 1}]


@pytest.mark.parametrize(
    "lines",
    [f" {CANARY}\r\nX-A: b\r\n", f"X-A: b\r\nno colon in {CANARY}\r\n", f"From {CANARY}\r\n"],
    ids=["continues nothing", "no colon", "of an old mailbox"],
)
def test_headers_that_are_none_are_not_logged(web, server, lines):
    server.on("/v1", said_and_gone(f"HTTP/1.1 200 OK\r\n{lines}\r\n[]".encode()))
    assert ask(web, server) == []


# Errors


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"detail": "no such page"}', {"detail": "no such page"}),
        (b"<html>no such page", "<html>no such page"),
        (b"", ""),
        (f'{{"key": "{CANARY}"}}'.encode(), {"key": "***"}),
        (f"you sent {CANARY}".encode(), "you sent ***"),
    ],
)
def test_a_refusal_tells_what_was_said(web, server, archive, body, answer):
    server.on("/v1", reply(body, 404))
    error = failure(ask, web, server)
    assert isinstance(error, RefusedError)
    assert (error.status, error.answer) == (404, answer)
    assert str(error).startswith("Otters answers 404 (Not Found)")
    assert len(server.asked) == 1
    assert archive.answers() == []


@pytest.mark.parametrize("never", [endless(head(403), b"z" * 9000), said(head(403) + b"half")])
def test_a_refusal_does_not_wait_for_its_page(web, server, never):
    server.on("/v1", never)
    started = time.monotonic()
    error = failure(ask, web, server)
    assert (error.status, len(server.asked)) == (403, 1)
    assert "key" in error.hint
    assert time.monotonic() - started < web.config.read_timeout_s + 0.5


def test_a_service_in_trouble_gets_another_try(web, server):
    server.on("/v1", as_json({}, 503), reset_at_once, as_json({}, 429), as_json(OTTERS))
    assert ask(web, server) == OTTERS
    assert len(server.asked) == web.config.tries


def test_a_service_that_stays_in_trouble_is_reported(web, server):
    server.on("/v1", as_json({"detail": "sorry"}, 500))
    error = failure(ask, web, server)
    assert (error.status, error.answer) == (500, {"detail": "sorry"})
    assert len(server.asked) == web.config.tries


def test_a_quota_of_tomorrow_is_left_for_tomorrow(web, server):
    server.on("/v1", as_json({}, 429, ("Retry-After", "86400")))
    error = failure(ask, web, server)
    assert isinstance(error, DeferredError)
    assert (error.host, error.wait_s) == ("127.0.0.1", 86_400)
    assert "24 hours" in error.hint
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(b"<html>"), "what is no JSON"),
        (reply(b""), "what is no JSON"),
        (reply(b'{"a": NaN}'), "what is no JSON"),
        (reply(b"\xff\xfe\x00"), "what is no JSON"),
        (reply(b"[" * 100_000), "what is no JSON"),
        (reply(b"[" * 900 + b"]" * 900), "what is no JSON"),
        (reply(b"9" * 9000), "what is no JSON"),
        (reply(b" " * 2_000_000), "more than 1,000,000 bytes"),
        (said(head(200, [("Content-Length", "9999999999")])), "more than 1,000,000 bytes"),
        (dripping(head(200), b" ", 0.05), "fewer than 1,024 a second"),
        (silent, "silent for more than"),
        (said(b"220 smtp.example ESMTP\r\n"), "not HTTP"),
        (said(f"you sent {CANARY}\r\n".encode()), "not HTTP"),
        (reply(b"", 304), "304 (Not Modified)"),
    ],
)
def test_what_is_no_answer_ends_with_a_reason(web, server, archive, answer, said):
    server.on("/v1", answer)
    error = failure(ask, web, server)
    assert isinstance(error, SourceError)
    assert said in str(error)
    assert "Otters" in str(error)
    assert error.hint
    assert archive.answers() == []


def test_without_a_network_it_ends_at_once(make_web, names):
    started = time.monotonic()
    error = failure(
        make_web(ports=(443,), backoff_s=30.0, total_timeout_s=60.0).get_json,
        "Openverse",
        "https://api.openverse.org/v1/images/",
        {"q": "otter"},
        **KEYS,
    )
    assert str(error) == "no network: cannot reach api.openverse.org"
    assert "again" in error.hint
    assert names.asked == ["api.openverse.org"]
    assert time.monotonic() - started < 10


def test_offline_says_what_was_not_kept(make_web, server):
    web = make_web(offline=True)
    error = failure(ask, web, server, params={"q": "otter", "oops": CANARY})
    assert f"{server.url('/v1')}?q=otter&oops=***" in str(error)
    assert "--offline" in error.hint
    assert "--offline" in failure(web.post_form, "Otters", server.url("/t"), {}).hint
    assert server.connections == 0


def test_a_private_address_has_to_be_allowed(make_web, server):
    error = failure(ask, make_web(allow_private=False), server)
    assert "private network" in str(error)
    assert "--allow-private" in error.hint
    assert server.connections == 0


@pytest.mark.parametrize("key", ["line\nbreak", "“quoted”", "an ellips…", "tab\t"])
@pytest.mark.parametrize("place", ["secret_params", "secret_headers"])
def test_a_key_that_cannot_be_sent_is_named_but_not_shown(web, server, key, place):
    error = failure(web.get_json, "Otters", server.url("/v1"), {}, **{place: {"key": key}})
    assert "the key for Otters" in str(error)
    assert key not in f"{error!r}{error.hint}"
    assert server.connections == 0


# A check of one's own


def test_an_answer_that_fails_its_check_is_not_kept(web, server, archive):
    def check(answer):
        raise SourceError(f"it says {answer['stat']}", "Do something.")

    server.on("/v1", as_json({"stat": f"fail {CANARY}"}))
    assert str(failure(ask, web, server, check=check)) == "it says fail ***"
    assert archive.answers() == []


def busy_unless_fine(wait_s):
    def check(answer):
        if answer != OTTERS:
            raise TryAgain(f"lagging {answer['you']}", wait_s)

    return check


@pytest.mark.parametrize("wait_s", [None, 0.0, 0.1])
def test_a_busy_service_is_asked_again(web, server, archive, wait_s):
    server.on("/v1", as_json({"you": CANARY}), as_json({"you": 1}), as_json(OTTERS))
    assert ask(web, server, check=busy_unless_fine(wait_s)) == OTTERS
    first, second, _ = (asked.at for asked in server.asked)
    assert second - first >= (wait_s or web.config.backoff_s)
    assert archive.answers() == [OTTERS]


@pytest.mark.parametrize(("wait_s", "n_tries"), [(None, 4), (3600.0, 1)])
def test_a_service_that_stays_busy_is_left_for_later(web, server, wait_s, n_tries):
    server.on("/v1", as_json({"you": CANARY}))
    error = failure(ask, web, server, check=busy_unless_fine(wait_s))
    assert isinstance(error, DeferredError)
    assert error.wait_s == wait_s
    assert len(server.asked) == n_tries


def test_what_a_check_says_is_struck_out(web, server):
    def check(answer):
        raise TryAgain(f"no quota for {CANARY}")

    server.on("/v1", as_json(OTTERS))
    assert str(failure(ask, web, server, check=check)).endswith("no quota for ***")


# Turns


def test_requests_to_a_service_keep_their_distance(make_web, server):
    web = make_web()
    server.on("/v1", as_json(OTTERS))
    pages = [{"page": str(number)} for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda page: ask(web, server, params=page, interval_s=0.08), pages))
    assert len(server.asked) == 5
    assert server.asked[-1].at - server.asked[0].at >= 0.25
    assert server.most_at_once == 1


# Forms


def test_a_token_is_got_by_a_form_and_never_seen_again(web, server, archive):
    token = {"access_token": "t0ken-cAn4ry", "token_type": "Bearer", "scope": "read write"}
    server.on("/token", as_json(token))
    fields = {"grant_type": "client_credentials", "client_secret": CANARY, "scope": "read"}
    assert web.post_form("Otters", server.url("/token"), fields) == token
    (asked,) = server.asked
    assert asked.method == "POST"
    assert parse_qs(asked.body.decode()) == {name: [value] for name, value in fields.items()}
    assert archive.answers() == []
    # What is no key is left alone; what is one is struck out of what comes later.
    server.on("/v1", as_json({"said": "Bearer t0ken-cAn4ry for read, by client_credentials"}))
    answer = web.get_json("Otters", server.url("/v1"), {})
    assert answer == {"said": "Bearer *** for read, by client_credentials"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reset_at_once, "drops the connection"),
        (said_and_gone(head(200, [("Content-Length", "99")]) + b"{"), "drops the connection"),
        (as_json({"error": f"bad {CANARY}"}, 503), "503"),
        (reply(b"", 302, ("Location", "/elsewhere")), "302"),
        (reply(CANARY.encode()), "what is no JSON"),
    ],
)
def test_a_form_is_sent_once(web, server, answer, said):
    server.on("/token", answer)
    error = failure(web.post_form, "Otters", server.url("/token"), {"client_secret": CANARY})
    assert said in str(error)
    assert server.paths() == ["/token"]


def test_a_form_that_nobody_took_is_sent_again(make_web):
    server = HostileServer()  # refuses connections until it listens
    web = make_web(ports=(server.port,), backoff_s=0.05, tries=2)
    started = time.monotonic()
    error = failure(web.post_form, "Otters", server.url("/token"), {"client_secret": CANARY})
    assert "refuses connections" in str(error)
    assert time.monotonic() - started >= 0.05
    server.__exit__()


def test_the_library_never_shows_its_keys(web):
    assert_no_key(f"{web!r} {vars(web)!r} {vars(web)['_keys']!r}")
