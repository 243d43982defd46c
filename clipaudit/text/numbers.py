"""Numbers as people read them."""

from __future__ import annotations


def percent(share: float) -> str:
    """A share of up to three digits, without zeros at the end.

    >>> percent(0.01), percent(0.12345)
    ('1 %', '12.3 %')
    """
    return f"{100 * share:.3g} %"


def count(n: int, noun: str, plural: str = "") -> str:
    """A number of things.

    >>> count(1, "file"), count(1200, "file"), count(2, "copy", "copies")
    ('1 file', '1,200 files', '2 copies')
    """
    return f"1 {noun}" if n == 1 else f"{n:,} {plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some.

    >>> duration(61), duration(3661)
    ('1:01', '1:01:01')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def size(n_bytes: float) -> str:
    """A size in bytes, in the unit that fits.

    >>> size(900), size(12_300_000)
    ('900 bytes', '12 MB')
    """
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"
