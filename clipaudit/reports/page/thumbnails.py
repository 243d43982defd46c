"""Scored pictures → small copies, and their views as the encoder saw them, as `data:` URIs.

Every picture is read again and shown only where it is still the one that was scored. Decoding is
done by processes that may crash. What comes out are pixels encoded anew, so nothing else of a file
gets through: no EXIF, no profile, no comment.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clipaudit.features.views import RECIPES, draw, make_views
from clipaudit.pictures.base import BadImage, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.reading import content_id, read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from clipaudit.pictures.base import Interpolation, UInt8Array
    from clipaudit.pictures.decoding import Prepared
    from clipaudit.results.audit import Row, Run

THUMBNAIL_PX = 208
VIEW_PX = 104
"""Longest side of what is shown; a smaller picture or view keeps its size."""

MOST_VIEWS = 10
"""Of a picture. The first ten of thirty views are the ten views of a run with ten."""

_DECODED_PX = 256
_MOST_INPUT_PX = 1024
_WORKERS = 2
_QUALITY = 78


@dataclass(frozen=True, slots=True)
class Drawing:
    """A small picture to put into a page.

    Attributes:
        uri: `data:image/webp;base64,…`
        width_px: Of the small picture.
        height_px: The same.
    """

    uri: str = field(repr=False)
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """One picture to look at.

    Attributes:
        picture: None where it cannot be shown.
        size: Width and height of the file's picture in pixels.
        views: The first `MOST_VIEWS` of those that the encoder saw; empty where they cannot be
            made.
        note: Why something is missing; empty where nothing is.
    """

    picture: Drawing | None = None
    size: tuple[int, int] | None = None
    views: tuple[Drawing, ...] = ()
    note: str = ""


def thumbnails(rows: Iterable[Row], run: Run) -> dict[str, Thumbnails]:
    """What can be shown of each picture, by its SHA-256.

    Args:
        rows: Scored ones; of those with one content, the first.
        run: Where the views come from: its encoder's input, recipe, number of views and seed.

    Raises:
        EncoderError: The processes that decode do not start.
    """
    wanted: dict[str, str] = {}
    for row in rows:
        if row.sha256:
            wanted.setdefault(row.sha256, row.path)
    limits = _limits(run)
    found, notes = _same_bytes(wanted, limits)
    shown = {one: Thumbnails(note=note) for one, note in notes.items()}
    pictures, broken = _decoded(found, _DECODED_PX, "lanczos", limits)
    shown |= {one: Thumbnails(note=note) for one, note in broken.items()}
    views, note = _views(found, run, limits)
    for one, picture in pictures.items():
        shown[one] = Thumbnails(
            _thumbnail(picture),
            (picture.width_px, picture.height_px),
            tuple(_drawing(view, (VIEW_PX, VIEW_PX)) for view in views.get(one, ())),
            note,
        )
    return shown


def _same_bytes(
    wanted: Mapping[str, str], limits: Limits
) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files that are as they were, and what is to be said of the others."""
    found, notes = {}, {}
    for one, path in wanted.items():
        try:
            data = read_file(path, limits)
        except BadImage as problem:
            notes[one] = f"Not shown: the file cannot be read any more ({problem.explanation})."
            continue
        if content_id(data) == one:
            found[one] = data
        else:
            notes[one] = "Not shown: the file has changed since it was scored."
    return found, notes


def _decoded(
    found: Mapping[str, bytes], size_px: int, interpolation: Interpolation, limits: Limits
) -> tuple[dict[str, Prepared], dict[str, str]]:
    decoded, notes = {}, {}
    if not found:
        return {}, {}
    with DecoderPool(min(_WORKERS, len(found)), size_px, interpolation, limits) as pool:
        for one, future in [(one, pool.submit(data)) for one, data in found.items()]:
            try:
                decoded[one] = future.result()
            except BadImage as problem:
                notes[one] = f"Not shown: {problem.explanation}."
    return decoded, notes


def _views(
    found: Mapping[str, bytes], run: Run, limits: Limits
) -> tuple[dict[str, Iterator[UInt8Array]], str]:
    """The views of each picture, each of shape (size_px, size_px, 3); and why there are none."""
    if not found:
        return {}, ""
    recipe = RECIPES.get(run.recipe)
    image: dict[str, Any] = run.encoder["input"]
    if recipe is None:
        return {}, f"Its views are not shown: this version has no recipe {run.recipe}."
    if image["size_px"] > _MOST_INPUT_PX:
        return {}, f"Its views are not shown: they are larger than {_MOST_INPUT_PX} pixels."
    import torch

    decoded, _ = _decoded(found, image["size_px"], image["interpolation"], limits)
    n_views = min(run.n_views, MOST_VIEWS)
    views: dict[str, Iterator[UInt8Array]] = {}
    for one, picture in decoded.items():
        changes = draw([one], recipe, n_views, image["size_px"], run.seed)
        pixels = torch.from_numpy(picture.image.transpose(2, 0, 1)[None].copy())
        made = make_views(pixels, changes)[0].mul(255).round().to(torch.uint8)
        views[one] = iter(np.ascontiguousarray(made.permute(0, 2, 3, 1).numpy()))
    return views, ""


def _thumbnail(picture: Prepared) -> Drawing:
    """In the proportions of the file's picture, which decoding to a square does not keep."""
    longest = max(picture.width_px, picture.height_px)
    scale = min(1.0, THUMBNAIL_PX / longest)
    size = (max(1, round(scale * picture.width_px)), max(1, round(scale * picture.height_px)))
    return _drawing(picture.image, size)


def _drawing(pixels: UInt8Array, most: tuple[int, int]) -> Drawing:
    image = Image.fromarray(pixels)
    size = (min(most[0], image.width), min(most[1], image.height))
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = BytesIO()
    # Few pixels cost nothing, and every one of them is seen.
    image.save(file, "WEBP", lossless=max(size) <= 64, quality=_QUALITY, method=6)
    encoded = base64.b64encode(file.getvalue()).decode()
    return Drawing(f"data:image/webp;base64,{encoded}", *size)


def _limits(run: Run) -> Limits:
    """Those of the run, so that what could be scored can be shown."""
    try:
        return Limits(**run.config.get("limits", {}))
    except (TypeError, ValueError):
        return Limits()
