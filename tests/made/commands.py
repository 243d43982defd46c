"""The command line, run in the process of the test."""

from __future__ import annotations

from clipaudit.cli.app import main


def exit_code(*arguments: object) -> int:
    """Exit code of `clipaudit` with these arguments."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0
