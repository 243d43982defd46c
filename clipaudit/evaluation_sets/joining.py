"""Several pictures made into one, which cannot have been in anybody's training set.

Source: EncoderMI (CCS 2021), section on CLIP: two random pictures are resized to the same size
and concatenated into a new one. Such pictures differ from natural ones for reasons that have
nothing to do with training, so what they show has to be held against a blind baseline.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Layout = Literal["horizontal", "vertical", "grid", "blend"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

N_PARENTS: dict[Layout, int] = {"horizontal": 2, "vertical": 2, "grid": 4, "blend": 2}
"""How many pictures make one."""


def join(parents: npt.NDArray[np.uint8], layout: Layout) -> npt.NDArray[np.uint8]:
    """One picture made of several, as large as each of them.

    Args:
        parents: Shape (n_parents, size, size, 3), RGB, all resized to the same size before.
        layout: `horizontal` and `vertical` set two side by side and squeeze the result to one
            size again (bicubic, antialiased), `grid` does so with two rows of two, `blend` takes
            the mean of two.

    Returns:
        Shape (size, size, 3), uint8.

    Raises:
        ValueError: Another number of parents than `N_PARENTS` says, or sides that differ.
    """
    if parents.ndim != 4 or parents.shape[1] != parents.shape[2]:
        raise ValueError(f"parents must be squares of one size, got shape {parents.shape}")
    if len(parents) != N_PARENTS[layout]:
        raise ValueError(f"{layout} joins {N_PARENTS[layout]} pictures, got {len(parents)}")
    if layout == "blend":
        mean = parents.astype(np.float64).mean(axis=0)
        blended: npt.NDArray[np.uint8] = np.floor(mean + 0.5).astype(np.uint8)
        return blended
    size = parents.shape[1]
    match layout:
        case "horizontal":
            whole = np.concatenate(list(parents), axis=1)
        case "vertical":
            whole = np.concatenate(list(parents), axis=0)
        case "grid":
            rows = [np.concatenate(list(pair), axis=1) for pair in (parents[:2], parents[2:])]
            whole = np.concatenate(rows, axis=0)
    from PIL import Image

    squeezed = Image.fromarray(whole).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(squeezed)
