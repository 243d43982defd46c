"""What may be missing in general, and is there in a test."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value, which must not be missing."""
    assert value is not None
    return value
