"""Views: ten of each picture, by the parameters that clipaudit draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from benchmarks.cases.pictures import N_VIEWS, arrays
from benchmarks.contest import Case, Contest, Way, Workplace
from clipaudit.features.views import ENCODERMI, ViewParameters, draw, make_views

_ATOL = 1e-4
_CHANGES = (
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
    functional.adjust_hue,
)


def one_by_one(images: Tensor, parameters: ViewParameters) -> Tensor:
    """What `make_views` gives, by torchvision's own functions, one view after the other."""
    n_images, n_views = parameters.flip.shape
    views = [
        _view(image, parameters, (row, column))
        for row, image in enumerate(images)
        for column in range(n_views)
    ]
    return torch.stack(views).reshape(n_images, n_views, *images.shape[1:])


def _view(image: Tensor, parameters: ViewParameters, place: tuple[int, int]) -> Tensor:
    """One view of a picture in [0, 1]; a recipe without blur."""
    side = image.shape[-1]
    top, left, height, width = map(int, parameters.box[place])
    view: Tensor = functional.resized_crop(
        image, top, left, height, width, [side, side], antialias=True
    )
    if parameters.flip[place]:
        view = functional.horizontal_flip(view)
    if parameters.jitter[place]:
        for step in parameters.order[place]:
            view = _CHANGES[step](view, float(parameters.factors[place][step]))
    if parameters.grayscale[place]:
        view = functional.rgb_to_grayscale(view, num_output_channels=3)
    return view


def _prepare(size: int, place: Workplace) -> Contest:
    ids, pixels = arrays(size)
    images = torch.from_numpy(pixels)
    made = torch.zeros(size, N_VIEWS, *images.shape[1:])

    def parameters() -> ViewParameters:
        return draw(ids, ENCODERMI, N_VIEWS, images.shape[-1], seed=0)

    return Contest(
        (
            Way("product", "all views at once", lambda: make_views(images, parameters())),
            Way(
                "naive",
                "torchvision, view by view",
                lambda: one_by_one(images.float() / 255, parameters()),
            ),
            Way("floor", "copying the views once", made.clone),
        ),
        _require_same,
    )


def _require_same(product: Any, naive: Any) -> None:
    np.testing.assert_allclose(product, naive, atol=_ATOL)


CASE = Case("ten views of 224 × 224 a picture", "pictures", (1, 4, 16), (2,), _prepare)
