"""Which hosts are asked: none of this machine or its networks, whatever leads there."""

import socket
import ssl
import time

import pytest
import trustme
from clipaudit_crawlers.fetch import REASONS

from clipaudit.errors import SourceError
from tests.made.canary import CANARY, failure
from tests.services.hostile import HostileServer, reply, sent_on

OTTER = b"\x89PNG otter"

INWARD = [
    "http://127.0.0.1:{port}/",
    "http://127.0.0.2:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001::7f00:1]:{port}/",
    "http://[fe80::1]:{port}/",
    "http://[fec0::1]:{port}/",
    "http://[fd00::1]:{port}/",
    "http://[ff02::1]:{port}/",
    "http://[100::1]:{port}/",
    "http://[5f00::1]:{port}/",
    "http://10.0.0.1:{port}/",
    "http://100.64.0.1:{port}/",
    "http://168.63.129.16:{port}/metadata",
    "http://[::ffff:168.63.129.16]:{port}/",
    "http://169.254.169.254:{port}/latest/meta-data/",
    "http://172.16.0.1:{port}/",
    "http://192.168.0.1:{port}/",
    "http://192.0.0.1:{port}/",
    "http://192.0.2.1:{port}/",
    "http://192.88.99.1:{port}/",
    "http://198.18.0.1:{port}/",
    "http://224.0.0.1:{port}/",
    "http://240.0.0.1:{port}/",
    "http://255.255.255.255:{port}/",
]
"""Ways to write an address of this machine, of its networks, or of no network."""

NO_URLS = [
    "",
    "/otter.png",
    "//127.0.0.1:{port}/",
    "http://",
    "http:///otter.png",
    "http://[::1",
    "http://127.0.0.1:{port}\\@example.org/",
    "http://example.org\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\t/",
    "http://127.0.0.1\n:{port}/",
    "http://127.0.0.1:{port}/\x00",
    "http://me@127.0.0.1:{port}/",
    "http://me:secret@127.0.0.1:{port}/",
    "http://example.org@127.0.0.1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://127。0。0。1:{port}/",
    "http://127.0.0.1:22/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:{port}x/",
    "http://*.example.org:{port}/",
    "http://" + "a" * 64 + ".example:{port}/",
    "http://127.0.0.1:{port}/" + "a" * 9000,
    "file:///etc/passwd",
    "file://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_GET",
    "httpx://127.0.0.1:{port}/",
    "data:image/png;base64,iVBORw0KGgo=",
    "javascript:alert(1)",
    "unix:///var/run/docker.sock",
]


@pytest.fixture(scope="module")
def inside():
    """Servers on the same port of every address of this machine that we can have."""
    with HostileServer() as first:
        servers = [first]
        for address in ("127.0.0.2", "::1"):
            try:
                servers.append(HostileServer(address, first.port).__enter__())
            except OSError:  # this machine has no such address
                continue
        yield servers
        for server in servers[1:]:
            server.__exit__()


@pytest.mark.parametrize("url", INWARD)
def test_no_way_of_writing_an_address_leads_inside(make_web, inside, url):
    port = inside[0].port
    web = make_web(allow_private=False, ports=(80, port))
    started = time.monotonic()
    error = failure(web.download, url.format(port=port))
    no_ipv6 = "[" in url and not socket.has_ipv6
    assert error.reason == ("unknown-host" if no_ipv6 else "address-refused")
    assert error.is_transient is no_ipv6
    assert sum(server.connections for server in inside) == 0
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_address_is_not_asked(make_web, inside, url):
    port = inside[0].port
    web = make_web(allow_private=("127.0.0.0/8", "::1/128"), ports=(80, port))
    error = failure(web.download, url.format(port=port))
    assert (error.reason, error.is_transient) == ("bad-url", False)
    assert sum(server.connections for server in inside) == 0


@pytest.fixture
def outside():
    """A server that counts as one of the internet, on another address than those inside."""
    try:
        server = HostileServer("127.0.0.3")
    except OSError:
        pytest.skip("this system has one address for itself alone")
    with server:
        yield server


