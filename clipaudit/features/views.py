"""Stage 2: images + a recipe + a seed → views.

What changes in a view is drawn on the CPU from (seed, content hash, recipe), one row of uniform
numbers a view, in a layout that never moves: the first four views of ten are the four views of
four, and nothing depends on the file's name, its neighbours, the batch or the device. The
changes are then applied to all views of all images at once, on the device of the encoder.

Source: EncoderMI (Liu et al., CCS 2021), Section 4 and Fig. 3: random resized crop, random
horizontal flip, colour jitter, random grayscale; the ranges are those of MoCo v2 (Chen et al.,
2020) without its blur, which recipes for pre-training alone may have. Each augmentation means
what it means in `torchvision.transforms`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.encoders.devices import send
from clipaudit.seeding import stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, device

_CROP_ATTEMPTS = 10
_UNIFORMS = 4 * _CROP_ATTEMPTS + 11
"""A view's row: 10 × (area, ratio, top, left), flip, jitter, 4 factors, 4 ranks, grayscale. A
recipe with blur has two more, whether and how much."""

_BLUR_RADIUS = 6
"""Pixels on either side of a blurred one that count: three times the widest blur of MoCo v2."""

_GRAY = (0.2989, 0.587, 0.114)
"""ITU-R 601 luma, to the digits that torchvision uses."""

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named, versioned set of augmentations with its ranges.

    Two recipes with one name and version are equal; a changed range is a new version.

    Attributes:
        name: What people call it.
        version: Raised with every change that moves a view.
        crop_scale: Least and greatest share of the area that a crop keeps.
        crop_ratio: Least and greatest width : height of a crop.
        flip: Probability of a horizontal flip.
        jitter: Probability that the four colour changes apply, in random order.
        brightness: The factor is uniform in 1 ± this; likewise contrast and saturation.
        hue: The shift is uniform in ± this, as a share of the colour circle; at most 0.5.
        grayscale: Probability of losing all colour.
        blur: Probability of a Gaussian blur.
        blur_sigma: Its standard deviation is uniform between these, in pixels.
    """

    name: str
    version: int
    crop_scale: tuple[float, float]
    crop_ratio: tuple[float, float]
    flip: float
    jitter: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    grayscale: float
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)

    @property
    def n_uniforms(self) -> int:
        """How many uniform numbers decide a view."""
        return _UNIFORMS + (2 if self.blur else 0)

    @property
    def id(self) -> str:
        """Name and version in one word, as results and inferrers carry it."""
        return f"{self.name}@{self.version}"


