"""Queries of sources, and what they ought to find."""

from __future__ import annotations

from clipaudit_crawlers.base import Query


def query(keyword="otter", limit=1000, **more):
    """A query whose limit is out of the way."""
    return Query(keyword=keyword, limit=limit, **more)


def ids(pictures):
    """Ids of the services' own pictures, as records have them."""
    return [str(picture.number) for picture in pictures]
