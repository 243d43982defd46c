"""A batch of files → what comes of each picture: pixels, signals, scores, and then rows.

A function a stage; none of them knows of other batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import compress, repeat
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.features.embedder import usable
from clipaudit.features.embeddings import Embeddings
from clipaudit.features.signals import average, measure, select
from clipaudit.features.stored_captions import captions_id, stack_captions
from clipaudit.features.stored_signals import stack_signals
from clipaudit.inferrers.base import Features
from clipaudit.pictures.base import BadImage
from clipaudit.pipelines.inferrer_choice import made_for, shown_similarity
from clipaudit.results.rows import Finding, ReferenceSignals, Row

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from clipaudit.encoders.base import Output
    from clipaudit.features.embedder import Embedder
    from clipaudit.features.known_pictures import KnownPictures
    from clipaudit.features.observers import Observer
    from clipaudit.features.optional_store import OptionalStore
    from clipaudit.features.signals import Signals, Similarity
    from clipaudit.features.stored_captions import StoredCaptions
    from clipaudit.features.stored_signals import StoredSignals
    from clipaudit.inferrers.base import Inferrer
    from clipaudit.pictures.base import UInt8Array
    from clipaudit.pictures.preparing import Prepared
    from clipaudit.pipelines.config import ScoreConfig
    from clipaudit.pipelines.read_ahead import ReadFile


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture that can be looked at: its signals are known, or its pixels are there.

    Attributes:
        stored: Its signals of those observers of which they are known.
        captions: Its captions, where they are read.
        stored_captions: Its caption signals, likewise.
        prepared: What it was decoded to, for the other observers or for more than signals.
    """

    stored: Mapping[Observer, StoredSignals]
    captions: tuple[str, ...] = ()
    stored_captions: Mapping[Observer, StoredCaptions] = field(default_factory=dict)
    prepared: Prepared | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What decoding had to do, which is stored with the signals."""
        return (self.prepared or next(iter(self.stored.values()))).notes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a picture: all that a row says of it but its path.

    Attributes:
        error: Reason and explanation where it was skipped; all else is empty then.
        mean_similarity: Mean of the pairwise similarities of its views, where there are some.
        scores: Scores in the order of the inferrers; None by those that read captions, where it
            has none.
        notes: What decoding had to do.
        reference: What the reference encoders make of it, where there are some.
        has_caption: Whether it has one that was read.
    """

    error: str | None = None
    mean_similarity: float | None = None
    scores: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()
    reference: ReferenceSignals | None = None
    has_caption: bool = False


def score_batch(
    batch: Sequence[ReadFile],
    observers: Sequence[Observer],
    inferrers: Sequence[Inferrer],
    config: ScoreConfig,
    known: KnownPictures,
) -> dict[str, Outcome]:
    """What came of the new pictures of a batch, by SHA-256; all that is new is in the store then.

    Args:
        batch: Files that were read; copies and those that could not be read are passed over.
        observers: The target, then the references.
        inferrers: What to score with.
        config: What made the views.
        known: Where what was decoded goes, and with its store new signals.
    """
    pictures, problems = decode(batch)
    known.add({key: picture.prepared for key, picture in pictures.items() if picture.prepared})
    signals, unseen = observe_all(observers, pictures, known.store)
    outcomes = {image_id: Outcome(str(why)) for image_id, why in (problems | unseen).items()}
    if not signals:
        return outcomes
    target, *others = signals
    reference = average(others) if others else None
    similarity = shown_similarity(config, inferrers)
    output = observers[0].encoder.info.output
    columns = zip(
        target.image_ids,
        mean_similarities(target, similarity),
        scores(inferrers, config, output, target, reference),
        _reference_signals(reference, similarity) if reference else repeat(None),
        strict=False,
    )
    for image_id, mean, own_scores, reference_signals in columns:
        known.add_captions(image_id, pictures[image_id].captions)
        outcomes[image_id] = Outcome(
            mean_similarity=mean,
            scores=own_scores,
            notes=pictures[image_id].notes,
            reference=reference_signals,
            has_caption=bool(pictures[image_id].captions),
        )
    return outcomes


