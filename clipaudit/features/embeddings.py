"""What an encoder made of pictures, before anything is measured on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """What one encoder made of the views of each image.

    Attributes:
        image_ids: SHA-256 of each image file, in hex; n_images of them.
        views: Shape (n_images, n_views, dim), float32, not normalised.
        plain: Shape (n_images, dim), float32: the image itself, resized but not augmented.
    """

    image_ids: tuple[str, ...]
    views: Float32Array
    plain: Float32Array
