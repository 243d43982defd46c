"""robots.txt, read for one program alone."""

import time

import pytest
from clipaudit_crawlers.web.failures import Broken
from clipaudit_crawlers.web.opt_outs import AGENT
from clipaudit_crawlers.web.robots import MOST_BYTES, Robots, for_us
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from protego import Protego

AGENTS = st.sampled_from(
    [
        *("*", "clipaudit", "ClipAudit", "clip*", "*audit", "clip", "c", "**", "", "googlebot"),
        *("others", "clip audit", "clipaudit/1.0", "gpt:bot", "a, b"),
    ]
)
LINES = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["User-agent", "USER-AGENT", "useragent", " User agent", "user-agents"]),
        st.sampled_from([": ", ":", " : ", " ", "\t"]),
        AGENTS,
        st.sampled_from(["", " ", " # a note", "#"]),
    ),
    st.builds(
        "{}: {}".format,
        st.sampled_from(["Disallow", "Allow", "disalow", "Sitemap", "Host", "Noindex"]),
        st.sampled_from(["/", "/otters/", "/*.png$", "", "/otters/7.png"]),
    ),
    st.builds("Crawl-delay: {}".format, st.integers(-1, 9)),
    st.sampled_from(["", "# a note", "junk", "User-agent", "Disallow", ":", "user-agent x: y"]),
    st.text(max_size=8),
)


@seed(0)
@settings(max_examples=500)
@given(lines=st.lists(LINES, max_size=12), url=st.sampled_from(["/", "/otters/7.png", "/a"]))
def test_the_names_of_others_change_nothing_for_us(lines, url):
    whole, ours = Protego.parse("\n".join(lines)), Protego.parse(for_us("\n".join(lines)))
    url = f"https://x.example{url}"
    assert ours.can_fetch(url, AGENT) == whole.can_fetch(url, AGENT)
    assert ours.crawl_delay(AGENT) == whole.crawl_delay(AGENT)


@pytest.mark.parametrize("name", ["User-agent: a{}", "user agent a{}", "useragent x:{}", "{}*"])
def test_a_file_of_names_and_rules_does_not_take_hours(name):
    names = "".join(f"{name.format(number)}\n" for number in range(15_000))
    rules = "".join(f"Disallow: /{number}\n" for number in range(15_000))
    text = f"{names}User-agent: *\n{rules}"[:MOST_BYTES]
    started = time.monotonic()
    with pytest.raises(Broken):
        Robots(lambda _: text).delay_s("https://x.example/77")
    assert time.monotonic() - started < 5  # it takes a second; without care, hours


def test_it_is_asked_once_for_each_host():
    asked = []

    def read(url):
        asked.append(url)
        return ""

    robots = Robots(read)
    for url in ("https://x.example/a", "https://x.example/b", "http://x.example/a"):
        assert robots.delay_s(url) == 0
    assert asked == ["https://x.example/robots.txt", "http://x.example/robots.txt"]
