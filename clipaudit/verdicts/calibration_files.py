"""Files of calibrations: each is JSON, with the evidence behind it.

They lie in the user's cache folder, one for each encoder, inferrer, recipe, number of views,
similarity and set of references; a new one takes the place of the old. A file may be copied to
another machine and named there with `clipaudit score --calibration`.
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.blind.caption_statistics import CAPTION_STATISTICS, caption_statistics
from clipaudit.errors import InferrerError
from clipaudit.files import (
    FormatError,
    NoHomeError,
    cache_dir,
    make_folder,
    read_json,
    refuse_link,
    replace_file,
)
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.pictures.preparing import Appearance
from clipaudit.pictures.random_embedding import DIM
from clipaudit.results.evidence import KnownSet
from clipaudit.statistics.calibration import Calibration, KnownScores
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from clipaudit.statistics.metrics import FloatArray

logger = logging.getLogger(__name__)

FORMAT = 2
"""Version of the format of a file."""


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """A calibration, and what it was made from.

    Attributes:
        calibration: The scores.
        encoder: Spec of the encoder, for people; its fingerprint is in the calibration.
        nonmembers: The set behind the null sample.
        members: The set of known members, where there is one.
        hashes: Perceptual hash of each picture by its SHA-256, as far as they could be made.
        looks: What those non-members look like that a blind trial looks at, by SHA-256; see
            `pack_appearances`. Their kind is the kind of the calibration.
        created: UTC date, ISO 8601.
        clipaudit_version: The package that made it.
        caption_styles: How the captions of those non-members are written, by SHA-256, in numbers
            alone: see `pack_styles`. Empty where the inferrer reads none.
    """

    calibration: Calibration
    encoder: str
    nonmembers: KnownSet
    members: KnownSet | None
    hashes: Mapping[str, int] = field(repr=False)
    looks: Mapping[str, str] = field(repr=False)
    created: str
    clipaudit_version: str
    caption_styles: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not all(0 <= phash < 2**64 for phash in self.hashes.values()):
            raise ValueError("a perceptual hash has 64 bits")
        if not self.looks.keys() <= set(self.calibration.null.image_ids):
            raise ValueError("it says how pictures look that are not among its non-members")
        if not self.caption_styles.keys() <= set(self.calibration.null.image_ids):
            raise ValueError("it has captions of pictures that are not among its non-members")
        unpack_appearances(self.looks)
        unpack_styles(self.caption_styles)

    @property
    def name(self) -> str:
        """Short, and the same for calibrations that take each other's place."""
        parts = asdict(self.calibration.scored_by)
        for part in _ADDED:  # what has none of them keeps the name that it had before
            if not parts[part]:
                del parts[part]
        text = json.dumps(parts, sort_keys=True)
        return blake2b(text.encode(), digest_size=6).hexdigest()

    def without(self, image_ids: Collection[str]) -> Calibration | None:
        """The calibration without some pictures; None where no non-member is left."""
        null = _without(self.calibration.null, image_ids)
        members = self.calibration.members
        if null is None:
            return None
        return replace(
            self.calibration, null=null, members=members and _without(members, image_ids)
        )

    def to_json(self) -> bytes:
        """What a file holds; a picture a line would be no easier to read."""
        document = {"format": FORMAT, **asdict(self)}
        return json.dumps(document, allow_nan=False, indent=1).encode() + b"\n"


_ADDED = ("bank", "text_tower")
"""Parts of what scores depend on that are empty where no captions are read."""

_MOST = 1e30
"""No figure of how a picture looks is as large."""

_ADVICE = "Name a file that `clipaudit calibrate` wrote, or calibrate again."


def known_set(name: str, image_ids: Iterable[str]) -> KnownSet:
    """Name, size and digest of a set of known pictures."""
    ids = sorted(image_ids)
    return KnownSet(name, len(ids), sha256("\n".join(ids).encode()).hexdigest())


def pack_appearances(appearances: Mapping[str, Appearance]) -> dict[str, str]:
    """Appearances as text: their statistics and embedding, little-endian, in base64."""
    return {
        image_id: b64encode(
            appearance.statistics.astype("<f8").tobytes()
            + appearance.embedding.astype("<f4").tobytes()
        ).decode()
        for image_id, appearance in appearances.items()
    }


