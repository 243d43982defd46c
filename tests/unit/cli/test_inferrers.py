import pytest

from clipaudit.cli.app import main
from clipaudit.inferrers.library import list_inferrers


def run(capsys, *arguments):
    code = 0
    try:
        main(["inferrers", *arguments])
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_the_shipped_ones_are_listed(capsys, arguments):
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    for card in list_inferrers():
        assert card.name in out


def test_a_card_is_printed_as_it_is_in_the_folder(capsys, tiny):
    code, out, _ = run(capsys, "show", str(tiny / "a"))
    assert code == 0
    assert out == (tiny / "a" / "card.md").read_text()


def test_an_unknown_one_exits_5_with_a_hint(capsys):
    code, _, err = run(capsys, "show", "nothing-of-this-name")
    assert code == 5
    assert "hint:" in err
