"""Which headers keep a picture from us."""

from clipaudit_crawlers.web.opt_outs import SAYS_NO, opt_out
from hypothesis import given, seed, settings
from hypothesis import strategies as st

AGENTS = st.sampled_from([None, "*", "clipaudit", "ClipAudit", "googlebot", "other-bot"])
DIRECTIVES = st.sampled_from(
    [
        *sorted(SAYS_NO),
        *("all", "nofollow", "noarchive", "max-snippet: 20", "max-image-preview:large"),
        *("unavailable_after: Fri, 25 Jun 2010 15:00:00 PST", "unavailable_after:2030-01-01T00:00"),
        *("", "no ai", "noai!", "ai: 20, x", "§"),
    ]
)
GROUPS = st.lists(st.tuples(AGENTS, st.lists(DIRECTIVES, max_size=3)), max_size=3)


def written(groups, shout, space):
    """The groups as the value of a header: an agent's name stands before its first directive."""
    parts = [
        f"{agent}{space}:{space}{', '.join(directives)}" if agent else ", ".join(directives)
        for agent, directives in groups
    ]
    value = f"{space},".join(parts)
    return value.upper() if shout else value


@seed(0)
@settings(max_examples=200)
@given(values=st.lists(st.tuples(GROUPS, st.booleans(), st.sampled_from(["", " ", "\t "]))))
def test_it_agrees_with_a_reading_of_the_groups(values):
    expected = False
    for groups, _, _ in values:
        agent = None
        for name, directives in groups:
            agent = name or agent  # a name holds until the next one
            if "ai: 20, x" in directives:
                # Reads as the name of a program, `ai`, for what is left of the header.
                before = directives[: directives.index("ai: 20, x")]
                expected |= says_no(agent, before)
                agent = "ai"
            else:
                expected |= says_no(agent, directives)
    found = opt_out([written(*value) for value in values], [])
    assert (found is not None) is expected


def says_no(agent, directives):
    for_us = agent is None or agent.lower() in {"*", "clipaudit"}
    return for_us and bool(SAYS_NO & set(directives))


@seed(0)
@settings(max_examples=100)
@given(values=st.lists(st.text()), reservations=st.lists(st.text()))
def test_junk_is_no_error_and_hides_no_opt_out(values, reservations):
    opt_out(values, reservations)
    assert opt_out([*values, "noai"], reservations) is not None
    assert opt_out(values, [*reservations, "1"]) is not None


def test_a_reservation_is_the_number_one():
    assert opt_out([], ["1"]) == "tdm-reservation: 1"
    assert opt_out([], ["0, 1"]) is not None
    for value in ("", "0", "10", "yes", "-1"):
        assert opt_out([], [value]) is None


def test_the_words_are_named():
    assert opt_out(["nofollow", "all, NoImageAI"], []) == "X-Robots-Tag: noimageai"
