"""Documents as a stranger might hand them over: one of ours, with one value or a few made odd."""

from __future__ import annotations

import copy
import json
import random

ODD_TEXTS = (
    "",
    "NaN",
    "Infinity",
    "-Infinity",
    "inf",
    "1e400",
    "0",
    "\ud800",
    "a\udcffb",
    "\x00",
    "\x1b[2J",
    "[red]",
    "{{ 7 * 7 }}",
    "</script>",
    "..",
    "/dev/zero",
    "a\nb",
    "\u202e",
    "x" * 5_000,
    "%s %d",
    "2026-13-45",
)
ODD_NUMBERS = (
    *(0, -1, 1, 2, 7, 100, 10**9, 2**31, 2**63, 2**64, -(2**70), 10**300),
    *(0.0, -0.0, 0.5, 1.5, -1.5, 1e-320, 5e-324, 1e-300, 1e300, 1.7976931348623157e308, -1e308),
)
ODD_VALUES: tuple[object, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": None},
    *ODD_TEXTS,
    *ODD_NUMBERS,
)


def mutate(document, rng: random.Random):
    """JSON text of the document with one to three odd places."""
    found = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(found))
        if not places:
            break
        holder, key = _choose(places, rng)
        _change(holder, key, rng)
    text = json.dumps(found)
    deep = rng.choice((400, 990, 2_000, 100_000))
    return text.replace(f'"{_DEEP}"', "[" * deep + "]" * deep)


_DEEP = "as deep as it goes"


def _places(value, depth=0):
    """Every place in a document, as its holder, its key and how deep it lies."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield depth, value, key
        if isinstance(item, dict | list):
            yield from _places(item, depth + 1)


def _choose(places, rng):
    """A place, each depth as likely: else rows and scores, the most of all, were all there is."""
    depth = rng.choice(sorted({place[0] for place in places}))
    _, holder, key = rng.choice([place for place in places if place[0] == depth])
    return holder, key


def _change(holder, key, rng):
    value = holder[key]
    kind = rng.choice(("delete", "odd", "odd", "odd", "nest", "deep", "swap", "copy", "digits"))
    if kind == "delete":
        del holder[key]
    elif kind == "odd":
        holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    elif kind == "nest":
        holder[key] = rng.choice(([value], {"value": value}, [[value]], [value, value]))
    elif kind == "deep":
        holder[key] = _DEEP
    elif kind == "swap":
        holder[key] = str(value) if not isinstance(value, str) else list(value[:20])
    elif kind == "copy" and isinstance(value, list) and value:
        holder[key] = rng.choice((value * 2, value[:1], value[1:], value[::-1]))
    elif isinstance(value, int | float):
        holder[key] = rng.choice(ODD_NUMBERS)
    elif isinstance(value, str):
        holder[key] = rng.choice(ODD_TEXTS)
    else:
        holder[key] = None