def unpack_appearances(looks: Mapping[str, str]) -> dict[str, Appearance]:
    """The appearances that were packed.

    Raises:
        ValueError: One is not of the right length, or holds what is no number.
    """
    n_bytes = 8 * len(STATISTICS)
    found = {}
    for image_id, text in looks.items():
        data = b64decode(text, validate=True)
        if len(data) != n_bytes + 4 * DIM:
            raise ValueError("the look of a picture has another length")
        statistics = np.frombuffer(data[:n_bytes], "<f8").astype(np.float64)
        embedding = np.frombuffer(data[n_bytes:], "<f4").astype(np.float32)
        if not all(np.all(np.abs(part) < _MOST) for part in (statistics, embedding)):
            raise ValueError("the look of a picture holds what is no number to reckon with")
        found[image_id] = Appearance(statistics, embedding)
    return found


def pack_styles(captions: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """How captions are written, as text: `caption_statistics`, little-endian, in base64.

    Not a word of them is kept.

    Args:
        captions: The captions of each picture by its SHA-256.
    """
    return {
        image_id: b64encode(caption_statistics(texts).astype("<f8").tobytes()).decode()
        for image_id, texts in captions.items()
    }


def unpack_styles(styles: Mapping[str, str]) -> dict[str, FloatArray]:
    """The statistics that were packed, each of shape (len(CAPTION_STATISTICS),).

    Raises:
        ValueError: One is not of the right length, or holds what is no number.
    """
    found = {}
    for image_id, text in styles.items():
        data = b64decode(text, validate=True)
        if len(data) != 8 * len(CAPTION_STATISTICS):
            raise ValueError("the style of a caption has another length")
        style = np.frombuffer(data, "<f8").astype(np.float64)
        if not np.all(np.abs(style) < _MOST):
            raise ValueError("the style of a caption holds what is no number to reckon with")
        found[image_id] = style
    return found


def folder() -> Path:
    """Where the user's calibrations are, whether or not it exists yet."""
    return cache_dir() / "calibrations"


def save(calibration: CalibrationFile) -> Path:
    """Write a calibration, in the place of an earlier one for the same scores; gives its file.

    Raises:
        InputError: The folder is a link.
        FileError: It cannot be written.
    """
    path = folder() / f"{calibration.name}.json"
    refuse_link(path.parent)
    make_folder(path.parent)
    replace_file(path, calibration.to_json())
    return path


def load(path: Path) -> CalibrationFile:
    """A calibration from its file.

    Raises:
        InferrerError: There is none, or it cannot be read.
    """
    name = f"the calibration {str(path)!r}"
    try:
        return read_json(path, CalibrationFile, version=FORMAT, unknown="forbid")
    except OSError as error:
        raise InferrerError(f"cannot read {name}: {error.strerror or error}", _ADVICE) from error
    except FormatError as error:
        advice = "Update clipaudit, or calibrate again with this version."
        raise InferrerError(f"{name}: {error}", advice) from error
    except ValueError as error:
        why = f"it is no calibration: {shown(str(error))}"
        raise InferrerError(f"{name}: {why}", _ADVICE) from error


def read_calibrations() -> tuple[CalibrationFile, ...]:
    """All calibrations in the folder, by encoder and inferrer; a broken file is warned of."""
    found = []
    try:
        paths = sorted(folder().glob("*.json"))
    except NoHomeError as error:
        logger.warning("going on without calibrations: %s. %s", error, error.hint)
        return ()
    for path in paths:
        try:
            found.append(load(path))
        except InferrerError as error:
            logger.warning("passed over: %s. %s", error, error.hint)

    def place(file: CalibrationFile) -> tuple[str, ...]:
        return file.encoder, file.calibration.scored_by.inferrer, file.name

    return tuple(sorted(found, key=place))


def find(name: str) -> Path:
    """The file of a calibration by its name, or by the start of it.

    Raises:
        InferrerError: None is called so, or several are.
    """
    # Letters and digits are no way out of the folder, nor a pattern.
    found = sorted(folder().glob(f"{name}*.json")) if name.isalnum() else []
    if len(found) != 1:
        raise InferrerError(
            f"{'no calibration is' if not found else 'several calibrations are'} called {name!r}",
            "`clipaudit calibrations` lists them.",
        )
    return found[0]


def remove(name: str) -> Path:
    """Delete a calibration, broken or not; gives its file.

    Raises:
        InferrerError: As `find`, or the system does not let us.
    """
    path = find(name)
    try:
        path.unlink()
    except OSError as error:
        raise InferrerError(
            f"cannot delete {str(path)!r}: {error.strerror or error}",
            "Look who may write there.",
        ) from error
    return path


def _without(known: KnownScores, image_ids: Collection[str]) -> KnownScores | None:
    left = [
        (image_id, score)
        for image_id, score in zip(known.image_ids, known.scores, strict=True)
        if image_id not in image_ids
    ]
    if not left:
        return None
    ids, scores = zip(*left, strict=True)
    return KnownScores(ids, scores)
