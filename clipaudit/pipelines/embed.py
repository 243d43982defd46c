"""Stages 2 to 4 in one step: images → views → embeddings → signals, a batch at a time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.errors import EncoderError
from clipaudit.similarity import Embeddings
from clipaudit.views import draw, make_views, to_unit_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from clipaudit.encoders.base import Encoder
    from clipaudit.views import Recipe

logger = logging.getLogger(__name__)


class Embedder:
    """An encoder with everything that its views depend on.

    Where a forward pass does not fit into memory, the next ones take half as many views, down
    to one; results do not depend on it, rounding aside.

    Attributes:
        encoder: Target, shadow or reference encoder.
        recipe: Of the views.
        n_views: Views an image.
        seed: Of the views.
    """

    def __init__(self, encoder: Encoder, recipe: Recipe, n_views: int, seed: int) -> None:
        self.encoder = encoder
        self.recipe = recipe
        self.n_views = n_views
        self.seed = seed
        self._views_at_once: int | None = None

    def __call__(self, image_ids: Sequence[str], images: npt.NDArray[np.uint8]) -> Embeddings:
        """Embeddings of the views of each image and of the image itself.

        Args:
            image_ids: SHA-256 of each image file, in hex.
            images: Shape (n_images, 3, size_px, size_px), uint8 RGB, of the encoder's size.

        Raises:
            EncoderError: Not even one view at a time fits into memory.
        """
        import torch

        on_device = torch.from_numpy(images).to(self.encoder.device)
        changes = draw(image_ids, self.recipe, self.n_views, images.shape[-1], self.seed)
        views = make_views(on_device, changes).flatten(0, 1)
        vectors = self._forward(torch.cat([views, to_unit_range(on_device)]))
        n_augmented = len(image_ids) * self.n_views
        return Embeddings(
            tuple(image_ids),
            views=vectors[:n_augmented].reshape(len(image_ids), self.n_views, -1),
            plain=vectors[n_augmented:],
        )

    def _forward(self, views: Tensor) -> npt.NDArray[np.float32]:
        import torch

        while True:
            at_once = min(self._views_at_once or len(views), len(views))
            try:
                parts = [self.encoder.embed(part).cpu() for part in views.split(at_once)]
                return torch.cat(parts).numpy()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if at_once == 1:
                    raise EncoderError(
                        f"{self.encoder.info.spec} does not fit into the memory of "
                        f"{self.encoder.info.device}, not even one view at a time",
                        "Close other programs, pass --device cpu, or use a smaller encoder.",
                    ) from error
                self._views_at_once = at_once // 2
                logger.warning(
                    "out of memory with %d views at once, going on with %d",
                    at_once,
                    self._views_at_once,
                )
            if self.encoder.device.type == "cuda":
                torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short: torch's on any device, onnxruntime's, ours."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return any(sign in text for sign in ("allocate memory", "not enough memory", "bad_alloc"))


def usable(embeddings: Embeddings) -> npt.NDArray[np.bool_]:
    """Which images have embeddings that can be compared, shape (n_images,).

    Those that do not have a value that is not finite, or one that is zero or constant.
    """
    both = np.concatenate([embeddings.views, embeddings.plain[:, None]], axis=1)
    fine = np.isfinite(both).all(axis=-1) & (np.ptp(both, axis=-1) > 0)
    return np.asarray(fine.all(axis=1))