@pytest.mark.parametrize("url", INWARD)
def test_no_redirect_leads_inside(make_web, inside, outside, url):
    port = inside[0].port
    web = make_web(allow_private=("127.0.0.3/32",), ports=(80, port, outside.port))
    error = failure(web.download, outside.on("/a", sent_on(url.format(port=port))))
    assert error.reason == "address-refused"
    assert outside.paths() == ["/a"]
    assert sum(server.connections for server in inside) == 0


@pytest.mark.parametrize(
    "location", ["http://me:secret@127.0.0.3/", "http://127.0.0.3:22/", "file:///etc/passwd"]
)
def test_a_redirect_is_held_to_the_same_rules(make_web, outside, location):
    web = make_web(allow_private=("127.0.0.3/32",), ports=(80, outside.port))
    assert failure(web.download, outside.on("/a", sent_on(location))).reason == "bad-url"


def test_dns_that_changes_its_mind_does_not_matter(make_web, outside, inside, names):
    port = inside[0].port
    with HostileServer("127.0.0.3", port) as pinned:
        names.known["rebind.example"] = ["127.0.0.3", "127.0.0.1"]
        web = make_web(allow_private=("127.0.0.3/32",), ports=(port,))
        url = pinned.on("/a", reply(OTTER)).replace("127.0.0.3", "rebind.example")
        assert web.download(url).data == OTTER
        assert names.asked.count("rebind.example") == 1  # what it was checked and connected by
        assert pinned.asked[0].headers["host"] == f"rebind.example:{port}"
        # The second look-up gives the address inside, and is refused.
        assert failure(web.download, url).reason == "address-refused"
    assert sum(server.connections for server in inside) == 0


def test_a_name_that_nobody_knows_is_looked_up_once(make_web, names):
    started = time.monotonic()
    error = failure(
        make_web(backoff_s=30.0, total_timeout_s=60.0, ports=(80,)).download,
        "http://nowhere.example/otter.png",
    )
    assert (error.reason, error.is_transient) == ("unknown-host", True)
    assert names.asked == ["nowhere.example"]
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("allow_private", [False, True, ("127.0.0.1/32",)], ids=str)
@pytest.mark.parametrize(
    "answer",
    [
        [],
        [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/run/x")],
        [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("no address", 80))],
        [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("", 80, 0, 0))],
    ],
    ids=["nothing", "another family", "no address", "an empty one"],
)
def test_a_resolver_that_gives_no_address_is_a_reason(make_web, monkeypatch, allow_private, answer):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: answer)
    web = make_web(allow_private=allow_private, ports=(80, 443))
    reason = failure(lambda: web.download("http://x.example/")).reason
    assert reason in ({"unknown-host"} if not answer or allow_private is not True else REASONS)
    error = failure(lambda: web.get_json("Otters", "https://x.example/", {}))
    assert isinstance(error, SourceError)
    if not answer:
        assert "cannot reach x.example" in str(error)


def test_private_addresses_can_be_allowed_with_any_port(make_web, server):
    web = make_web(allow_private=True, ports=(80,))
    assert web.download(server.on("/a", reply(OTTER))).data == OTTER
    assert web.download(server.url("/a", "localhost")).data == OTTER
    error = failure(web.download, "http://me@127.0.0.1/")  # the other rules stay
    assert error.reason == "bad-url"


def test_addresses_of_the_newer_kind_work_as_well(make_web):
    try:
        server = HostileServer("::1")
    except OSError:
        pytest.skip("this system has no IPv6")
    with server:
        web = make_web(allow_private=("::1/128",), ports=(server.port,))
        assert web.download(server.on("/a", reply(OTTER))).data == OTTER
        assert server.asked[0].headers["host"] == f"[::1]:{server.port}"


def test_only_networks_of_this_machine_can_be_named(make_web):
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8 is not a network of this machine"):
        make_web(allow_private=("127.0.0.1/32", "10.0.0.0/8"))


# Who answers


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path):
    """The file of certificates of somebody who trusts this authority."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def tls_server(authority):
    """Makes a server that proves to have a name, by an authority's word."""
    servers = []

    def make(name, by=authority):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        by.issue_cert(name).configure_cert(context)
        servers.append(HostileServer(tls=context).__enter__())
        return servers[-1]

    yield make
    for server in servers:
        server.__exit__()


