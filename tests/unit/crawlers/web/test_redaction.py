"""Keys are struck out however they are spelled, and marks turn back into what they stand for."""

import re
from urllib.parse import quote, quote_plus, unquote

import pytest
from clipaudit_crawlers.web.redaction import SHORTEST, STRUCK, Keys
from hypothesis import given, seed, settings
from hypothesis import strategies as st

KEYS = st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=SHORTEST)
TEXTS = st.text(max_size=20)


def partly_quoted(key):
    """Every other character as a percent sign and hex digits, in small letters."""
    return "".join(
        "".join(f"%{byte:02x}" for byte in one.encode()) if place % 2 else one
        for place, one in enumerate(key)
    )


SPELLINGS = (
    str,
    quote,
    quote_plus,
    partly_quoted,
    lambda key: quote(key, safe=""),
    lambda key: quote(quote(key, safe=""), safe=""),
    lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
)


@pytest.mark.parametrize("spelled", SPELLINGS)
@seed(0)
@settings(max_examples=100)
@given(keys=st.lists(KEYS, min_size=1, max_size=4), pieces=st.lists(TEXTS, min_size=5, max_size=5))
def test_no_spelling_of_a_key_is_left(spelled, keys, pieces):
    text = "".join(f"{piece}{spelled(key)}" for piece, key in zip(pieces, keys, strict=False))
    hidden = Keys(keys).hidden(text)
    assert STRUCK in hidden
    for _ in range(3):
        assert not [key for key in keys if key in hidden]
        hidden = unquote(hidden)


@seed(0)
@settings(max_examples=200)
@given(keys=st.lists(KEYS, max_size=3), pieces=st.lists(TEXTS, max_size=5), data=st.data())
def test_marks_turn_back_into_the_very_text(keys, pieces, data):
    spellings = [spelled(key) for key in keys for spelled in SPELLINGS]
    text = "".join(data.draw(st.permutations(pieces + spellings)))
    known = Keys(keys)
    marked = known.marked(text)
    assert known.revealed(marked) == text
    assert not [key for key in keys if key in marked]
    assert known.holds_mark(marked) is (marked != text)


@seed(0)
@given(keys=st.lists(KEYS, max_size=3), text=TEXTS)
def test_a_text_without_keys_stays_as_it_is(keys, text):
    if not any(key in unquote(unquote(text.replace("+", " "))) for key in keys):
        assert Keys(keys).hidden(text) == text


@pytest.mark.parametrize("key", ["", "a", "abc"])
def test_what_is_too_short_for_a_key_tears_no_words(key):
    assert Keys([key]).hidden("abc of otters") == "abc of otters"
    assert Keys([key]).marked("abc of otters") == "abc of otters"


def test_the_longer_of_two_keys_is_struck_out_whole():
    assert Keys(["otter", "otter-river"]).hidden("an otter-river") == f"an {STRUCK}"


def test_parsed_json_keeps_its_shape():
    keys = Keys(["s3cret", "1234567"])
    answer = {"a": ["s3cret", 1234567, 12345678, 0.5, None, True], "s3cret": {"b": "my s3cret!"}}
    assert keys.hidden_in(answer) == {
        "a": ["***", "***", 12345678, 0.5, None, True],
        "***": {"b": "my ***!"},
    }


def test_nobody_can_write_a_mark():
    keys, others = Keys(["s3cret"]), Keys(["s3cret"])
    mark = keys.marked("s3cret")
    assert re.fullmatch(r"~[0-9a-f]{8}\.0~", mark)
    assert others.revealed(mark) == mark


def test_keys_that_come_later_are_known_from_then_on():
    keys = Keys()
    assert keys.hidden("s3cret") == "s3cret"
    keys.add("s3cret")
    assert keys.hidden("s3cret") == STRUCK
    assert repr(keys) == "<1 keys>"
