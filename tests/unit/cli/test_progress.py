import io

import pytest
from rich.console import Console

from clipaudit.cli.progress import Log, _ScoringLog, progress
from clipaudit.pipelines.score import Progress


def console(*, terminal, width=80):
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def test_a_log_gets_a_line_every_half_minute():
    clock = iter([0, 10, 29.9, 31, 40, 62, 100])
    to = console(terminal=False)
    log = _ScoringLog(Log(to, clock=lambda: next(clock)))
    for done, total in ((10, None), (20, None), (31, None), (40, 1000), (93, 1000), (131, 1000)):
        log.advance(Progress(done, total, skipped=done // 30, from_store=0))
    assert to.file.getvalue().splitlines() == [
        "31 images, 1.0 images/s, 1 skipped",
        "93 of 1,000 images, 2.0 images/s, 7:34 left, 3 skipped",
        "131 of 1,000 images, 1.0 images/s, 14:29 left, 4 skipped",
    ]


def test_nothing_is_drawn_where_stderr_is_no_terminal_or_quiet_is_asked_for():
    for terminal, quiet in ((False, False), (True, True)):
        to = console(terminal=terminal)
        with progress(to, quiet=quiet) as advance:
            for done in range(5):
                advance(Progress(done, 5, 0, 0))
        assert to.file.getvalue() == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_a_bar_in_one_line(width):
    to = console(terminal=True, width=width)
    with progress(to) as advance:
        advance(Progress(3, None, 0, 0))
        advance(Progress(4, 123_456, 12, 3))
        advance(Progress(123_455, 123_456, 1234, 5678))
    text = to.file.getvalue()
    assert "scoring" in text
    assert "1,234" in text