def test_a_host_that_proves_its_name_is_believed(make_web, tls_server, trusted, names):
    server = tls_server("otters.example")
    names.known["otters.example"] = ["127.0.0.1"]
    web = make_web(ports=(server.port,), ca_bundle=trusted)
    server.on("/a", reply(OTTER))
    assert web.download(server.url("/a", "otters.example")).data == OTTER


@pytest.mark.parametrize("allow_private", [("127.0.0.1/32",), True], ids=["checked", "open"])
def test_a_host_that_proves_another_name_is_not(
    make_web, tls_server, trusted, names, allow_private
):
    server = tls_server("otters.example")
    names.known["beavers.example"] = ["127.0.0.1"]
    web = make_web(ports=(server.port,), ca_bundle=trusted, allow_private=allow_private)
    error = failure(web.download, server.url("/a", "beavers.example"))
    assert (error.reason, error.is_transient) == ("tls", False)
    assert server.asked == []


def test_a_host_that_vouches_for_itself_is_not_believed(make_web, tls_server, trusted):
    server = tls_server("127.0.0.1", by=trustme.CA())
    error = failure(make_web(ports=(server.port,), ca_bundle=trusted).download, server.url("/a"))
    assert (error.reason, error.is_transient) == ("tls", False)
    assert server.asked == []
    # Nor is one that only our own authority knows, by somebody who did not say so.
    server = tls_server("127.0.0.1")
    assert failure(make_web(ports=(server.port,)).download, server.url("/a")).reason == "tls"


def test_certificates_that_are_not_there_are_an_error_at_once(make_web, tmp_path):
    with pytest.raises(SourceError, match="no certificates at") as error:
        make_web(ca_bundle=tmp_path / "none.pem")
    assert "PEM" in error.value.hint


def test_a_host_that_does_not_speak_tls_is_no_secure_one(make_web, server):
    url = server.on("/a", reply(OTTER)).replace("http:", "https:")
    error = failure(make_web(tries=1).download, url)
    assert error.reason in {"tls", "unreachable", "timeout"}
    assert "GET" not in [asked.method for asked in server.asked]


def test_nobody_is_sent_from_https_to_http(make_web, server, tls_server, trusted):
    secure = tls_server("127.0.0.1")
    web = make_web(ports=(secure.port, server.port), ca_bundle=trusted)
    url = secure.on("/a", sent_on(server.on("/a", reply(OTTER))))
    assert failure(web.download, url).reason == "redirects"
    assert server.asked == []
    # The other way is welcome.
    url = server.on("/b", sent_on(secure.on("/b", reply(OTTER))))
    assert web.download(url).data == OTTER


# Who gets the keys


def test_keys_are_not_carried_to_another_host(make_web, server, outside):
    web = make_web(
        allow_private=("127.0.0.1/32", "127.0.0.3/32"), ports=(server.port, outside.port)
    )
    server.on("/a", sent_on(outside.on("/b", reply(b"[]"))))
    options = {"secret_params": {"key": CANARY}, "secret_headers": {"X-Token": CANARY}}
    assert web.get_json("Otters", server.url("/a"), {"q": "otter"}, **options) == []
    assert CANARY in server.asked[0].headers["x-token"]
    assert "x-token" not in outside.asked[0].headers
    assert "key" not in outside.asked[0].target


def test_keys_follow_within_a_host(web, server):
    server.on("/a", sent_on("/b"))
    server.on("/b", reply(b"[]"))
    web.get_json("Otters", server.url("/a"), {}, secret_headers={"X-Token": CANARY})
    assert [asked.headers["x-token"] for asked in server.asked] == [CANARY, CANARY]


def test_a_host_that_hands_our_key_on_is_not_followed(make_web, server, outside):
    web = make_web(
        allow_private=("127.0.0.1/32", "127.0.0.3/32"), ports=(server.port, outside.port)
    )
    thief = f"{outside.url('/b')}?stolen=cAn4ry%2f%2B%26%3d%257E%20never"
    server.on("/a", sent_on(thief))
    error = failure(web.get_json, "Otters", server.url("/a"), {}, secret_params={"key": CANARY})
    assert "to another host" in str(error)
    assert outside.connections == 0
