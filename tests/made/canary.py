"""A key that must not be seen, and what looks for it."""

from __future__ import annotations

import json
import traceback
from urllib.parse import quote, quote_plus

import pytest
from clipaudit_crawlers.fetch import DownloadFailed

from clipaudit.errors import SourceError

CANARY = "cAn4ry/+&=%7E never"


def assert_no_key(text):
    as_json = json.dumps(CANARY)[1:-1]
    for spelling in (CANARY, quote(CANARY), quote(CANARY, safe=""), quote_plus(CANARY), as_json):
        assert spelling not in text
    assert "cAn4ry" not in text  # nor a part of it


def failure(call, *arguments, **options):
    """The error that a call ends in, without a key in anything that might be printed of it."""
    with pytest.raises((DownloadFailed, SourceError)) as caught:
        call(*arguments, **options)
    error = caught.value
    assert_no_key("".join(traceback.format_exception(error)))
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        assert_no_key(f"{one} {one!r} {one.args!r}")
        waiting += [cause for cause in (one.__cause__, one.__context__) if cause is not None]
    return error
