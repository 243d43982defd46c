import re

import pytest

from clipaudit.inferrers.library import list_inferrers
from clipaudit.inferrers.methods import shipped_methods

WIDTHS = (40, 60, 80, 100, 200)


@pytest.mark.parametrize("arguments", [[], ["list"]])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_methods_are_listed_and_fit(command, monkeypatch, arguments, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = command("inferrers", *arguments)
    assert code == 0
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    for method in shipped_methods():
        (row,) = re.findall(rf"^ *{method.name}  .*$", out, re.MULTILINE)
        assert method.needs in row
        assert (width < 60) or method.passes in row
        assert ("reached" in out) == (width >= 80)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_folder_is_listed_on_demand_and_fits(command, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = command("inferrers", "list", "--folders")
    assert code == 0
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    for card in list_inferrers():
        assert card.name[: width - 4] in out


def test_a_method_has_its_default_and_every_folder_with_what_it_was_measured_on(command):
    code, out, _ = command("inferrers", "show", "combined")
    assert code == 0
    words = " ".join(out.split())
    assert "The default where a run has pictures alone" in words
    cards = [card for card in list_inferrers() if card.kind == "combined"]
    assert len(cards) > 3
    for card in cards:
        assert f"on {card.judged_on}: accuracy {card.evidence.accuracy}" in words
        assert card.elsewhere in words


def test_a_card_is_printed_as_it_is_in_the_folder(command, tiny):
    code, out, _ = command("inferrers", "show", str(tiny / "a"))
    assert code == 0
    assert out == (tiny / "a" / "card.md").read_text()
    assert "not measured on other encoders" in out


def test_an_unknown_one_exits_5_with_a_hint(command):
    code, _, err = command("inferrers", "show", "nothing-of-this-name")
    assert code == 5
    assert "hint:" in err
