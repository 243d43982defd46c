"""Which pictures each encoder of a lab sees: drawn once, written down, kept as pixels.

LAB/splits/<data>-<seed>-<key>/split.json
LAB/splits/<data>-<seed>-<key>/pixels.npy
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from clipaudit.captions.data_set import read_data_captions
from clipaudit.errors import InputError
from clipaudit.files import as_type, load_json, make_folder, of_format, replace_file, replacing
from clipaudit.shadow.splits import draw_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clipaudit.lab.scale import SplitSizes
    from clipaudit.shadow.datasets import ShadowData

Role = Literal["target", "shadow", "reference", "tuned-target", "tuned-shadow"]
"""Whose pictures an encoder sees. References see those of the downstream classifier, which neither
target nor shadow encoder sees. An encoder that was fine-tuned from the target sees those of the
shadow side, which its base did not, and the other way round."""

_SIDES: dict[Role, Literal["target", "shadow"]] = {
    "target": "target",
    "shadow": "shadow",
    "tuned-target": "shadow",
    "tuned-shadow": "target",
}

MOST_IN_BANK = 500
"""Pictures and captions of others against which the loss of a pair is taken."""

_FORMAT = 1
_SPLIT = "split.json"
_PIXELS = "pixels.npy"
_GROUPS = (
    *("target-members", "target-nonmembers", "shadow-members", "shadow-nonmembers"),
    *("probe-train", "probe-test"),
)


@dataclass(frozen=True, slots=True)
class LabSplit:
    """The pictures of one data set for one seed.

    Attributes:
        folder: Folder that it is written down in.
        data: Name of the data set.
        groups: SHA-256 of pictures in hex, by group: members and non-members of `target` and
            `shadow`, and those that train and test the downstream classifier. No picture and no
            near-duplicate is in two of them.
        labels: Classes of the pictures of `probe-train` and `probe-test`; None if there are none,
            or all pictures to train with are of a single class.
        n_near_duplicates: Near-duplicates that were passed over.
        captions: Captions of the pictures; None where none are read.
    """

    folder: Path
    data: str
    groups: dict[str, tuple[str, ...]]
    labels: dict[str, tuple[str, ...]] | None
    n_near_duplicates: int
    captions: dict[str, tuple[str, ...]] | None = None

    def pictures(self, role: Role, n_members: int, number: int = 0) -> tuple[tuple[str, ...], int]:
        """Ids of the members of an encoder, then of as many non-members; and where they begin.

        Args:
            role: Whose pictures.
            n_members: How many members.
            number: Number of a reference; no two have a picture in common.
        """
        if role == "reference":
            part = slice(number * n_members, (number + 1) * n_members)
            members, others = self.groups["probe-train"][part], self.groups["probe-test"][part]
        else:
            side = _SIDES[role]
            members = self.groups[f"{side}-members"][:n_members]
            others = self.groups[f"{side}-nonmembers"][:n_members]
        return members + others, len(members)

    def bank(self, role: Role) -> tuple[str, ...]:
        """Pictures of the other side that no encoder is trained on which sees those of a role."""
        other = "shadow" if _SIDES[role] == "target" else "target"
        return self.groups[f"{other}-nonmembers"][:MOST_IN_BANK]

    def captions_of(self, ids: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Captions by id.

        Raises:
            InputError: The split was drawn without captions.
        """
        if self.captions is None:
            raise InputError(
                f"the split in {self.folder} has no captions",
                "Name where those of its data set come from, under [captions] in the matrix.",
            )
        return tuple(self.captions[picture] for picture in ids)

    def pixels(self, ids: tuple[str, ...]) -> npt.NDArray[np.uint8]:
        """Pictures by id, shape (n, 3, size_px, size_px), RGB.

        Raises:
            InputError: The file is gone or broken.
        """
        path = self.folder / _PIXELS
        try:
            everything = np.load(path, mmap_mode="r")
            row_of = {picture: row for row, picture in enumerate(self._ids())}
            return np.ascontiguousarray(everything[[row_of[picture] for picture in ids]])
        except (OSError, ValueError, EOFError, IndexError) as error:
            raise _broken(self.folder, error) from error

    def _ids(self) -> list[str]:
        return [picture for group in _GROUPS for picture in self.groups[group]]


