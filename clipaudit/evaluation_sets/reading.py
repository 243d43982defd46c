"""Pictures whose membership is known → their two sides, and what a manifest tells of them.

They are in one folder, as `clipaudit build-eval` makes it: `members/` and `nonmembers/` are all
that it needs. Or the files and folders of each side are named, such as the shards of a benchmark.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipaudit.errors import InputError, UsageError
from clipaudit.evaluation_sets.manifest import JSON_LINES
from clipaudit.files import load_json
from clipaudit.pictures.finding import FoundFile, draw_files, find_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clipaudit.pictures.base import AnyPath
    from clipaudit.results.evaluation import MemberLabel

MEMBERS, NONMEMBERS = "members", "nonmembers"

_LABELS = {"member": MEMBERS, "potential-member": MEMBERS, "non-member": NONMEMBERS}
logger = logging.getLogger(__name__)

_ADVICE = (
    f"Name a folder with the folders {MEMBERS}/ and {NONMEMBERS}/ in it, each full of pictures, as "
    "`clipaudit build-eval` makes it, or the two sides by --members and --nonmembers."
)


@dataclass(frozen=True, slots=True)
class Sides:
    """What to look for pictures of known membership in.

    Attributes:
        members: Files, folders and archives of members.
        nonmembers: The same of non-members.
    """

    members: tuple[str, ...]
    nonmembers: tuple[str, ...]

    @classmethod
    def of_folder(cls, folder: str) -> Sides:
        """The two folders in the folder of a set."""
        members, nonmembers = (os.path.join(folder, side) for side in (MEMBERS, NONMEMBERS))  # noqa: PTH118
        return cls((members,), (nonmembers,))

    @property
    def names(self) -> tuple[str, str]:
        """What each side is called in a result."""
        members, nonmembers = (
            ", ".join(side[:3]) + (f" and {len(side) - 3:,} more" if len(side) > 3 else "")
            for side in (self.members, self.nonmembers)
        )
        return members, nonmembers


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Pictures whose membership is known, before any was read.

    Attributes:
        name: The folder as it was named, or the two sides.
        sides: Where they were found.
        members: Paths of the members' files, by name.
        nonmembers: The same of the non-members.
        label: What the members are, by the manifest; without one they are members.
        families: By path, what pictures have in common that were made from one photograph, by the
            manifest; pictures that stand alone have no entry.
        n_missing: Pictures that the manifest names and that are not there.
    """

    name: str
    sides: Sides
    members: tuple[str, ...]
    nonmembers: tuple[str, ...]
    label: MemberLabel = "member"
    families: Mapping[str, int] = field(default_factory=dict)
    n_missing: int = 0


def named_set(
    folder: AnyPath | None, members: Sequence[AnyPath], nonmembers: Sequence[AnyPath]
) -> AnyPath | Sides:
    """What `read_set` reads, by what a user named.

    Raises:
        UsageError: Both the folder and a side, or one side alone.
    """
    if folder is not None and not members and not nonmembers:
        return folder
    if folder is None and members and nonmembers:
        return Sides(tuple(map(os.fsdecode, members)), tuple(map(os.fsdecode, nonmembers)))
    raise UsageError(
        "a set is named by its folder, or by its members and its non-members together",
        "clipaudit evaluate SET; or clipaudit evaluate --members PATH --nonmembers PATH, each as "
        "often as need be.",
    )


def read_set(
    named: AnyPath | Sides,
    *,
    limit: int | None,
    include_hidden: bool,
    follow_links: bool = False,
    seed: int = 0,
) -> EvaluationSet:
    """The files of a set, and what its manifest tells if there is one.

    Args:
        named: Folder of the set, or its sides.
        limit: At most so many files of each side, drawn at random.
        include_hidden: Look at hidden files too.
        follow_links: Go after links that lead out of the set; they are passed over otherwise.
        seed: Seed of the draw.

    Raises:
        InputError: One of the two folders is missing, or the manifest cannot be read or says
            another thing than the folders.
    """
    if isinstance(named, Sides):
        sides, folder, name = named, None, " against ".join(named.names)
    else:
        folder = name = os.fsdecode(named)
        sides = Sides.of_folder(folder)
        missing = [f"{Path(side).name}/" for side in sides.names if not Path(side).is_dir()]
        if missing:
            raise InputError(f"{name!r} has no folder {' and no folder '.join(missing)}", _ADVICE)
    within = [*sides.members, *sides.nonmembers] if folder is None else [folder]
    members, nonmembers = (
        tuple(
            file.path
            for file in draw_files(_files(side, within, include_hidden, follow_links), limit, seed)
        )
        for side in (sides.members, sides.nonmembers)
    )
    found = EvaluationSet(name, sides, members, nonmembers)
    return found if folder is None else _with_manifest(found, folder)


def _with_manifest(found: EvaluationSet, folder: str) -> EvaluationSet:
    """The set, and what the manifest in its folder tells."""
    rows = dict(_manifest_rows(folder))
    families = _families(rows)
    paths = found.members + found.nonmembers
    within = {path: os.path.relpath(path, folder).replace(os.sep, "/") for path in paths}
    return replace(
        found,
        label="potential-member"
        if any(row["label"] == "potential-member" for row in rows.values())
        else "member",
        families={path: families[name] for path, name in within.items() if name in families},
        n_missing=sum(not Path(folder, name).is_file() for name in rows),
    )


def _files(
    side: Sequence[str], within: Sequence[str], include_hidden: bool, follow_links: bool
) -> Iterator[FoundFile]:
    """The files of a side, without links out of the set: what is named by itself is followed."""
    for file in find_images(
        side, include_hidden=include_hidden, follow_links=follow_links, within=within
    ):
        if file.problem is not None and file.problem.reason == "outside":
            logger.warning("%s is passed over: %s", file.path, file.problem.explanation)
        else:
            yield file


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
