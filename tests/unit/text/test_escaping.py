import base64

import pytest

from clipaudit.text import escaping


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain name.png", "plain name.png"),
        ("日本 🏞️", "日本 🏞️"),
        ("narrow\u202fspace", "narrow\u202fspace"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\u202egnp", "\\u202egnp"),
        ("\u2028", "\\u2028"),
        ("\udce9", "\\xe9"),
        ("\ud83d", "\\ud83d"),
    ],
)
def test_only_what_can_mislead_is_escaped(text, expected):
    assert escaping.shown(text) == expected


def test_exact_bytes_of_a_name_that_is_not_utf8():
    assert base64.b64decode(escaping.exact("caf\udce9")) == b"caf\xe9"
    assert escaping.exact_unless_utf8("café") is None
    assert escaping.exact_unless_utf8("caf\udce9") == base64.b64encode(b"caf\xe9").decode()


def test_half_a_pair_from_windows_does_not_fail():
    assert base64.b64decode(escaping.exact("a\ud83d")) == b"a\xed\xa0\xbd"
