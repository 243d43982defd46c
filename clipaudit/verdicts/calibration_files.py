"""Files of calibrations: each is JSON, with the evidence behind it.

They lie in the user's cache folder, one for each encoder, inferrer, recipe, number of views,
similarity and set of references; a new one takes the place of the old. A file may be copied to
another machine and named there with `clipaudit score --calibration`.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any

from clipaudit.cache_dir import cache_dir
from clipaudit.errors import InferrerError
from clipaudit.files import make_folder, refuse_link, replace_file
from clipaudit.results.evidence import KnownSet
from clipaudit.statistics.calibration import Calibration, KnownScores

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

FORMAT = 1
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
        created: UTC date, ISO 8601.
        clipaudit_version: The package that made it.
    """

    calibration: Calibration
    encoder: str
    nonmembers: KnownSet
    members: KnownSet | None
    hashes: Mapping[str, int] = field(repr=False)
    created: str
    clipaudit_version: str

    @property
    def name(self) -> str:
        """Short, and the same for calibrations that take each other's place."""
        text = json.dumps(asdict(self.calibration.scored_by), sort_keys=True)
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
        document = {
            "format": FORMAT,
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "calibration": self.calibration.to_dict(),
            "nonmembers": asdict(self.nonmembers),
            "members": self.members and asdict(self.members),
            "hashes": {image_id: f"{code:016x}" for image_id, code in self.hashes.items()},
        }
        return json.dumps(document, allow_nan=False, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> CalibrationFile:
        """What `to_json` gave.

        Raises:
            InferrerError: It is something else, of a newer version, or broken.
        """
        try:
            document = json.loads(content)
        except ValueError as error:
            raise InferrerError(f"it is no JSON: {error}", _ADVICE) from error
        found = document.get("format") if isinstance(document, dict) else None
        if type(found) is int and found > FORMAT:
            raise InferrerError(
                f"it has format {found}, and this clipaudit reads {FORMAT}",
                "Update clipaudit, or calibrate again with this version.",
            )
        try:
            names = {"format", *(field.name for field in fields(cls))}
            if found != FORMAT or document.keys() != names:
                raise ValueError(f"it does not have the fields {', '.join(sorted(names))}")
            members = document["members"]
            texts = {name: _text(document[name]) for name in _TEXTS}
            calibration = cls(
                calibration=Calibration.from_dict(document["calibration"]),
                nonmembers=_known_set(document["nonmembers"]),
                members=None if members is None else _known_set(members),
                hashes={
                    _text(image_id): int(code, 16) for image_id, code in document["hashes"].items()
                },
                **texts,
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise InferrerError(f"it is no calibration: {error}", _ADVICE) from error
        return calibration


_TEXTS = ("encoder", "created", "clipaudit_version")
_ADVICE = "Name a file that `clipaudit calibrate` wrote, or calibrate again."


def known_set(name: str, image_ids: Iterable[str]) -> KnownSet:
    """Name, size and digest of a set of known pictures."""
    ids = sorted(image_ids)
    return KnownSet(name, len(ids), sha256("\n".join(ids).encode()).hexdigest())


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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InferrerError(
            f"cannot read the calibration {str(path)!r}: {error.strerror or error}", _ADVICE
        ) from error
    try:
        return CalibrationFile.from_json(content)
    except InferrerError as error:
        raise InferrerError(f"the calibration {str(path)!r}: {error}", error.hint) from error


def read_calibrations() -> tuple[CalibrationFile, ...]:
    """All calibrations in the folder, by encoder and inferrer; a broken file is warned of."""
    found = []
    for path in sorted(folder().glob("*.json")):
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


def _known_set(value: Any) -> KnownSet:
    if not isinstance(value, dict) or type(value.get("n")) is not int:
        raise ValueError("a set of known pictures is not described")
    return KnownSet(**{**value, "name": _text(value["name"]), "sha256": _text(value["sha256"])})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")  # noqa: TRY004 -- the document is wrong
    return value
