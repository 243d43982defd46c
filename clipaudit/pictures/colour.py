"""Colours of any kind → sRGB."""

from __future__ import annotations

from functools import cache, lru_cache
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from clipaudit.pictures.base import BadImage


def to_srgb(picture: Image.Image, notes: list[str]) -> Image.Image:
    """RGB from any mode without alpha, through the embedded profile where it fits."""
    if picture.mode in ("RGBX", "YCbCr", "HSV"):
        info = picture.info
        picture = picture.convert("RGB")
        picture.info.update(info)
    mode = picture.mode
    if mode not in ("L", "RGB", "CMYK", "LAB"):
        raise BadImage("unsupported", "its kind of pixels is not read")

    profile = picture.info.get("icc_profile")
    if profile:
        transform = _profile_transform(profile, mode)
        if transform == "broken":
            notes.append("unfit colour profile ignored")
        elif transform != "srgb":
            notes.append("colour profile converted to sRGB")
            return _apply(transform, picture)
    if mode == "LAB":
        notes.append("LAB converted to sRGB")
        return _apply(_lab_transform(), picture)
    if mode == "CMYK":
        notes.append("CMYK without a profile: colours approximate")
    return picture if mode == "RGB" else picture.convert("RGB")


def _apply(transform: ImageCms.ImageCmsTransform, picture: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(picture, transform)
    if converted is None:
        raise ValueError("a transform that is not in place gives a picture")
    return converted


@lru_cache(maxsize=8)
def _profile_transform(
    profile: bytes, mode: str
) -> ImageCms.ImageCmsTransform | Literal["srgb", "broken"]:
    """How a profile leads to sRGB; cached, because pictures of one camera share theirs."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space != {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}[mode]:
            return "broken"
        intent = ImageCms.Intent(ImageCms.getDefaultIntent(source))
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", intent)
        if mode in ("L", "RGB"):
            probe = _probe(mode)
            converted = np.asarray(_apply(transform, probe)).astype(np.int16)
            if np.abs(converted - np.asarray(probe.convert("RGB"))).max() <= 2:
                return "srgb"
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - lcms and its wrapper, on a stranger's bytes
        return "broken"
    return transform


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@cache
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _srgb(), "LAB", "RGB")


@cache
def _probe(mode: str) -> Image.Image:
    """Colours all over the space: every grey, or a lattice of nine steps a channel."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    return Image.fromarray(lattice.reshape(1, -1, 3))
