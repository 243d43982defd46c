import logging
import warnings

import pytest

from clipaudit.cli import messages


@pytest.fixture(autouse=True)
def _warnings_are_no_errors():
    warnings.simplefilter("default")  # undone by the fixture of conftest.py


def said(capsys, **options):
    messages.set_up(**options)
    for logger in (logging.getLogger("clipaudit.x"), logging.getLogger("other")):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logger.log(level, "of %s", logger.name)
    warnings.warn("of python", UserWarning, stacklevel=1)
    out, err = capsys.readouterr()
    assert out == ""
    return [line for line in err.splitlines() if line.endswith(("clipaudit.x", "other"))]


def test_each_verbosity_says_more(capsys):
    assert said(capsys, quiet=True) == ["error: of clipaudit.x", "error: of other"]
    normal = ["warning: of clipaudit.x", "error: of clipaudit.x", "error: of other"]
    assert said(capsys) == normal
    assert "info: of clipaudit.x" in said(capsys, verbosity=1)
    assert "warning: of other" in said(capsys, verbosity=1)
    assert "debug: of clipaudit.x" in said(capsys, verbosity=2)
    assert said(capsys, verbosity=9) == said(capsys, verbosity=2)


def test_markup_and_control_characters_are_text(capsys):
    messages.set_up()
    logging.getLogger("clipaudit").warning("[red]a[/] %s", "\x1b[2J\nb")
    assert capsys.readouterr().err == "warning: [red]a[/] \\x1b[2J\nb\n"


def test_warnings_of_others_are_shown_on_request_alone(capsys):
    messages.set_up()
    warnings.warn("from afar", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == ""
    messages.set_up(verbosity=1)
    warnings.warn("from afar", UserWarning, stacklevel=1)
    assert "from afar" in capsys.readouterr().err