def decode(batch: Sequence[ReadFile]) -> tuple[dict[str, Picture], dict[str, BadImage]]:
    """The new pictures of a batch, and what is wrong with the others, by SHA-256."""
    pictures: dict[str, Picture] = {}
    problems: dict[str, BadImage] = {}
    for file in batch:
        if file.sha256 is None or file.is_copy:
            continue
        try:
            prepared = file.picture.result() if file.picture else None
            pictures[file.sha256] = Picture(
                file.stored, file.captions, file.stored_captions, prepared
            )
        except BadImage as problem:
            if file.is_known:  # it was decoded for less than its signals
                pictures[file.sha256] = Picture(file.stored, file.captions, file.stored_captions)
            else:
                problems[file.sha256] = problem
    return pictures, problems


def observe_all(
    observers: Sequence[Observer], pictures: Mapping[str, Picture], store: OptionalStore
) -> tuple[list[Signals], dict[str, BadImage]]:
    """Signals of the pictures by each observer, and what is wrong with those left out of them.

    Returns:
        Signals of the same pictures by every observer, or none at all; and problems by SHA-256,
        for pictures of which an observer makes nothing: the next one does not look at them.
    """
    by_observer: list[Signals] = []
    problems: dict[str, BadImage] = {}
    for observer in observers:
        signals = observe(observer, pictures, store)
        image_ids = signals.image_ids if signals else ()
        for image_id in pictures.keys() - image_ids:
            problems[image_id] = _no_embedding(observer, is_target=observer is observers[0])
        pictures = {image_id: pictures[image_id] for image_id in image_ids}
        if signals:
            by_observer.append(signals)
    if not pictures:
        return [], problems
    return [select(signals, [*pictures]) for signals in by_observer], problems


def observe(
    observer: Observer, pictures: Mapping[str, Picture], store: OptionalStore
) -> Signals | None:
    """How an observer sees the pictures, stored or new; without those of which it makes nothing.

    Returns:
        Signals in the order of the pictures; None where there are none. New ones were stored.
    """
    known = {
        image_id: picture.stored[observer]
        for image_id, picture in pictures.items()
        if observer in picture.stored
    }
    fresh = embed(observer.embed, _pixels(observer, pictures, known))
    signals = measure(fresh) if fresh else None
    if signals:
        notes = [pictures[image_id].notes for image_id in signals.image_ids]
        store.put(observer.key, signals, notes)
    there = {*known, *(signals.image_ids if signals else ())}
    image_ids = [image_id for image_id in pictures if image_id in there]
    if not image_ids:
        return None
    stacked = stack_signals(image_ids, known, [signals] if signals else [])
    if observer.captions is None:
        return stacked
    rows = caption_rows(observer, {key: pictures[key] for key in image_ids}, fresh, store)
    return replace(stacked, captions=stack_captions(image_ids, rows))


def caption_rows(
    observer: Observer,
    pictures: Mapping[str, Picture],
    fresh: Embeddings | None,
    store: OptionalStore,
) -> dict[str, StoredCaptions]:
    """Caption signals of those pictures that have captions, stored or new; new ones were stored.

    Args:
        observer: An encoder with a text tower.
        pictures: Pictures of which it makes something.
        fresh: Its embeddings of those that it saw just now.
        store: Where new ones go.
    """
    meter = observer.captions
    assert meter is not None
    known = {
        image_id: picture.stored_captions[observer]
        for image_id, picture in pictures.items()
        if observer in picture.stored_captions
    }
    captions = {
        image_id: picture.captions
        for image_id, picture in pictures.items()
        if picture.captions and image_id not in known
    }
    seen = fresh.image_ids if fresh else ()
    unseen = {image_id: pictures[image_id] for image_id in captions if image_id not in seen}
    rows: dict[str, StoredCaptions] = {}
    for embeddings in (fresh, embed(observer.embed_plain, _pixels(observer, unseen, ()))):
        plain = _plain(embeddings, captions) if embeddings else None
        if plain:
            rows |= meter.measure(plain, captions)
    if rows:
        ids = {image_id: captions_id(captions[image_id]) for image_id in rows}
        store.put_captions(meter.key, rows, ids)
    rows = known | rows
    meter.n_cut += sum(row.n_cut for row in rows.values())
    return rows


