"""Which addresses are of the internet."""

from ipaddress import ip_address

import pytest
from clipaudit_crawlers.web.addresses import is_public, prepared
from clipaudit_crawlers.web.failures import Broken

PUBLIC = ["8.8.8.8", "93.184.216.34", "::ffff:8.8.8.8", "2001:4860:4860::8888", "2a02:ec80:300::1"]

NOT_PUBLIC = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("::ffff:169.254.169.254", "::ffff:224.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1"),
    *("2001::1", "2001:db8::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1"),
    *("ff0e::1", "4000::1", "168.63.129.16", "::ffff:168.63.129.16"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_all_others_are_not(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://x.example", "https://x.example/"),
        (" HTTPS://X.Example/Otter.PNG ", "https://x.example/Otter.PNG"),
        ("https://x.example:443/a", "https://x.example:443/a"),
        ("https://x.example/an otter.png?q=a b", "https://x.example/an%20otter.png?q=a%20b"),
        ("https://x.example/%7Eme/%2F", "https://x.example/~me/%2F"),
        ("https://øtter.example/ø", "https://xn--tter-fra.example/%C3%B8"),
        ("https://x.example/a/../b", "https://x.example/b"),
        ("https://x.example/?u=http://me@y.example/", "https://x.example/?u=http://me@y.example/"),
    ],
)
def test_a_url_is_put_into_the_form_in_which_it_is_sent(url, sent):
    assert prepared(url, (80, 443), any_port=False).geturl() == sent


def test_other_ports_have_to_be_named():
    url = "http://x.example:8080/"
    with pytest.raises(Broken, match="port 8080"):
        prepared(url, (80, 443), any_port=False)
    assert prepared(url, (80, 8080), any_port=False).port == 8080
    assert prepared(url, (), any_port=True).port == 8080
