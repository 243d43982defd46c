"""A picture → numbers that no encoder had a part in: its image statistics.

Three looks at a picture: its file, the whole frame made small, and a patch of its own pixels from
the middle. The small frame shows colours, composition and seams whatever the size; only the patch
shows what resizing would wipe out: noise, sharpness, traces of compression.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log2
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clipaudit.pictures.base import UInt8Array
from clipaudit.pictures.headers import read_header

FloatArray = npt.NDArray[np.float64]

FRAME_PX = 64
"""Side of the small frame; the aspect is not kept."""
PATCH_PX = 256
"""Largest side of the patch."""
_LEAST_PX = 16
"""A smaller picture is continued by its border."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One number that `image_statistics` gives.

    Attributes:
        name: Name, for programs.
        words: Name for people, as in "the file size".
        unit: Unit and range.
    """

    name: str
    words: str
    unit: str


_FLAG = "0 or 1"
_LEVELS = "levels, 0 to 255"
_SHARE = "share, 0 to 1"
_OCTAVES = "log2 of a ratio; 0 is alike"
_CORRELATION = "correlation, -1 to 1"
_BANDS = ("the coarsest", "coarse", "middling", "fine", "the finest")

STATISTICS = (
    # --- the file
    Statistic("width", "the width", "log2 of pixels"),
    Statistic("height", "the height", "log2 of pixels"),
    Statistic("aspect", "the aspect", "log2 of width / height"),
    Statistic("file_size", "the file size", "log2 of bytes"),
    Statistic("file_density", "the bytes a pixel", "log2 of bytes / pixel"),
    Statistic("is_jpeg", "being a JPEG", _FLAG),
    Statistic("is_png", "being a PNG", _FLAG),
    Statistic("is_webp", "being a WebP", _FLAG),
    Statistic("jpeg_quality", "the JPEG quality", "1 to 100; 0 if no JPEG"),
    Statistic("jpeg_chroma", "the JPEG chroma subsampling", "pixels a colour; 0 if no JPEG"),
    Statistic("is_progressive", "being progressive or interlaced", _FLAG),
    Statistic("has_exif", "having EXIF data", _FLAG),
    Statistic("has_profile", "having a colour profile", _FLAG),
    Statistic("metadata_size", "the size of the metadata", "log2 of 1 + bytes"),
    # --- the small frame: colours
    Statistic("luma_mean", "the mean brightness", _LEVELS),
    Statistic("luma_sd", "the contrast", _LEVELS),
    Statistic("luma_skew", "the skew of the brightness", "skewness, cut at -5 and 5"),
    Statistic("luma_entropy", "the entropy of the brightness", "bits, 0 to 6"),
    Statistic("luma_5", "the darkest parts", "level of the 5th percentile"),
    Statistic("luma_95", "the brightest parts", "level of the 95th percentile"),
    Statistic("red_mean", "the mean of red minus green", "levels, -255 to 255"),
    Statistic("blue_mean", "the mean of blue minus yellow", "levels, -255 to 255"),
    Statistic("red_sd", "the spread of red minus green", _LEVELS),
    Statistic("blue_sd", "the spread of blue minus yellow", _LEVELS),
    Statistic("saturation_mean", "the mean saturation", _LEVELS),
    Statistic("saturation_sd", "the spread of the saturation", _LEVELS),
    Statistic("grey_share", "the share of grey", _SHARE),
    # --- the small frame: composition
    Statistic("seam_vertical", "the step at the middle column", _OCTAVES),
    Statistic("seam_horizontal", "the step at the middle row", _OCTAVES),
    Statistic("line_vertical", "the strongest vertical line", _OCTAVES),
    Statistic("line_horizontal", "the strongest horizontal line", _OCTAVES),
    Statistic("halves_left_right", "how colours differ left and right", _LEVELS),
    Statistic("halves_top_bottom", "how colours differ top and bottom", _LEVELS),
    Statistic("mirror_left_right", "the likeness of left and mirrored right", _CORRELATION),
    Statistic("mirror_top_bottom", "the likeness of top and mirrored bottom", _CORRELATION),
    Statistic("centre", "how the centre differs from the rest", "levels, -255 to 255"),
    Statistic("border_sd", "the unevenness of the border", "log2 of 1 + levels"),
    Statistic("border_step", "the step at the border", _OCTAVES),
    Statistic("frame_anisotropy", "the direction of coarse structure", "log2 of power, x / y"),
    *(
        Statistic(f"frame_band_{i}", f"{size} structure of the frame", "log2 of share of power")
        for i, size in enumerate(_BANDS)
    ),
    # --- the patch
    Statistic("edge_density", "the density of edges", _SHARE),
    Statistic("flat_share", "the share of flat ground", _SHARE),
    Statistic("colours", "the number of colours", "log2 of 32,768 bins in use"),
    Statistic("black_share", "the share of black", _SHARE),
    Statistic("white_share", "the share of white", _SHARE),
    Statistic("sharpness", "the sharpness", "log2 of 1 + variance of the Laplacian"),
    Statistic("noise", "the noise", "log2 of 1 + levels"),
    Statistic("blocks", "the edges of JPEG blocks", _OCTAVES),
    Statistic("anisotropy", "the direction of fine structure", "log2 of power, x / y"),
    Statistic("diagonality", "the share of diagonal structure", "log2 of share of power"),
    *(
        Statistic(f"band_{i}", f"{size} structure of the pixels", "log2 of share of power")
        for i, size in enumerate(_BANDS)
    ),
)
"""What `image_statistics` gives, in its order."""


def image_statistics(data: bytes, pixels: UInt8Array) -> FloatArray:
    """The image statistics of one picture, in the order of `STATISTICS`.

    Args:
        data: The file's bytes.
        pixels: Shape (height, width, 3), RGB, as `clipaudit.pictures.decoding.decode` gives them.

    Returns:
        Shape (len(STATISTICS),), finite; rounded to six decimals, so that what is the same in all
        pictures does not differ by the noise of the last digits.
    """
    colour = small_frame(pixels)
    luma = _luma(colour)
    patch = _patch(pixels)
    values = {
        **_of_file(data, pixels),
        **_of_colours(colour, luma),
        **_of_composition(colour, luma),
        **_of_spectrum(luma, "frame_"),
        **_of_patch(patch),
    }
    return np.round([values[statistic.name] for statistic in STATISTICS], 6)


def small_frame(pixels: UInt8Array) -> npt.NDArray[np.float32]:
    """The whole picture at FRAME_PX × FRAME_PX, float32, in levels."""
    from PIL import Image

    # Of a large picture every so many pixels will do: some 64 or more still make one of the frame.
    stride = max(1, min(pixels.shape[:2]) // (8 * FRAME_PX))
    sample = np.ascontiguousarray(pixels[::stride, ::stride])
    # Averages of whole blocks keep a step in the middle sharp; where there are fewer pixels than
    # blocks they would make steps of their own.
    is_large = min(sample.shape[:2]) >= FRAME_PX
    how = Image.Resampling.BOX if is_large else Image.Resampling.BILINEAR
    frame = Image.fromarray(sample).resize((FRAME_PX, FRAME_PX), how)
    return np.asarray(frame, dtype=np.float32)


def _patch(pixels: UInt8Array) -> UInt8Array:
    """At most PATCH_PX a side from the middle, starting at a multiple of 8 as JPEG blocks do."""
    height, width = pixels.shape[:2]
    top = max(0, height - PATCH_PX) // 16 * 8
    left = max(0, width - PATCH_PX) // 16 * 8
    patch = pixels[top : top + PATCH_PX, left : left + PATCH_PX]
    missing = [(0, max(0, _LEAST_PX - side)) for side in patch.shape[:2]]
    return np.pad(patch, [*missing, (0, 0)], mode="edge") if np.any(missing) else patch


def _luma(colour: npt.NDArray[np.float32] | UInt8Array) -> npt.NDArray[np.float32]:
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return colour.astype(np.float32, copy=False) @ weights


def _of_file(data: bytes, pixels: UInt8Array) -> dict[str, float]:
    header = read_header(data)
    height, width = pixels.shape[:2]
    return {
        "width": log2(width),
        "height": log2(height),
        "aspect": log2(width / height),
        "file_size": log2(max(1, len(data))),
        "file_density": log2(max(1, len(data)) / (width * height)),
        "is_jpeg": header.format == "JPEG",
        "is_png": header.format == "PNG",
        "is_webp": header.format == "WebP",
        "jpeg_quality": header.jpeg_quality,
        "jpeg_chroma": header.chroma,
        "is_progressive": header.is_progressive,
        "has_exif": header.has_exif,
        "has_profile": header.has_profile,
        "metadata_size": log2(1 + header.metadata_bytes),
    }


def _of_colours(colour: npt.NDArray[np.float32], luma: npt.NDArray[np.float32]) -> dict[str, float]:
    red_green = colour[..., 0] - colour[..., 1]
    blue_yellow = colour[..., 2] - (colour[..., 0] + colour[..., 1]) / 2
    saturation = colour.max(axis=-1) - colour.min(axis=-1)
    mean, sd = float(luma.mean()), float(luma.std())
    dark, bright = np.percentile(luma, [5, 95])
    shares = np.bincount((luma.ravel() / 4).astype(np.int64), minlength=64) / luma.size
    shares = shares[shares > 0]
    return {
        "luma_mean": mean,
        "luma_sd": sd,
        "luma_skew": float(np.clip(((luma - mean) ** 3).mean() / max(sd, 1) ** 3, -5, 5)),
        "luma_entropy": float(-(shares * np.log2(shares)).sum()),
        "luma_5": float(dark),
        "luma_95": float(bright),
        "red_mean": float(red_green.mean()),
        "blue_mean": float(blue_yellow.mean()),
        "red_sd": float(red_green.std()),
        "blue_sd": float(blue_yellow.std()),
        "saturation_mean": float(saturation.mean()),
        "saturation_sd": float(saturation.std()),
        "grey_share": float((saturation < 4).mean()),
    }


def _of_composition(
    colour: npt.NDArray[np.float32], luma: npt.NDArray[np.float32]
) -> dict[str, float]:
    half = FRAME_PX // 2
    # Over two pixels, so that a step that was blurred a little is one step still.
    coarse = colour.reshape(half, 2, half, 2, 3).mean(axis=(1, 3))
    seam_vertical, line_vertical = _steps(coarse)
    seam_horizontal, line_horizontal = _steps(coarse.swapaxes(0, 1))
    means = [part.mean(axis=(0, 1)) for part in (colour[:, :half], colour[:, half:])]
    heights = [part.mean(axis=(0, 1)) for part in (colour[:half], colour[half:])]
    quarter = FRAME_PX // 4
    centre = luma[quarter:-quarter, quarter:-quarter]
    border, next_to_it, within = (_ring(luma, depth) for depth in range(3))
    return {
        "seam_vertical": seam_vertical,
        "seam_horizontal": seam_horizontal,
        "line_vertical": line_vertical,
        "line_horizontal": line_horizontal,
        "halves_left_right": float(np.abs(means[0] - means[1]).mean()),
        "halves_top_bottom": float(np.abs(heights[0] - heights[1]).mean()),
        "mirror_left_right": _correlation(luma[:, :half], luma[:, : half - 1 : -1]),
        "mirror_top_bottom": _correlation(luma[:half], luma[: half - 1 : -1]),
        "centre": float(centre.mean() - luma.mean()),
        "border_sd": log2(1 + float(border.std())),
        "border_step": _octaves(
            float(np.abs(border - next_to_it).mean()), float(np.abs(next_to_it - within).mean())
        ),
    }


def _ring(luma: npt.NDArray[np.float32], depth_px: int) -> npt.NDArray[np.float32]:
    """The pixels so far inside the border, side by side with those of other rings; no corners."""
    near, far, along = depth_px, -1 - depth_px, slice(3, -3)
    sides = ((near, along), (far, along), (along, near), (along, far))
    return np.concatenate([luma[side] for side in sides])


def _steps(picture: npt.NDArray[np.float32]) -> tuple[float, float]:
    """How much stronger than usual the middle step between columns is, and the strongest one.

    The strongest is looked for away from the border, and counts by its median over rows: a line
    runs through, an object does not.
    """
    steps = np.abs(np.diff(picture, axis=1)).mean(axis=-1)  # (rows, columns - 1)
    middle = steps.shape[1] // 2
    usual = float(np.median(steps.mean(axis=0)))
    seam = _octaves(float(steps[:, middle].mean()), usual)
    through = np.median(steps, axis=0)
    line = _octaves(float(through[2:-2].max()), float(np.median(through)))
    return seam, line


def _octaves(step: float, usual: float) -> float:
    """log2 of the ratio of two differences in levels; a level is added, so that flat is alike."""
    return log2((step + 1) / (usual + 1))


def _correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / size if size > 1 else 0.0


def _of_patch(patch: UInt8Array) -> dict[str, float]:
    luma = _luma(patch)
    right, down = np.diff(luma, axis=1), np.diff(luma, axis=0)
    gradient = np.abs(right[:-1]) + np.abs(down[:, :-1])
    inner = luma[1:-1, 1:-1]
    cross = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    corners = luma[:-2, :-2] + luma[:-2, 2:] + luma[2:, :-2] + luma[2:, 2:]
    # Immerkær (1996), "Fast noise variance estimation": a mask that is blind to smooth ground.
    noise = np.sqrt(np.pi / 2) / 6 * np.abs(4 * inner - 2 * cross + corners).mean()
    bins = (patch >> 3).astype(np.int32)
    colours = np.bincount((bins[..., 0] << 10 | bins[..., 1] << 5 | bins[..., 2]).ravel())
    return {
        "edge_density": float((gradient > 32).mean()),
        "flat_share": float((gradient < 1).mean()),
        "colours": log2(int(np.count_nonzero(colours))),
        "black_share": float((luma < 4).mean()),
        "white_share": float((luma > 251).mean()),
        "sharpness": log2(1 + float((cross - 4 * inner).var())),
        "noise": log2(1 + float(noise)),
        "blocks": (_block_edges(right) + _block_edges(down.T)) / 2,
        **_of_spectrum(luma, ""),
    }


def _block_edges(steps: npt.NDArray[np.float32]) -> float:
    """How much stronger steps are where a JPEG's blocks of 8 × 8 meet than beside it."""
    strength = np.abs(steps).mean(axis=0)
    at, between = strength[7::8], np.concatenate([strength[6::8], strength[8::8]])
    return log2((float(at.mean()) + 0.1) / (float(between.mean()) + 0.1)) if len(at) else 0.0


