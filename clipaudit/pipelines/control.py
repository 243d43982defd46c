"""Suspects and a pile of later or unpublished pictures → a control that matches the suspects.

No encoder has a part in it: pictures are picked by what the blind baseline reads, before any score
is seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.blind.matching import Matching, balances, match_pictures
from clipaudit.blind.trial import blind_check
from clipaudit.errors import InputError, UsageError
from clipaudit.features.known_pictures import KnownPictures
from clipaudit.features.optional_store import open_store
from clipaudit.files import FormatError, read_json, refuse_link, replace_file, replacing_folder
from clipaudit.pictures.base import BadImage, Frame, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.finding import find_images
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.pictures.preparing import Wanted
from clipaudit.pictures.reading import content_id, hash_file, read_file
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import Progress
from clipaudit.results.control import (
    CARD,
    CONTROL,
    FORMAT_VERSION,
    SUSPECTS,
    Control,
    Equalised,
    LeftOut,
    PickedPicture,
)
from clipaudit.text.escaping import as_json, shown
from clipaudit.text.numbers import count
from clipaudit.verdicts.shared_pictures import split

if TYPE_CHECKING:
    from clipaudit.features.optional_store import OptionalStore
    from clipaudit.pictures.base import AnyPath
    from clipaudit.pictures.preparing import Appearance

FEWEST = 2
"""Suspects, and pictures to pick from, without which there is nothing to match."""

_USUAL = ScoreConfig()
_BATCH = 256
_MOST_NAME_BYTES = 120
_LARGEST_BOX_PX = 512
"""Encoders look at no more."""
_COLUMNS = [known.name for known in STATISTICS]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig:
    """How a control is picked.

    Attributes:
        n: Pictures to pick; None picks one for each suspect that has one near.
        equalise: Whether to bring suspects and control to one format and size.
        seed: Seed of the classifiers' folds, and of who comes first where not all get a picture.
        include_hidden: Hidden files and folders too.
        follow_links: Whether links may lead out of the folders.
        limits: How much one file may cost.
        workers: Processes that decode; None takes one a core.
        use_store: Whether to keep what was seen of pictures, and take what is known.
        force: Whether the folder may take the place of an earlier control.
    """

    n: int | None = None
    equalise: bool = False
    seed: int = _USUAL.seed
    include_hidden: bool = _USUAL.include_hidden
    follow_links: bool = _USUAL.follow_links
    limits: Limits = _USUAL.limits
    workers: int | None = None
    use_store: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise UsageError(f"--n must be at least 1, got {self.n}", "Pass a number such as 100.")

    @property
    def n_workers(self) -> int:
        """Processes that decode."""
        return replace(_USUAL, workers=self.workers).n_workers


@dataclass(frozen=True, slots=True)
class _Sides:
    """Suspects and pile, ready to be matched.

    Attributes:
        suspects: Paths of different pictures by SHA-256.
        pile: The same of those that can be picked.
        appearances: What each looks like.
        left_out: What is in neither.
    """

    suspects: Mapping[str, str]
    pile: Mapping[str, str]
    appearances: Mapping[str, Appearance]
    left_out: LeftOut


def pick_control(
    suspects: Sequence[AnyPath],
    pile: Sequence[AnyPath],
    folder: Path,
    config: ControlConfig = ControlConfig(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Control:
    """Pick a control, and write it into a folder; see `clipaudit.blind.matching`.

    The folder holds `control/`, copies of the pictures byte for byte, and `control.json`, which
    says how they were picked and what could not be matched; where all are brought to one format it
    holds `suspects/` too. It is there whole, or not at all.

    Args:
        suspects: Files and folders.
        pile: Files and folders of pictures that cannot have been in the training set.
        folder: Where to write.
        config: How to pick.
        on_progress: Called as pictures are read, in the calling thread.

    Raises:
        InputError: Too few pictures; the pile holds the suspects; the folder is there, or within
            the pictures; a file changed meanwhile.
        FileError: The folder cannot be written.
    """
    _require_place(folder, (*suspects, *pile), config)
    with open_store(is_wanted=config.use_store) as store:
        sides = _read_sides(suspects, pile, config, store, on_progress)
    before = blind_check(sides.suspects, sides.pile, sides.appearances, config.seed)
    box = None
    if config.equalise:
        sides, box = _equalise_sides(sides, config, on_progress)
    ours, theirs = [*sides.suspects], [*sides.pile]
    matching = match_pictures(ours, theirs, sides.appearances, config.n, config.seed)
    if not matching.pairs:
        raise InputError(
            f"no picture of the pile is near any of the {count(len(ours), 'suspect')}"
            + ("" if before.outcome != "different" else f" ({before.text})"),
            "Add pictures of the kind of the suspects to the pile, try --equalise, or pass --n to "
            "take the nearest all the same.",
        )
    names = _names(matching, sides)
    with replacing_folder(folder) as made:
        if box is None:
            _copy({names[key]: (key, sides.pile[key]) for key in names}, made / CONTROL, config)
        else:
            places = {made / CONTROL / names[key]: sides.pile[key] for key in names}
            places |= {
                made / SUSPECTS / _name(number, path, ".jpg"): path
                for number, path in enumerate(sides.suspects.values(), 1)
            }
            _write_equalised(places, box, config)
        control = Control(
            folder=folder,
            n_suspects=len(ours),
            n_pile=len(theirs),
            left_out=sides.left_out,
            pictures=tuple(
                PickedPicture(names[picture], picture, suspect)
                for suspect, picture in matching.pairs
            ),
            unmatched=matching.unmatched,
            n_of_other_kind=matching.n_of_other_kind,
            balances=balances(ours, theirs, matching.picked, sides.appearances),
            before=before,
            after=blind_check(ours, matching.picked, sides.appearances, config.seed),
            seed=config.seed,
            equalised=box,
        )
        replace_file(made / CARD, (as_json(control.card(), indent=2) + "\n").encode())
    return control


def _require_place(folder: Path, named: Sequence[AnyPath], config: ControlConfig) -> None:
    """Say now, and not after the work, that the folder cannot be written.

    Raises:
        InputError: Something else is there, or it lies among the pictures.
    """
    refuse_link(folder)
    real = Path(os.path.realpath(folder))
    for path in named:
        if real.is_relative_to(os.path.realpath(os.fsdecode(path))):
            raise InputError(
                f"{str(folder)!r} lies within {os.fsdecode(path)!r}, whose pictures it is made of",
                "Name a folder elsewhere with -o.",
            )
    if not folder.exists():
        return
    if not _is_control(folder):
        raise InputError(
            f"{str(folder)!r} is there already, and is no control that clipaudit made",
            "Name a folder that does not exist with -o.",
        )
    if not config.force:
        raise InputError(
            f"{str(folder)!r} holds a control already",
            "Name another folder with -o, or pass --force to put the new control in its place.",
        )


def _is_control(folder: Path) -> bool:
    try:
        read_json(folder / CARD, dict, version=FORMAT_VERSION)
    except FormatError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _read_sides(
    suspects: Sequence[AnyPath],
    pile: Sequence[AnyPath],
    config: ControlConfig,
    store: OptionalStore,
    on_progress: Callable[[Progress], None],
) -> _Sides:
    """Different suspects, the pictures that can be picked, and what all look like.

    Raises:
        InputError: There are too few on a side, or the pile holds the suspects.
    """
    known = KnownPictures(config.limits, config.n_workers, store, needs_appearance=lambda _: True)
    files: list[dict[str, str]] = []
    n_files = n_bad = n_done = 0
    appearances: dict[str, Appearance] = {}
    hashes: dict[str, int] = {}
    for paths in (suspects, pile):
        found, n_found, n_problems = _find(paths, config)
        readable: dict[str, str] = {}
        for start in range(0, len(found), _BATCH):
            part = dict([*found.items()][start : start + _BATCH])
            looks = known.appearances(part)
            appearances |= looks
            readable |= {key: path for key, path in part.items() if key in looks}
            n_done += len(part)
            n_bad += len(part) - len(looks)
            on_progress(Progress(n_done, None, n_bad + n_problems, 0))
        hashes |= known.hashes(readable)
        files.append(readable)
        n_files += n_found
        n_bad += n_problems
    ours, theirs = files
    _require(len(ours), suspects, "no set of suspects", "Name all pictures that are in question.")
    pair = split(ours, theirs, hashes)
    suspects_apart = pair.first
    n_copies = len(ours.keys() & theirs.keys())
    if 2 * n_copies > len(ours):
        raise InputError(
            f"the pile holds the suspects: {n_copies:,} of {len(ours):,} are in it, byte for byte",
            "Name pictures with --from that cannot have been in the training set, and not the "
            "folder in which the suspects are.",
        )
    _require(len(suspects_apart), suspects, "no set of suspects", "Name pictures that differ.")
    what = "nothing to pick from"
    if pair.left_out:
        what += f": {count(len(pair.left_out), 'more looks', 'more look')} like suspects"
    _require(len(pair.second), pile, what, "Name more pictures with --from.")
    n_left = len(suspects_apart) + len(pair.second)
    left_out = LeftOut(
        unreadable=n_bad,
        repeated=n_files - n_bad - len(pair.left_out) - n_left,
        shared=len(pair.left_out),
    )
    return _Sides(suspects_apart, pair.second, appearances, left_out)


def _find(paths: Sequence[AnyPath], config: ControlConfig) -> tuple[dict[str, str], int, int]:
    """Different files by their SHA-256; how many there are, and how many cannot be read."""
    files: dict[str, str] = {}
    n_found = n_problems = 0
    for found in find_images(
        paths,
        include_hidden=config.include_hidden,
        follow_links=config.follow_links,
        within=paths,
    ):
        n_found += 1
        try:
            if found.problem is not None:
                raise found.problem
            files.setdefault(hash_file(found.path)[0], found.path)
        except BadImage:
            n_problems += 1
    return files, n_found, n_problems


def _require(n_left: int, paths: Sequence[AnyPath], what: str, hint: str) -> None:
    if n_left >= FEWEST:
        return
    named = ", ".join(repr(shown(os.fsdecode(path))) for path in paths)
    raise InputError(
        f"{named} {'give' if len(paths) > 1 else 'gives'} {count(n_left, 'picture')}, which is "
        f"{what}",
        f"{hint} `clipaudit score` says of every file why it is no picture.",
    )


def _names(matching: Matching, sides: _Sides) -> dict[str, str]:
    """A name in the folder for each picture that was picked, in the order of their SHA-256.

    The suspects' names are not taken over: a control picture of the name of a suspect would count
    as its counterpart, of the same motif.
    """
    return {
        image_id: _name(number, sides.pile[image_id])
        for number, image_id in enumerate(sorted(matching.picked), 1)
    }


def _name(number: int, path: str, ending: str | None = None) -> str:
    """A number and the file's own name, no longer than any system takes."""
    name = os.path.basename(path)  # noqa: PTH119 - names that are no text
    stem, own = os.path.splitext(name)  # noqa: PTH122
    short = os.fsdecode(os.fsencode(stem)[:_MOST_NAME_BYTES])
    return f"{number:05}-{short}{own[:10] if ending is None else ending}"


