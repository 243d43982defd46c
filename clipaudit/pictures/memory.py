"""How much memory there is for decoding: that of the machine, or of the container around us."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def available_bytes(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """Memory that this process and its children may still take; None where no one says.

    Args:
        proc: Where the kernel tells of processes.
        cgroups: Where control groups are, of version 2 or 1.
    """
    found = [*_of_machine(proc), *_of_groups(proc, cgroups)]
    return max(0, min(found)) if found else None


def _of_machine(proc: Path) -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _of_groups(proc: Path, cgroups: Path) -> Iterator[int]:
    """What is left of the limit of each group that this process is in, and of those above it."""
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                names, top = ("memory.max", "memory.current"), cgroups
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
                top = cgroups / "memory"
            else:
                continue
            group = top / path.strip("/")
            # Inside a container the path may be that of the machine outside: its top is ours.
            for folder in (group, *group.parents):
                yield from _left(folder, *names)
                if folder == top:
                    break


def _left(folder: Path, limit_name: str, usage_name: str) -> Iterator[int]:
    with suppress(OSError, ValueError):  # `max` is no number, and no limit
        limit = int((folder / limit_name).read_text())
        used = int((folder / usage_name).read_text())
        with suppress(OSError, ValueError, IndexError):
            for line in (folder / "memory.stat").read_text().splitlines():
                if line.startswith("inactive_file "):  # given back on demand
                    used -= int(line.split()[1])
        yield limit - used
