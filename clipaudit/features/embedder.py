"""Stages 2 to 4 in one step: images → views → embeddings → signals, a batch at a time."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.encoders import devices
from clipaudit.encoders.loaded import is_out_of_memory
from clipaudit.errors import EncoderError
from clipaudit.features.embeddings import Embeddings
from clipaudit.features.signals import Signals, concatenate, measure
from clipaudit.features.views import draw, make_views, to_unit_range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, device

    from clipaudit.encoders.base import Encoder
    from clipaudit.features.caption_signals import CaptionSignals
    from clipaudit.features.views import Recipe

logger = logging.getLogger(__name__)

_IMAGES_AT_ONCE = 64

_SHARE_OF_MEMORY = 0.7
"""Part of a GPU's free memory to count on: what one image takes says little of fragments."""


class ViewMaker:
    """Views of pictures, and the pictures themselves as further views.

    Attributes:
        recipe: Recipe of the views.
        n_views: Views an image; 0 leaves the image itself.
        seed: Seed of the views.
        keep_last: Whether to hold on to what was made last, for another encoder that wants it.
    """

    def __init__(self, recipe: Recipe, n_views: int, seed: int, *, keep_last: bool = False) -> None:
        self.recipe = recipe
        self.n_views = n_views
        self.seed = seed
        self.keep_last = keep_last
        self._last: tuple[tuple[str, ...], Tensor] | None = None

    def __call__(
        self, image_ids: Sequence[str], images: npt.NDArray[np.uint8], on: device
    ) -> Tensor:
        """Shape (n_images, n_views + 1, 3, size_px, size_px): the views, then the image itself.

        Args:
            image_ids: SHA-256 of each image file, in hex.
            images: Shape (n_images, 3, size_px, size_px), uint8 RGB.
            on: Device of the views; with `keep_last`, always the same one, and images of one size.
        """
        import torch

        if self._last is not None and self._last[0] == tuple(image_ids):
            return self._last[1]
        on_device = devices.send(images, on)
        views = to_unit_range(on_device).unsqueeze(1)
        if self.n_views:
            changes = draw(image_ids, self.recipe, self.n_views, images.shape[-1], self.seed)
            views = torch.cat([make_views(on_device, changes), views], dim=1)
        if self.keep_last:
            self._last = tuple(image_ids), views
        return views

    def forget(self) -> None:
        """Give the memory of what was made last back, and keep no more."""
        self.keep_last = False
        self._last = None