def _copy(places: Mapping[str, tuple[str, str]], folder: Path, config: ControlConfig) -> None:
    folder.mkdir()
    for name, (image_id, path) in places.items():
        data = _read_again(path, config)
        if content_id(data) != image_id:
            raise _changed(path)
        (folder / name).write_bytes(data)


def _read_again(path: str, config: ControlConfig) -> bytes:
    try:
        return read_file(path, config.limits)
    except BadImage as problem:
        raise _changed(path) from problem


def _changed(path: str) -> InputError:
    return InputError(
        f"{shown(path)!r} changed while the control was picked",
        "Run it again once nobody writes to these folders.",
    )


def _equalise_sides(
    sides: _Sides, config: ControlConfig, on_progress: Callable[[Progress], None]
) -> tuple[_Sides, Equalised]:
    """The same sides as they look in the one format, without pictures that are too small for it."""
    shortest = min(_short_side(sides.appearances[key]) for key in sides.suspects)
    box = Equalised(min(shortest, _LARGEST_BOX_PX))
    pile = {
        key: path
        for key, path in sides.pile.items()
        if _short_side(sides.appearances[key]) >= box.size_px
    }
    n_small = len(sides.pile) - len(pile)
    _require(
        len(pile),
        [f"the pile without {count(n_small, 'picture')} of less than {box.size_px} pixels"],
        "nothing to pick from",
        "Take the smallest suspects out, or name larger pictures with --from.",
    )
    paths = {**sides.suspects, **pile}
    appearances: dict[str, Appearance] = {}
    with DecoderPool(config.n_workers, config.limits) as pool:
        for start in range(0, len(paths), _BATCH):
            part = dict([*paths.items()][start : start + _BATCH])
            made = dict(zip(part, _equalised(part.values(), box, config, pool), strict=True))
            futures = {
                key: pool.submit(data, Wanted(appearance=True)) for key, data in made.items()
            }
            for key, future in futures.items():
                look = future.result().facts.appearance
                assert look is not None
                appearances[key] = look
            on_progress(Progress(start + len(part), len(paths), 0, 0))
    return (
        replace(
            sides,
            pile=pile,
            appearances=appearances,
            left_out=replace(sides.left_out, too_small=n_small),
        ),
        box,
    )


