import pytest

from clipaudit.inferrers.library import list_inferrers


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_the_shipped_ones_are_listed(command, arguments):
    code, out, _ = command("inferrers", *arguments)
    assert code == 0
    for card in list_inferrers():
        assert card.name in out


def test_a_card_is_printed_as_it_is_in_the_folder(command, tiny):
    code, out, _ = command("inferrers", "show", str(tiny / "a"))
    assert code == 0
    assert out == (tiny / "a" / "card.md").read_text()


def test_an_unknown_one_exits_5_with_a_hint(command):
    code, _, err = command("inferrers", "show", "nothing-of-this-name")
    assert code == 5
    assert "hint:" in err
