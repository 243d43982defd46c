"""Small pictures out of nothing: shapes and noise on a soft background, for the demo.

They are as different from one another as small pictures can be, so that an encoder has to
remember each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw


def draw_picture(generator: np.random.Generator, size_px: int) -> npt.NDArray[np.uint8]:
    """One picture, shape (size_px, size_px, 3), RGB."""
    from PIL import Image, ImageDraw

    cells = int(generator.integers(2, 6))
    coarse = generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((size_px, size_px), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(int(generator.integers(3, 9))):
        _draw_shape(pen, generator, size_px)
    grain = generator.normal(0, generator.uniform(0, 20), (size_px, size_px, 3))
    return np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)


def _draw_shape(pen: ImageDraw, generator: np.random.Generator, size_px: int) -> None:
    red, green, blue = (int(value) for value in generator.integers(0, 256, 3))
    colour = (red, green, blue)
    kind = ("ellipse", "rectangle", "line", "polygon")[int(generator.integers(4))]
    points = [(float(x), float(y)) for x, y in generator.uniform(0, size_px, (5, 2))]
    (x0, y0), (x1, y1) = points[:2]
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    if kind == "ellipse":
        pen.ellipse(box, fill=colour)
    elif kind == "rectangle":
        pen.rectangle(box, fill=colour)
    elif kind == "line":
        pen.line(points[:3], fill=colour, width=int(generator.integers(1, 4)))
    else:
        pen.polygon(points[: int(generator.integers(3, 6))], fill=colour)