class Embedder:
    """An encoder with everything that its views depend on.

    A GPU takes as many views at once as what one image needs lets expect to fit. Where a batch
    does not fit into memory after all, the next steps take half as many, down to one, and so does
    every later batch; results do not depend on it, rounding aside.

    Attributes:
        encoder: Target, shadow or reference encoder.
        recipe: Recipe of the views.
        n_views: Views an image.
        seed: Seed of the views.

    Args:
        view_maker: Maker of the views, where several encoders share one.
    """

    def __init__(
        self,
        encoder: Encoder,
        recipe: Recipe,
        n_views: int,
        seed: int,
        view_maker: ViewMaker | None = None,
    ) -> None:
        self.encoder = encoder
        self._make = view_maker or ViewMaker(recipe, n_views, seed)
        self.recipe = recipe
        self.n_views = n_views
        self.seed = seed
        self._most_views: int | None = None  # at once; None where memory was never short
        self._is_tried = False

    def __call__(self, image_ids: Sequence[str], images: npt.NDArray[np.uint8]) -> Embeddings:
        """Embeddings of the views of each image and of the image itself.

        Args:
            image_ids: SHA-256 of each image file, in hex; at least one.
            images: Shape (n_images, 3, size_px, size_px), uint8 RGB, of the encoder's size.

        Raises:
            EncoderError: Not even one view at a time fits into memory.
        """
        views_an_image = self.n_views + 1
        if self.encoder.device.type == "cuda" and not self._is_tried and len(image_ids) > 1:
            self._most_views = self._try_memory(image_ids[:1], images[:1])
            self._is_tried = True
        parts: list[npt.NDArray[np.float32]] = []
        n_done = 0
        while n_done < len(image_ids):
            most = self._most_views or len(image_ids) * views_an_image
            part = slice(n_done, min(n_done + max(1, most // views_an_image), len(image_ids)))
            at_once = min(most, (part.stop - n_done) * views_an_image)
            try:
                parts.append(self._embed(image_ids[part], images[part], at_once))
                n_done = part.stop
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(at_once, error)
            # Out of the except block: there, the error keeps every tensor of the failed try.
            devices.give_back_memory(self.encoder.device)
        both = np.concatenate(parts)
        return Embeddings(tuple(image_ids), views=both[:, :-1], plain=both[:, -1])

    def _embed(
        self, image_ids: Sequence[str], images: npt.NDArray[np.uint8], at_once: int
    ) -> npt.NDArray[np.float32]:
        """Shape (n_images, n_views + 1, dim): the views, then the image itself."""
        import torch

        views = self._make(image_ids, images, self.encoder.device)
        vectors = [self.encoder.embed(part) for part in views.flatten(0, 1).split(at_once)]
        embeddings: npt.NDArray[np.float32] = torch.cat(vectors).cpu().numpy()
        return embeddings.reshape(len(image_ids), self.n_views + 1, -1)

    def _try_memory(self, image_ids: Sequence[str], images: npt.NDArray[np.uint8]) -> int:
        """Views that a GPU's memory should hold at once, by what those of one image take."""
        n_views, where = self.n_views + 1, self.encoder.device
        try:
            needed = devices.peak_bytes(lambda: self._embed(image_ids, images, n_views), where)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return max(1, n_views // 2)
        return max(1, int(_SHARE_OF_MEMORY * devices.free_bytes(where) / max(1, needed) * n_views))

    def _halve(self, at_once: int, error: BaseException) -> None:
        if at_once == 1:
            raise EncoderError(
                f"{self.encoder.info.spec} does not fit into the memory of "
                f"{self.encoder.info.device}, not even one view at a time",
                "Close other programs, pass --device cpu, or use a smaller encoder.",
            ) from error
        self._most_views = at_once // 2
        self._make.forget()
        logger.warning(
            "out of memory with %d views at once, going on with %d", at_once, self._most_views
        )


def measure_all(
    embedder: Embedder,
    image_ids: Sequence[str],
    images: npt.NDArray[np.uint8],
    hint: str,
    read_captions: Callable[[Embeddings], CaptionSignals] | None = None,
) -> tuple[Signals, npt.NDArray[np.float32]]:
    """Signals of all images, and the embeddings of the images themselves, a batch at a time.

    Args:
        embedder: The encoder, and what its views depend on.
        image_ids: SHA-256 of each image file, in hex; at least one.
        images: Shape (n_images, 3, size_px, size_px), uint8 RGB, of the encoder's size.
        hint: What to do where the encoder has collapsed.
        read_captions: What the encoder makes of images with their captions; None reads none.

    Raises:
        EncoderError: It has, or not even one view at a time fits into memory.
    """
    batches, plain = [], []
    for start in range(0, len(image_ids), _IMAGES_AT_ONCE):
        part = slice(start, start + _IMAGES_AT_ONCE)
        embeddings = embedder(image_ids[part], images[part])
        if not usable(embeddings).all():
            info = embedder.encoder.info
            raise EncoderError(
                f"the {info.output} output of {info.spec} has collapsed: it is zero, constant or "
                "not finite for some pictures",
                hint,
            )
        captions = read_captions(embeddings) if read_captions else None
        batches.append(replace(measure(embeddings), captions=captions))
        plain.append(embeddings.plain)
    return concatenate(batches), np.concatenate(plain)


def usable(embeddings: Embeddings) -> npt.NDArray[np.bool_]:
    """Which images have embeddings that can be compared, shape (n_images,).

    Those that do not have a value that is not finite or so large that its norm is not, or an
    embedding that is zero or constant.
    """
    both = np.concatenate([embeddings.views, embeddings.plain[:, None]], axis=1)
    largest = np.finfo(np.float32).max / (2 * np.sqrt(both.shape[-1]))
    with np.errstate(invalid="ignore", over="ignore"):
        fine = (np.abs(both) <= largest).all(axis=-1) & (np.ptp(both, axis=-1) > 0)
    return np.asarray(fine.all(axis=1))
