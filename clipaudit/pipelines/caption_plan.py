"""Captions of a run: where they come from, who reads them, and what the run says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from clipaudit.encoders.remembered import open_text_tower
from clipaudit.encoders.text_towers import has_text_tower
from clipaudit.errors import EncoderError
from clipaudit.features.caption_meter import CaptionMeter, TextReader
from clipaudit.pipelines.caption_bank import embed_bank, read_bank
from clipaudit.pipelines.lookup_captions import captions_for
from clipaudit.results.audit import BankFacts, CaptionsRead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from clipaudit.captions.base import CaptionSource
    from clipaudit.features.caption_signals import Bank
    from clipaudit.features.observers import Observer
    from clipaudit.features.optional_store import OptionalStore
    from clipaudit.inferrers.base import Inferrer
    from clipaudit.pictures.base import AnyPath
    from clipaudit.pipelines.caption_bank import BankEntries
    from clipaudit.pipelines.config import ScoreConfig
    from clipaudit.pipelines.outcomes import Outcome


@dataclass(slots=True)
class CaptionPlan:
    """The captions of a run, from the choice of a source to the facts at its end.

    Attributes:
        source: Where they come from; None where none are read.
        notes: What a reader must know of captions that are not read, a sentence each.
        n_with: Different pictures that were scored and have one.
        n_without: Different pictures that were scored and have none.
        meter: What measures them for the target.
        entries: What their loss is taken against.
    """

    source: CaptionSource | None = None
    notes: tuple[str, ...] = ()
    n_with: int = 0
    n_without: int = 0
    meter: CaptionMeter | None = None
    entries: BankEntries | None = None

    @classmethod
    def of(cls, config: ScoreConfig, paths: Sequence[AnyPath]) -> CaptionPlan:
        """The plan before any encoder is loaded.

        Raises:
            ClipAuditError: Captions are asked for that cannot be had, or of an encoder that reads
                none.
        """
        if config.captions == "none":
            return cls()
        is_asked = config.captions != "auto"
        if is_asked:
            require_text_tower(config)
        source = captions_for(
            config.captions, paths, limits=config.limits, include_hidden=config.include_hidden
        )
        if source is None or is_asked:
            return cls(source)
        if not has_text_tower(config.encoder):
            return cls(notes=(f"captions are not read: {config.encoder} has no text tower",))
        if config.output == "trunk":
            why = "they are embedded beside the embedding, and its trunk is asked for"
            return cls(notes=(f"captions are not read: {why}",))
        for reference in config.references:
            if not has_text_tower(reference):
                why = f"the reference {reference} has no text tower"
                return cls(notes=(f"captions are not read: {why}",))
        return cls(source)

    def attach(
        self,
        observers: Sequence[Observer],
        inferrers: Sequence[Inferrer],
        config: ScoreConfig,
        store: OptionalStore,
    ) -> tuple[Observer, ...]:
        """The observers with what measures captions, where an inferrer reads them.

        Raises:
            ClipAuditError: A text tower cannot be loaded, or the bank cannot be read.
        """
        every = [inferrer.card.reads for inferrer in inferrers]
        reading = [reads for reads in every if reads.reads_captions]
        if self.source is None or not reading:
            if self.source is not None:
                found = self.source.facts.source
                why = "no inferrer of this run reads them; pass --method caption"
                self.notes = (f"captions were found ({found}), and {why}",)
            self.source = None
            return tuple(observers)
        seeing = observers if any(reads.has_reference for reads in reading) else observers[:1]
        entries = read_bank(config.bank, config)
        readers = [
            TextReader(open_text_tower(observer.encoder.info.spec, config.options, store))
            for observer in seeing
        ]
        embed = cache(lambda: embed_bank(entries, seeing, readers, config, store))
        with_captions = tuple(
            replace(
                observer,
                captions=CaptionMeter.of(
                    observer.encoder.info, reader, entries.sha256, partial(_part, embed, place)
                ),
            )
            for place, (observer, reader) in enumerate(zip(seeing, readers, strict=True))
        )
        self.meter, self.entries = with_captions[0].captions, entries
        return with_captions + tuple(observers[len(seeing) :])

    def count(self, outcomes: Iterable[Outcome]) -> None:
        """Count the captions of pictures that were scored."""
        for outcome in outcomes:
            if outcome.error is None:
                self.n_with += outcome.has_caption
                self.n_without += not outcome.has_caption

    @property
    def facts(self) -> CaptionsRead | None:
        """What the run says of its captions; None where it read none."""
        if self.source is None or self.meter is None or self.entries is None:
            return None
        found, entries = self.source.facts, self.entries
        # Of its pictures those count that the encoder makes something of; its captions all do.
        n_pictures = len(self.meter.make_bank().pictures) if entries.pictures else 0
        return CaptionsRead(
            source=found.source,
            n_with=self.n_with,
            n_without=self.n_without,
            n_cut=self.meter.n_cut,
            bank=BankFacts(entries.origin, len(entries.captions), n_pictures, entries.sha256),
            tower=self.meter.reader.tower.info,
            notes=found.notes,
        )


def _part(embed: Callable[[], tuple[Bank, ...]], place: int) -> Bank:
    return embed()[place]


def require_text_tower(config: ScoreConfig) -> None:
    """Check that captions that are asked for can be read at all.

    Raises:
        EncoderError: The encoder, or a reference, has no text tower.
    """
    encoders = {"the encoder": (config.encoder,), "the reference": config.references}
    for what, spec in ((what, spec) for what, specs in encoders.items() for spec in specs):
        if not has_text_tower(spec):
            raise EncoderError(
                f"--captions {config.captions}: {what} {spec} has no text tower, so captions say "
                "nothing of it",
                "Leave out --captions, or name encoders that were trained with captions: "
                "`clipaudit encoders` lists them.",
            )