ENCODERMI = Recipe(
    name="encodermi",
    version=1,
    crop_scale=(0.2, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    flip=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale=0.2,
)

_BLUR = Recipe(
    name="blur",
    version=1,
    crop_scale=(1.0, 1.0),
    crop_ratio=(1.0, 1.0),
    flip=0.0,
    jitter=0.0,
    brightness=ENCODERMI.brightness,
    contrast=ENCODERMI.contrast,
    saturation=ENCODERMI.saturation,
    hue=ENCODERMI.hue,
    grayscale=0.0,
    blur=0.5,
)
_BLUR_GRAY = replace(_BLUR, name="blur+gray", grayscale=ENCODERMI.grayscale)
_BLUR_GRAY_CROP = replace(
    _BLUR_GRAY,
    name="blur+gray+crop",
    crop_scale=ENCODERMI.crop_scale,
    crop_ratio=ENCODERMI.crop_ratio,
)
_BLUR_GRAY_CROP_FLIP = replace(_BLUR_GRAY_CROP, name="blur+gray+crop+flip", flip=ENCODERMI.flip)
_BLUR_GRAY_CROP_FLIP_JITTER = replace(
    _BLUR_GRAY_CROP_FLIP, name="blur+gray+crop+flip+jitter", jitter=ENCODERMI.jitter
)

OVERLAPS = (_BLUR, _BLUR_GRAY, _BLUR_GRAY_CROP, _BLUR_GRAY_CROP_FLIP, _BLUR_GRAY_CROP_FLIP_JITTER)
"""What the paper's Figure 3 pre-trains with: first nothing of what the inferrer's views have, then
one augmentation more at a time. The last is MoCo v2's own recipe."""

CLIP = replace(
    ENCODERMI,
    name="clip",
    version=1,
    crop_scale=(0.9, 1.0),
    flip=0.0,
    jitter=0.0,
    grayscale=0.0,
)
"""The random crop that an encoder trained as CLIP is saw of its pictures, and nothing else.
Source: open_clip's `AugmentationCfg` (scale 0.9 to 1.0, ratio 3/4 to 4/3)."""

MAE = replace(ENCODERMI, name="mae", version=1, jitter=0.0, grayscale=0.0)
"""What a masked autoencoder saw of its pictures. Source: He et al., "Masked Autoencoders Are
Scalable Vision Learners" (2022), and its main_pretrain.py (crop of 0.2 to 1.0, flip)."""

DINO = replace(
    ENCODERMI,
    name="dino",
    version=1,
    crop_scale=(0.4, 1.0),
    saturation=0.2,
    blur=1.0,
)
"""The first of DINO's global crops; the second is blurred less and solarised, others are smaller.
Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (2021), and its
`DataAugmentationDINO`."""

DINOV2 = replace(DINO, name="dinov2", crop_scale=(0.32, 1.0))
"""The same with larger changes of scale. Source: Oquab et al., "DINOv2" (2023), and the
`global_crops_scale` of its configurations."""

RECIPES = {recipe.id: recipe for recipe in (ENCODERMI, CLIP, MAE, DINO, DINOV2, *OVERLAPS)}


@dataclass(frozen=True, slots=True, eq=False)
class ViewParameters:
    """What changes in each view; every array begins with (n_images, n_views).

    Attributes:
        box: (…, 4) int64: top, left, height, width of the crop, in pixels.
        flip: (…) bool.
        jitter: (…) bool: whether the colour changes apply.
        factors: (…, 4) float32: brightness, contrast, saturation, hue shift.
        order: (…, 4) int64: which of those four comes first, second, …
        grayscale: (…) bool.
        blur: (…) bool.
        sigma: (…) float32: standard deviation of the blur, in pixels.
    """

    box: npt.NDArray[np.int64]
    flip: npt.NDArray[np.bool_]
    jitter: npt.NDArray[np.bool_]
    factors: npt.NDArray[np.float32]
    order: npt.NDArray[np.int64]
    grayscale: npt.NDArray[np.bool_]
    blur: npt.NDArray[np.bool_]
    sigma: npt.NDArray[np.float32]


def draw(
    image_ids: Sequence[str], recipe: Recipe, n_views: int, size_px: int, seed: int
) -> ViewParameters:
    """Parameters of n views of each image: a function of seed, content and recipe alone.

    Args:
        image_ids: SHA-256 of each image file, in hex.
        recipe: Ranges to draw from.
        n_views: Views an image, at least 1.
        size_px: Side of the square images that the crops are cut from.
        seed: The user's seed.
    """
    purpose = f"views/{recipe.id}"
    rows = [
        stream(seed, image_id, purpose).random((n_views, recipe.n_uniforms))
        for image_id in image_ids
    ]
    return interpret(np.stack(rows), recipe, size_px)


def draw_for_training(
    n_images: int, n_views: int, recipe: Recipe, size_px: int, generator: np.random.Generator
) -> ViewParameters:
    """Parameters for a training batch, from one generator for all of it."""
    return interpret(generator.random((n_images, n_views, recipe.n_uniforms)), recipe, size_px)


def interpret(uniforms: npt.NDArray[np.float64], recipe: Recipe, size_px: int) -> ViewParameters:
    """Uniform numbers in [0, 1), shape (…, recipe.n_uniforms) → what they mean under a recipe.

    Source: `RandomResizedCrop.get_params`, `ColorJitter.get_params` of torchvision: a crop's
    area is uniform, its ratio log-uniform, the first of ten draws that fits counts.
    """
    attempts = uniforms[..., : 4 * _CROP_ATTEMPTS].reshape(*uniforms.shape[:-1], -1, 4)
    rest = uniforms[..., 4 * _CROP_ATTEMPTS :]

    low, high = recipe.crop_scale
    area = (low + (high - low) * attempts[..., 0]) * size_px**2
    log_low, log_high = np.log(recipe.crop_ratio)
    ratio = np.exp(log_low + (log_high - log_low) * attempts[..., 1])
    width = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    height = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (width > 0) & (width <= size_px) & (height > 0) & (height <= size_px)
    first = fits.argmax(axis=-1)[..., None]
    # A square image with no attempt that fits is kept whole, as torchvision's fallback does.
    any_fits = fits.any(axis=-1)
    width = np.where(any_fits, np.take_along_axis(width, first, -1)[..., 0], size_px)
    height = np.where(any_fits, np.take_along_axis(height, first, -1)[..., 0], size_px)
    at_top = np.take_along_axis(attempts[..., 2], first, -1)[..., 0]
    at_left = np.take_along_axis(attempts[..., 3], first, -1)[..., 0]
    top = np.floor(at_top * (size_px - height + 1)).astype(np.int64)
    left = np.floor(at_left * (size_px - width + 1)).astype(np.int64)

    spread = np.array([recipe.brightness, recipe.contrast, recipe.saturation])
    factors = np.concatenate(
        [
            np.maximum(0, 1 - spread) + (1 + spread - np.maximum(0, 1 - spread)) * rest[..., 2:5],
            recipe.hue * (2 * rest[..., 5:6] - 1),
        ],
        axis=-1,
    )
    flip = rest[..., 0] < recipe.flip
    blur, sigma = np.zeros_like(flip), np.ones(flip.shape)
    if recipe.blur:
        blur = rest[..., 11] < recipe.blur
        least, most = recipe.blur_sigma
        sigma = least + (most - least) * rest[..., 12]
    return ViewParameters(
        box=np.stack([top, left, height, width], axis=-1),
        flip=flip,
        jitter=rest[..., 1] < recipe.jitter,
        factors=factors.astype(np.float32),
        order=rest[..., 6:10].argsort(axis=-1),
        grayscale=rest[..., 10] < recipe.grayscale,
        blur=blur,
        sigma=sigma.astype(np.float32),
    )


def make_views(images: Tensor, parameters: ViewParameters) -> Tensor:
    """All views of a batch of images at once, on the device of the images.

    Args:
        images: Shape (n_images, 3, size_px, size_px): uint8, or floating point in [0, 1].
        parameters: What changes in each view, drawn for this size.

    Returns:
        Shape (n_images, n_views, 3, size_px, size_px), float32 RGB in [0, 1].
    """
    import torch

    with torch.no_grad():
        views = _crop_resize_flip(to_unit_range(images), parameters)
        _change_colours(views, parameters)
        return views.reshape(*parameters.flip.shape, *views.shape[1:])


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 in [0, 255] → float32 in [0, 1]; floating point passes as float32."""
    import torch

    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(255)
    return images.to(torch.float32)


def _crop_resize_flip(images: Tensor, parameters: ViewParameters) -> Tensor:
    """Crop each view's box, resize it to the full side (bilinear), flip where asked.

    One `grid_sample` does all three. Coordinates are clamped to the box, not to the image, so
    that a border pixel never mixes with what lies outside the crop, as in torchvision.
    """
    import torch
    from torch.nn import functional

    size = images.shape[-1]
    box = send(parameters.box, images.device).to(torch.float32)
    top, left, height, width = (part.unsqueeze(-1) for part in box.unbind(-1))
    out = torch.arange(size, device=images.device, dtype=torch.float32) + 0.5
    ys = top + (out * height / size - 0.5).clamp(min=0).minimum(height - 1)
    xs = left + (out * width / size - 0.5).clamp(min=0).minimum(width - 1)
    flip = send(parameters.flip, images.device).unsqueeze(-1)
    xs = torch.where(flip, xs.flip(-1), xs)
    xs, ys = ((2 * pixels + 1) / size - 1 for pixels in (xs, ys))

    n_images, n_views = parameters.flip.shape
    shape = (n_images, n_views, size, size)
    grid = torch.stack([xs[:, :, None, :].expand(shape), ys[:, :, :, None].expand(shape)], dim=-1)
    copies = images.unsqueeze(1).expand(-1, n_views, -1, -1, -1).flatten(0, 1)
    return functional.grid_sample(copies, grid.flatten(0, 1), mode="bilinear", align_corners=False)


def _change_colours(views: Tensor, parameters: ViewParameters) -> None:
    """Jitter in each view's own order, then grayscale, then blur; in place."""
    changes = (_brightness, _contrast, _saturation, _hue)
    amounts = send(parameters.factors.reshape(-1, 4, 1, 1, 1), views.device)
    kinds = np.where(parameters.jitter[..., None], parameters.order, -1).reshape(-1, 4)
    for step in range(4):
        for which, change in enumerate(changes):
            index = _positions(kinds[:, step] == which, views.device)
            if len(index):
                part = views.index_select(0, index)
                change(part, amounts[:, which].index_select(0, index))
                views.index_copy_(0, index, part)
    index = _positions(parameters.grayscale.reshape(-1), views.device)
    if len(index):
        gray = _luma(views.index_select(0, index))
        views.index_copy_(0, index, gray.expand(-1, 3, -1, -1))
    index = _positions(parameters.blur.reshape(-1), views.device)
    if len(index):
        sigma = send(parameters.sigma.reshape(-1), views.device)
        views[index] = _blur(views[index], sigma[index])


def _positions(mask: npt.NDArray[np.bool_], on: device) -> Tensor:
    return send(np.flatnonzero(mask), on)


def _luma(rgb: Tensor) -> Tensor:
    red, green, blue = rgb.unbind(1)
    return (red * _GRAY[0]).add_(green * _GRAY[1]).add_(blue * _GRAY[2]).unsqueeze(1)


def _brightness(rgb: Tensor, factor: Tensor) -> None:
    rgb.mul_(factor).clamp_(0, 1)


def _contrast(rgb: Tensor, factor: Tensor) -> None:
    mean = _luma(rgb).mean(dim=(1, 2, 3), keepdim=True)
    rgb.mul_(factor).add_(mean * (1 - factor)).clamp_(0, 1)


def _saturation(rgb: Tensor, factor: Tensor) -> None:
    gray = _luma(rgb).mul_(1 - factor)
    rgb.mul_(factor).add_(gray).clamp_(0, 1)


def _blur(rgb: Tensor, sigma: Tensor) -> Tensor:
    """Each view with its own Gaussian, mirrored at the border: down the columns, then across.

    A blur and a flip may change places, so it does not matter that the flip came first.
    """
    import torch
    from torch.nn import functional

    radius = min(_BLUR_RADIUS, rgb.shape[-1] - 1)
    steps = torch.arange(-radius, radius + 1, device=rgb.device, dtype=rgb.dtype)
    weights = torch.exp(-0.5 * (steps / sigma[:, None]) ** 2)
    weights = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0)
    rows = rgb.reshape(1, -1, *rgb.shape[-2:])
    padded = functional.pad(rows, [radius] * 4, mode="reflect")
    n_rows = rows.shape[1]
    down = functional.conv2d(padded, weights[:, None, :, None], groups=n_rows)
    return functional.conv2d(down, weights[:, None, None, :], groups=n_rows).reshape(rgb.shape)


