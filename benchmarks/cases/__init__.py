"""The cases of `python -m benchmarks`, by name."""

from __future__ import annotations

from importlib import import_module

from benchmarks.contest import Case

CASES = {
    "start-up": "start_up:HELP",
    "import": "start_up:IMPORT",
    "decode": "decode:CASE",
    "views": "views:CASE",
    "forward": "forward:CASE",
    "captions": "captions:CASE",
    "features": "features:CASE",
    "inferrers": "inferrers:CASE",
    "store-write": "store:WRITE",
    "store-read": "store:READ",
    "known": "known:CASE",
    "end-to-end": "whole_run:CASE",
    "lookup": "lists:CASE",
    "build-eval": "sets:CASE",
}
"""Name of a case → `module:name` in this package."""


def find_case(name: str) -> Case:
    """The case of a name in `CASES`."""
    module, _, attribute = CASES[name].partition(":")
    case: Case = getattr(import_module(f"{__name__}.{module}"), attribute)
    return case