def _of_spectrum(luma: npt.NDArray[np.float32], prefix: str) -> dict[str, float]:
    """How the power is spread over frequencies, as shares of all but the mean.

    Bands are octaves: the finest from half of the highest frequency to itself, the next one half
    of that, … The highest of all, beyond what one row can hold, are diagonal.
    """
    centred = luma - luma.mean()
    window = np.outer(np.hanning(luma.shape[0] + 2)[1:-1], np.hanning(luma.shape[1] + 2)[1:-1])
    band, is_across, is_down, weight = _frequencies(*luma.shape)
    power = weight * np.abs(np.fft.rfft2(centred * window)) ** 2
    sums = np.bincount(band.ravel(), weights=power.ravel(), minlength=6)
    floor = 1e-3 * luma.size  # below a hundredth of a level: as good as nothing
    total = power.sum() + floor
    across, down = power[is_across].sum() + floor, power[is_down].sum() + floor
    values = {f"{prefix}band_{i}": log2((sums[i] + 1e-6 * total) / total) for i in range(5)}
    values[f"{prefix}anisotropy"] = log2(across / down)
    if not prefix:
        values["diagonality"] = log2((sums[5] + 1e-6 * total) / total)
    return values


class _Frequencies(NamedTuple):
    """What is known of each frequency of a real transform, shape (height, width // 2 + 1).

    Attributes:
        band: 0 coarsest, 4 finest, 5 beyond.
        is_across: Whether it runs along x rather than diagonally.
        is_down: Whether it runs along y.
        weight: 2 where it stands for its mirror image too, which a real transform leaves out.
    """

    band: npt.NDArray[np.int64]
    is_across: npt.NDArray[np.bool_]
    is_down: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]


@lru_cache(maxsize=64)
def _frequencies(height: int, width: int) -> _Frequencies:
    down = np.abs(np.fft.fftfreq(height))[:, None]
    across = np.fft.rfftfreq(width)[None]
    # A frequency of one half is the highest that a row can hold.
    octave = np.log2(np.maximum(np.hypot(down, across), 1e-9) * 2)
    band = np.clip(np.ceil(octave) + 4, 0, 5).astype(np.int64)
    weight = np.where((across == 0) | (across == 0.5), 1.0, 2.0)
    return _Frequencies(band, across > 2 * down, down > 2 * across, weight)
