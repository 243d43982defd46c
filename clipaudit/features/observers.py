"""The encoders of a run: the target, and references that see the very same views."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clipaudit.encoders.remembered import open_encoder
from clipaudit.errors import UsageError
from clipaudit.features.embedder import Embedder, ViewMaker
from clipaudit.features.stored_signals import FeatureKey
from clipaudit.features.views import RECIPES
from clipaudit.pictures.base import Frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clipaudit.encoders.base import Encoder, EncoderInfo, EncoderOptions
    from clipaudit.encoders.remembered import Memory
    from clipaudit.features.caption_meter import CaptionMeter


@dataclass(frozen=True, slots=True, eq=False)
class Observer:
    """An encoder, and all that its signals depend on.

    Attributes:
        encoder: Target or reference encoder.
        key: Key of its signals in the store.
        embed: Embedder: the encoder, with what its views depend on.
        embed_plain: The same without views, where captions alone are new.
        captions: What measures captions; None where none are read.
    """

    encoder: Encoder
    key: FeatureKey
    embed: Embedder
    embed_plain: Embedder
    captions: CaptionMeter | None = None

    @property
    def frame(self) -> Frame:
        """What it wants pictures resized to; encoders of one frame share pixels and views."""
        wants = self.encoder.info.input
        return Frame(wants.size_px, wants.interpolation)


def observers(
    encoders: Sequence[Encoder], recipe: str, n_views: int, seed: int
) -> tuple[Observer, ...]:
    """Encoders that see the same views: made once where input and device agree.

    Where they do not, the same changes are made to the picture at the other size. Without views
    (`n_views` is 0) neither recipe nor seed counts.
    """
    places = [
        (encoder.info.input.size_px, encoder.info.input.interpolation, encoder.info.device)
        for encoder in encoders
    ]
    makers = {
        place: ViewMaker(RECIPES[recipe], n_views, seed, keep_last=places.count(place) > 1)
        for place in places
    }
    return tuple(
        Observer(
            encoder=encoder,
            key=FeatureKey(
                encoder=encoder.info.fingerprint,
                recipe=recipe if n_views else "none",
                n_views=n_views,
                seed=seed if n_views else 0,
                encoder_name=encoder.info.spec,
            ),
            embed=Embedder(encoder, RECIPES[recipe], n_views, seed, makers[place]),
            embed_plain=Embedder(encoder, RECIPES[recipe], 0, seed),
        )
        for encoder, place in zip(encoders, places, strict=True)
    )


def open_references(
    specs: Sequence[str], options: EncoderOptions, target: EncoderInfo, memory: Memory
) -> tuple[Encoder, ...]:
    """The reference encoders, each with the output that the target gives; see `open_encoder`.

    Raises:
        UsageError: One is the target itself, or another of them.
        EncoderError: One cannot be loaded, or does not have that output.
    """
    known = {target.fingerprint: "the target"}
    references = []
    for spec in specs:
        encoder = open_encoder(spec, replace(options, output=target.output), memory)
        fingerprint = encoder.info.fingerprint
        if fingerprint in known:
            raise UsageError(
                f"the reference {spec} is the same encoder as {known[fingerprint]}: fingerprint "
                f"{fingerprint[:12]}",
                "Pass an encoder that was trained on other pictures; one that was trained on "
                "these hides what is to be found.",
            )
        known[fingerprint] = f"the reference {spec}"
        references.append(encoder)
    return tuple(references)