def _plain(embeddings: Embeddings, wanted: Container[str]) -> Embeddings | None:
    """The embeddings of those images that are wanted, without their views."""
    chosen = np.array([image_id in wanted for image_id in embeddings.image_ids])
    if not chosen.any():
        return None
    image_ids = tuple(compress(embeddings.image_ids, chosen))
    return Embeddings(image_ids, embeddings.views[chosen, :0], embeddings.plain[chosen])


def _pixels(
    observer: Observer, pictures: Mapping[str, Picture], known: Container[str]
) -> dict[str, UInt8Array]:
    """Pixels for an observer of those pictures that are not known and were decoded."""
    return {
        image_id: picture.prepared.images[observer.frame]
        for image_id, picture in pictures.items()
        if image_id not in known and picture.prepared
    }


def embed(embedder: Embedder, pictures: Mapping[str, UInt8Array]) -> Embeddings | None:
    """Embeddings of pictures, by SHA-256; of those that can be compared, and None without any."""
    if not pictures:
        return None
    images = np.stack([image.transpose(2, 0, 1) for image in pictures.values()])
    embeddings = embedder(list(pictures), images)
    fine = usable(embeddings)
    if not fine.any():
        return None
    image_ids = tuple(compress(pictures, fine))
    return Embeddings(image_ids, embeddings.views[fine], embeddings.plain[fine])


def mean_similarities(signals: Signals, similarity: Similarity) -> list[float | None]:
    """Mean of the pairwise similarities of each picture; None where there are no views."""
    pairs = signals.pairs(similarity).astype(np.float64)
    if not pairs.shape[1]:
        return [None] * len(pairs)
    means: list[float | None] = pairs.mean(axis=1).tolist()
    return means


def scores(
    inferrers: Sequence[Inferrer],
    config: ScoreConfig,
    output: Output,
    target: Signals,
    reference: Signals | None,
) -> list[tuple[float | None, ...]]:
    """Scores of each picture, by each inferrer; None where captions are read and it has none.

    Picture by picture, because matrix products round by the number of their rows. So a picture
    has the same score, to the bit, from the store and in any company there.
    """
    columns: list[list[float | None]] = []
    for inferrer in inferrers:
        made_by = made_for(inferrer, config, output)
        values = Features.of(target, made_by, reference).values
        column: list[float | None] = []
        for row, image_id in enumerate(target.image_ids):
            picture = Features((image_id,), values[row, None], made_by)
            has_none = made_by.reads_captions and bool(np.isnan(picture.values).any())
            column.append(None if has_none else float(inferrer.score(picture)[0]))
        columns.append(column)
    return [*zip(*columns, strict=True)] if columns else [()] * len(target.image_ids)


def row_of(file: ReadFile, outcome: Outcome | None, inferrers: Sequence[Inferrer]) -> Row:
    """The row of a file, by what came of its content; None where it could not be read."""
    outcome = outcome or Outcome(str(file.problem))
    if outcome.error is not None:
        return Row(file.path, file.sha256, "skipped", outcome.error)
    findings = (
        Finding(card.name, score, "member" if score >= card.threshold else "non-member")
        for card, score in zip(
            (inferrer.card for inferrer in inferrers), outcome.scores, strict=True
        )
        if score is not None
    )
    return Row(
        path=file.path,
        sha256=file.sha256,
        status="ok",
        mean_similarity=outcome.mean_similarity,
        findings=tuple(findings),
        notes=outcome.notes,
        reference=outcome.reference,
    )


def _reference_signals(reference: Signals, similarity: Similarity) -> list[ReferenceSignals]:
    means = mean_similarities(reference, similarity)
    return [*map(ReferenceSignals, means, reference.plain_norm.tolist())]


def _no_embedding(observer: Observer, *, is_target: bool) -> BadImage:
    name = "the encoder" if is_target else f"the reference {observer.encoder.info.spec}"
    return BadImage("no_embedding", f"{name}'s embedding of it is zero, constant or not finite")