def _short_side(appearance: Appearance) -> int:
    sides = (appearance.statistics[_COLUMNS.index(name)] for name in ("width", "height"))
    return round(2 ** float(min(sides)))


def _equalised(
    paths: Iterable[str], box: Equalised, config: ControlConfig, pool: DecoderPool
) -> Iterator[bytes]:
    """Each picture in the one format, without any metadata."""
    from PIL import Image

    frame = Frame(box.size_px, "lanczos")
    wanted = Wanted((frame,))
    futures = [(path, pool.submit(_read_again(path, config), wanted)) for path in paths]
    for path, future in futures:
        try:
            pixels = future.result().images[frame]
        except BadImage as problem:
            raise _changed(path) from problem
        file = BytesIO()
        picture = Image.fromarray(pixels)
        picture.save(file, box.format, quality=box.quality, subsampling=box.subsampling)
        yield file.getvalue()


def _write_equalised(places: Mapping[Path, str], box: Equalised, config: ControlConfig) -> None:
    for folder in {place.parent for place in places}:
        folder.mkdir()
    numbered = [*places.items()]
    with DecoderPool(config.n_workers, config.limits) as pool:
        for start in range(0, len(numbered), _BATCH):
            part = numbered[start : start + _BATCH]
            made = _equalised((path for _, path in part), box, config, pool)
            for (place, _), data in zip(part, made, strict=True):
                place.write_bytes(data)
