"""Which pictures of a data set a run of `clipaudit train` uses, and for what."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipaudit.errors import InputError, UsageError
from clipaudit.files import read_json, replace_file
from clipaudit.seeding import stream
from clipaudit.shadow.splits import Split, split
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipaudit.pipelines.train_config import TrainConfig
    from clipaudit.shadow.datasets import Captions, ShadowData

SPLIT = "split.json"
_HELD_OUT = 0.2


def read_split(run: Path) -> Split:
    """Split of an earlier run.

    Raises:
        InputError: The folder holds no run.
    """
    try:
        return read_json(run / SPLIT, Split)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{run} holds no run of `clipaudit train`: {error}",
            "Pass the folder that was its --output.",
        ) from error


def make_split(data: ShadowData, config: TrainConfig, captions: Captions | None = None) -> Split:
    """The split that was written down, or a new one.

    Args:
        data: The data set.
        config: What is asked for.
        captions: Captions by picture, where the encoder is trained with some; pictures without one
            are in no split.

    Raises:
        ClipAuditError: The folder holds another split, or the data set is too small or has changed.
    """
    options = {
        "data": data.name,
        "n_members": config.n_members,
        "n_nonmembers": config.n_nonmembers,
        "seed": config.seed,
        "size_px": config.size_px,
        **({"n_references": config.n_references} if config.n_references else {}),
        **({"captions": config.captions, "n_bank": config.n_bank} if config.has_captions else {}),
    }
    used = set() if captions is None else set(data.ids) - captions.keys()
    for run in config.without:
        earlier = read_split(run)
        used |= set(earlier.pictures)
    path = config.output / SPLIT
    if path.exists():
        saved = read_split(config.output)
        recorded = read_json(path, dict[str, Any]).get("options", {})
        if recorded != options:
            both = dict.fromkeys([*options, *recorded])
            differs = ", ".join(k for k in both if recorded.get(k) != options.get(k))
            raise UsageError(
                f"{config.output} holds a run with other options ({differs})",
                "Pass the options of that run to continue it, or another --output.",
            )
        pictures = set(saved.pictures)
        if pictures & used:
            raise UsageError(
                f"the run in {config.output} has {count(len(pictures & used), 'picture')} that "
                "--without rules out",
                "Start a new run with another --output.",
            )
        missing = pictures - set(data.ids)
        if missing:
            raise InputError(
                f"{count(len(missing), 'picture')} of the run in {config.output} "
                f"{'is' if len(missing) == 1 else 'are'} not in {data.name}",
                "The data set has changed; start a new run with another --output.",
            )
        return saved
    counts = config.n_members, config.n_nonmembers
    n_bank = config.n_bank if config.has_captions else 0
    fresh = split(data, *counts, config.seed, frozenset(used), config.n_references, n_bank)
    document = asdict(fresh)
    if not n_bank:
        del document["bank"]
    write_json(path, {"options": options, **document})
    return fresh


def held_out(parts: Split, seed: int) -> npt.NDArray[np.bool_]:
    """Draw the pictures that no inferrer is fitted to: a fifth of the members and the others."""
    held_out = []
    for name, group in (("members", parts.members), ("nonmembers", parts.nonmembers)):
        order = stream(seed, name, "held out").permutation(len(group))
        held_out.append(order < max(2, round(_HELD_OUT * len(group))))
    return np.concatenate(held_out)


def write_json(path: Path, document: object) -> None:
    """Write a document as indented JSON.

    Raises:
        FileError: It cannot be written.
    """
    replace_file(path, (json.dumps(document, indent=1) + "\n").encode())
