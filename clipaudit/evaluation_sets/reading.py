"""A folder of pictures whose membership is known → its two sides, and what its manifest tells.

`clipaudit build-eval` makes such a folder, and so can anybody: `members/` and `nonmembers/` are
all that it needs.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.errors import InputError
from clipaudit.evaluation_sets.manifest import JSON_LINES
from clipaudit.files import load_json
from clipaudit.pictures.finding import find_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipaudit.pictures.base import AnyPath
    from clipaudit.results.evaluation import MemberLabel

MEMBERS, NONMEMBERS = "members", "nonmembers"

_LABELS = {"member": MEMBERS, "potential-member": MEMBERS, "non-member": NONMEMBERS}
logger = logging.getLogger(__name__)

_ADVICE = (
    f"Name a folder with the folders {MEMBERS}/ and {NONMEMBERS}/ in it, each full of pictures, as "
    "`clipaudit build-eval` makes it."
)


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Pictures whose membership is known, before any was read.

    Attributes:
        folder: As it was named.
        members: Paths of the files in `members/`, by name.
        nonmembers: The same of `nonmembers/`.
        label: What the members are, by the manifest; without one they are members.
        families: By path, what pictures have in common that were made from one photograph, by the
            manifest; pictures that stand alone have no entry.
        n_missing: Pictures that the manifest names and that are not there.
    """

    folder: str
    members: tuple[str, ...]
    nonmembers: tuple[str, ...]
    label: MemberLabel
    families: Mapping[str, int]
    n_missing: int

    @property
    def sides(self) -> tuple[str, str]:
        """The folders of members and non-members."""
        return os.path.join(self.folder, MEMBERS), os.path.join(self.folder, NONMEMBERS)  # noqa: PTH118


def read_set(
    folder: AnyPath, *, limit: int | None, include_hidden: bool, follow_links: bool = False
) -> EvaluationSet:
    """The files of a set, and what its manifest tells if there is one.

    Args:
        folder: Folder of the set.
        limit: At most so many files of each side.
        include_hidden: Look at hidden files too.
        follow_links: Go after links that lead out of the set; they are passed over otherwise.

    Raises:
        InputError: One of the two folders is missing, or the manifest cannot be read or says
            another thing than the folders.
    """
    named = os.fsdecode(folder)
    found = EvaluationSet(named, (), (), "member", {}, 0)
    missing = [f"{Path(side).name}/" for side in found.sides if not Path(side).is_dir()]
    if missing:
        raise InputError(f"{named!r} has no folder {' and no folder '.join(missing)}", _ADVICE)
    members, others = (
        tuple(islice(_files(named, side, include_hidden, follow_links), limit))
        for side in found.sides
    )
    rows = dict(_manifest_rows(named))
    families = _families(rows)
    within = {path: os.path.relpath(path, named).replace(os.sep, "/") for path in members + others}
    return EvaluationSet(
        named,
        members,
        others,
        label="potential-member"
        if any(row["label"] == "potential-member" for row in rows.values())
        else "member",
        families={path: families[name] for path, name in within.items() if name in families},
        n_missing=sum(not Path(named, name).is_file() for name in rows),
    )


def _files(folder: str, side: str, include_hidden: bool, follow_links: bool) -> Iterator[str]:
    """The paths of a side, without links out of the set: what is named by itself is followed."""
    for file in find_images(
        [side], include_hidden=include_hidden, follow_links=follow_links, within=[folder]
    ):
        if file.problem is not None and file.problem.reason == "outside":
            logger.warning("%s is passed over: %s", file.path, file.problem.explanation)
        else:
            yield file.path


def _manifest_rows(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of the manifest by the path within the set, with `/` between."""
    path = Path(folder, JSON_LINES)
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            row = load_json(line)
            within, side = row["path"], _LABELS[row["label"]]
            if not within.startswith(f"{side}/"):
                raise InputError(
                    f"line {number} of {str(path)!r} calls {within!r} a {row['label']}",
                    "Folders and manifest must agree: move the picture, or build the set anew.",
                )
            yield within, row
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{str(path)!r} is not a manifest that clipaudit wrote",
            "Build the set anew, or take the manifest away: the folders say which side is which.",
        ) from error


def _families(rows: Mapping[str, dict[str, Any]]) -> dict[str, int]:
    """Numbers for pictures that share a photograph, directly or by way of others."""
    family = {within: within for within in rows}

    def head(within: str) -> str:
        while family[within] != within:
            within = family[within]
        return within

    user: dict[str, str] = {}
    for within, row in rows.items():
        for origin in row.get("parents") or [row]:
            if photograph := origin.get("original_sha256"):
                family[head(within)] = head(user.setdefault(photograph, within))
    sizes = Counter(map(head, rows))
    numbers = {first: number for number, first in enumerate(sizes)}
    return {within: numbers[head(within)] for within in rows if sizes[head(within)] > 1}