def _hue(rgb: Tensor, shift: Tensor) -> None:
    """Turn the hue by `shift` of a full circle, keeping value and chroma.

    Masks are numbers, 0 or 1, and `lerp` takes one side or the other, to the bit: on a CPU that is
    twenty times as fast as `where`, which branches pixel by pixel.
    """
    import torch

    red, green, blue = rgb.unbind(1)
    value = torch.maximum(red, green)
    torch.maximum(value, blue, out=value)
    chroma = torch.minimum(red, green)
    torch.sub(value, torch.minimum(chroma, blue, out=chroma), out=chroma)
    per_chroma = chroma.clamp(min=torch.finfo(torch.float32).tiny).reciprocal_()
    sixths = (red - green).mul_(per_chroma).add_(4)
    mask = torch.empty_like(value)
    part = torch.empty_like(value)
    torch.sub(blue, red, out=part).mul_(per_chroma).add_(2)
    sixths.lerp_(part, torch.eq(green, value, out=mask))
    torch.sub(green, blue, out=part).mul_(per_chroma)
    sixths.lerp_(part, torch.eq(red, value, out=mask)).add_(6 * shift.squeeze(1))
    # HSV → RGB without branches: each channel is value minus a clipped ramp of the hue.
    offsets = rgb.new_tensor([5.0, 3.0, 1.0]).view(3, 1, 1)
    ramps = torch.add(sixths.unsqueeze(1), offsets, out=rgb)
    scratch = torch.div(ramps, 6).floor_()
    ramps.addcmul_(scratch, rgb.new_tensor(-6.0))
    torch.sub(rgb.new_tensor(4.0), ramps, out=scratch)
    torch.minimum(ramps, scratch, out=ramps).clamp_(0, 1)
    torch.addcmul(value.unsqueeze(1), chroma.unsqueeze(1), ramps, value=-1, out=ramps)
