"""Facts of pictures: of those that a run decodes, those in the store, and if need be of others."""

from __future__ import annotations

from bisect import bisect_left, insort
from contextlib import suppress
from typing import TYPE_CHECKING

from clipaudit.features.optional_store import OptionalStore
from clipaudit.overflow import Overflow
from clipaudit.pictures.base import BadImage
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.preparing import Wanted
from clipaudit.pictures.reading import content_id, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from clipaudit.pictures.base import Frame, Limits
    from clipaudit.pictures.preparing import Appearance, PictureFacts, Prepared

_AHEAD = 256


class KnownPictures:
    """Facts of pictures by SHA-256.

    A run asks `wanted` what to have decoded of each new picture, and hands the outcome to `add`.
    What comes after it asks for hashes and appearances; a picture of which they are not known by
    then, or not any more, is read and decoded for them.

    Attributes:
        store: Knows facts of earlier runs, and keeps those of this one; open as long as they are
            asked for. Without it they stay in memory.
        captions: Captions of the pictures that have some, by SHA-256; empty where none are read.

    Args:
        limits: How much one file may cost.
        n_workers: Processes that decode what is missing in the end.
        store: See above; None keeps nothing.
        needs_appearance: Whether the blind baseline may look at a picture, by its SHA-256.
        also: Frames to have of each picture that is decoded, beside the encoders'; for a report.
        keeps_captions: Whether the captions of a run are asked for after it.
    """

    def __init__(
        self,
        limits: Limits,
        n_workers: int,
        store: OptionalStore | None = None,
        needs_appearance: Callable[[str], bool] = lambda image_id: False,
        also: Sequence[Frame] = (),
        keeps_captions: bool = False,
    ) -> None:
        self._limits = limits
        self._n_workers = n_workers
        self.store = store or OptionalStore(None)
        self._needs_appearance = needs_appearance
        self._also = also
        self._keeps_captions = keeps_captions
        self.captions: dict[str, tuple[str, ...]] = {}
        self._facts: Overflow[PictureFacts] = Overflow()

    def get(self, image_ids: Sequence[str]) -> dict[str, PictureFacts]:
        """The facts of those images that are known; the others are absent."""
        found = self.store.get_facts(image_ids)
        own = ((key, self._facts.get(key)) for key in image_ids)
        return found | {key: facts for key, facts in own if facts is not None}

    def wanted(
        self,
        image_id: str,
        facts: PictureFacts | None,
        frames: Iterable[Frame],
        of_target: Frame,
    ) -> Wanted | None:
        """What to have decoded of a picture; None where all is known.

        Args:
            image_id: SHA-256 of the file.
            facts: What is known of it.
            frames: Frames of the encoders that have not seen it.
            of_target: Frame of the target, which a report shows too.
        """
        appearance = False
        if self._needs_appearance(image_id):
            appearance = facts is None or facts.appearance is None
        asked = dict.fromkeys(frames)
        if self._also and (asked or appearance):
            asked |= dict.fromkeys((of_target, *self._also))
        return Wanted(tuple(asked), appearance) if asked or appearance else None

    def add(self, pictures: Mapping[str, Prepared]) -> None:
        """Remember and store the facts of pictures that were just decoded."""
        self.add_facts({image_id: picture.facts for image_id, picture in pictures.items()})

    def add_facts(self, facts: Mapping[str, PictureFacts]) -> None:
        """Remember and store facts of pictures, by SHA-256."""
        self.store.put_facts(facts)
        if not self.store.is_open:
            for image_id, own in facts.items():
                self._facts[image_id] = own

    def add_captions(self, image_id: str, captions: tuple[str, ...]) -> None:
        """Remember the captions that a run read for a picture, where they are asked for later."""
        if captions and self._keeps_captions:
            self.captions[image_id] = captions

    def hashes(self, paths: Mapping[str, str]) -> dict[str, int]:
        """The perceptual hash of each picture, in the order given.

        A file that changed since it was named, or cannot be read any more, may have none.

        Args:
            paths: Files by their SHA-256.
        """
        facts = self._complete(paths, appearance=False)
        return {image_id: facts[image_id].phash for image_id in paths if image_id in facts}

    def appearances(self, paths: Mapping[str, str]) -> dict[str, Appearance]:
        """The appearance of each picture; see `hashes`."""
        facts = self._complete(paths, appearance=True)
        return {
            image_id: appearance
            for image_id in paths
            if image_id in facts and (appearance := facts[image_id].appearance) is not None
        }

    def _complete(self, paths: Mapping[str, str], *, appearance: bool) -> dict[str, PictureFacts]:
        """The facts of pictures; those that are not known are decoded."""
        facts = self.get([*paths])
        missing = [
            image_id
            for image_id in paths
            if image_id not in facts or (appearance and facts[image_id].appearance is None)
        ]
        if not missing:
            return facts
        wanted = Wanted(appearance=appearance)
        with DecoderPool(min(self._n_workers, len(missing)), self._limits) as pool:
            for start in range(0, len(missing), _AHEAD):
                futures = {}
                for image_id in missing[start : start + _AHEAD]:
                    with suppress(BadImage):
                        data = read_file(paths[image_id], self._limits)
                        if content_id(data) == image_id:
                            futures[image_id] = pool.submit(data, wanted)
                new = {}
                for image_id, future in futures.items():
                    with suppress(BadImage):
                        new[image_id] = future.result().facts
                self.add_facts(new)
                facts |= new
        return facts


class FirstByHash:
    """Whether a picture may be among the first n by SHA-256 of those that are still to come.

    A run that has only this to go by tries n pictures and some more: n times the logarithm of
    how many times as many there are.

    >>> is_early = FirstByHash(2)
    >>> [is_early(image_id) for image_id in ("c", "d", "b", "e", "c", "a")]
    [True, True, True, False, True, True]
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._first: list[str] = []

    def __call__(self, image_id: str) -> bool:
        """Whether the next picture may be one; remembers it."""
        place = bisect_left(self._first, image_id)
        if place < len(self._first) and self._first[place] == image_id:
            return True
        if place >= self._n:
            return False
        insort(self._first, image_id)
        del self._first[self._n :]
        return True