def split_folder(
    lab: Path, data: str, sizes: SplitSizes, size_px: int, seed: int, captions: str | None = None
) -> Path:
    """Folder of the split of a data set for a seed, whether it is there or not."""
    more = [captions] if captions else []
    identity = json.dumps([_FORMAT, data, sizes.counts, size_px, seed, *more])
    return lab / "splits" / f"{data}-{seed}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def make_split(
    folder: Path,
    name: str,
    open_set: Callable[[], ShadowData],
    sizes: SplitSizes,
    size_px: int,
    seed: int,
    captions: str | None = None,
) -> LabSplit:
    """The split in a folder, drawn and written down if it is not there yet.

    Args:
        folder: As `split_folder` says.
        name: Name of the data set.
        open_set: Called only where the split is not there yet.
        sizes: Sizes of the groups.
        size_px: Side to which the pictures are resized.
        seed: Seed of the draw.
        captions: Where captions come from, as `--captions` takes it; None reads none.

    Raises:
        ClipAuditError: The data set is missing or too small, or the disk is full.
    """
    if (folder / _SPLIT).exists():
        return read_split(folder)
    data = open_set()
    texts = read_data_captions(data, captions) if captions else None
    without = frozenset(data.ids) - texts.keys() if texts is not None else frozenset()
    split = draw_groups(data, sizes.counts, seed, without)
    probes = {group: split.groups[group] for group in ("probe-train", "probe-test")}
    labels = {group: data.labels(ids) for group, ids in probes.items()}
    make_folder(folder)
    everything = [picture for group in _GROUPS for picture in split.groups[group]]
    pixels = data.pixels(everything, size_px)
    encoded = io.BytesIO()
    np.save(encoded, pixels)  # straight into a file, a full disk is no error with a number
    with replacing(folder / _PIXELS) as file:
        file.write(encoded.getbuffer())
    document: dict[str, object] = {
        "format": _FORMAT,
        "data": name,
        "seed": seed,
        "size_px": size_px,
        "n_unreadable": split.n_unreadable,
        "n_near_duplicates": split.n_near_duplicates,
        "groups": split.groups,
        "labels": labels if len(set(labels["probe-train"] or ())) > 1 else None,
    }
    if texts is not None:
        document["captions"] = {picture: texts[picture] for picture in everything}
    replace_file(folder / _SPLIT, (json.dumps(document, indent=1) + "\n").encode())
    return read_split(folder)


def read_split(folder: Path) -> LabSplit:
    """The split that was written down in a folder.

    Raises:
        InputError: There is none that can be read, or it overlaps.
    """
    try:
        saved = of_format(load_json((folder / _SPLIT).read_text(encoding="utf-8")), _FORMAT)
        made = as_type({**saved, "folder": str(folder)}, LabSplit)
        groups = {group: made.groups[group] for group in _GROUPS}
        made = replace(made, groups=groups)
        ids = [picture for group in groups.values() for picture in group]
        n_twice = len(ids) - len(set(ids))
    except (OSError, ValueError, KeyError) as error:
        raise _broken(folder, error) from error
    if n_twice:
        raise InputError(
            f"the split in {folder} overlaps: {n_twice} pictures are in it twice",
            "It was changed by hand. Delete that folder; what was trained on it is then trained "
            "anew.",
        )
    return made


def _broken(folder: Path, error: Exception) -> InputError:
    return InputError(
        f"the split in {folder} cannot be read: {error}",
        "Delete that folder to draw it again; the same data set gives the same split, and what "
        "was trained on it stays.",
    )
