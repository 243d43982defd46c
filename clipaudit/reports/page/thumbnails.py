"""Scored pictures → small copies, and their views as the encoder saw them, as `data:` URIs.

A picture is read again, decoded once and shown only where it is still the one that was scored.
Decoding is done by processes that may crash. What comes out are pixels encoded anew, so nothing
else of a file gets through: no EXIF, no profile, no comment.

Where the run used the store, what is shown is kept there, some 40 kB a picture: another report
with these pictures reads and decodes none of them.
"""

from __future__ import annotations

import base64
import json
from bisect import insort
from dataclasses import asdict, dataclass, field
from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipaudit.features.optional_store import open_store
from clipaudit.features.views import RECIPES, draw, make_views
from clipaudit.pictures.base import BadImage, Frame, Limits
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.preparing import Wanted
from clipaudit.pictures.reading import content_id, read_file
from clipaudit.results.rows import ranking_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clipaudit.pictures.base import UInt8Array
    from clipaudit.pictures.preparing import Prepared
    from clipaudit.results.audit import Run
    from clipaudit.results.rows import Row

THUMBNAIL_PX = 208
VIEW_PX = 104
"""Longest side of what is shown; a smaller picture or view keeps its size."""

MOST_VIEWS = 10
"""Views of a picture that are shown: the first ten of thirty are the ten of a run with ten."""

FRAME = Frame(256, "lanczos")
"""Frame that thumbnails are made from."""
_MOST_INPUT_PX = 1024
_WORKERS = 2
_QUALITY = 78


@dataclass(frozen=True, slots=True)
class Drawing:
    """A small picture to put into a page.

    Attributes:
        uri: `data:image/webp;base64,…`
        width_px: Width of the small picture.
        height_px: Height of the small picture.
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


class Gallery:
    """The pictures at both ends of the ranking so far, decoded, so that a report can show them.

    Attributes:
        decoded: What a run made of them, by SHA-256.
        frame: Frame that they must have beside the encoder's.

    Args:
        n_pictures: Pictures at each end.
    """

    frame = FRAME

    def __init__(self, n_pictures: int) -> None:
        self._n_pictures = n_pictures
        self._most: list[tuple[float, str]] = []
        self._least: list[tuple[float, str]] = []
        self.decoded: dict[str, Prepared] = {}

    def offer(self, row: Row, picture: Prepared) -> None:
        """Keep a picture that was just scored, unless there are enough on either side of it.

        Args:
            row: Its first one.
            picture: With the frames of the encoder and `FRAME`.
        """
        if row.sha256 is None or row.sha256 in self.decoded:
            return
        key = ranking_key(row)
        insort(self._most, key)
        insort(self._least, key)
        self.decoded[row.sha256] = picture
        left_out = {*self._most[self._n_pictures :], *self._least[: -self._n_pictures or None]}
        del self._most[self._n_pictures :], self._least[: -self._n_pictures or None]
        for _, image_id in left_out.difference(self._most, self._least):
            self.decoded.pop(image_id)


def thumbnails(
    rows: Iterable[Row], run: Run, decoded: Mapping[str, Prepared] = MappingProxyType({})
) -> dict[str, Thumbnails]:
    """What can be shown of each picture, by its SHA-256.

    Args:
        rows: Scored ones; of those with one content, the first.
        run: The run whose encoder's input, recipe, number of views and seed make the views.
        decoded: What the run made of pictures, by SHA-256, if it was kept; see `Gallery`.

    Raises:
        EncoderError: The processes that decode do not start.
    """
    paths: dict[str, str] = {}
    for row in rows:
        if row.sha256:
            paths.setdefault(row.sha256, row.path)
    kind = _kind(run)
    with open_store(is_wanted=run.config.get("use_store") is True) as store:
        stored = store.get_looks(kind, [*paths])
        shown = {image_id: _unpack(look) for image_id, look in stored.items()}
        missing = {key: path for key, path in paths.items() if key not in stored}
        made = _make(missing, run, decoded)
        store.put_looks(
            kind, {image_id: _pack(look) for image_id, look in made.items() if look.picture}
        )
    return shown | made


def _kind(run: Run) -> str:
    """All that the looks of a picture depend on, beside the picture."""
    n_views = min(run.n_views, MOST_VIEWS)
    sizes = (THUMBNAIL_PX, VIEW_PX, *_encoder_frame(run))
    text = "/".join(map(str, (run.recipe, run.seed, n_views, *sizes)))
    # A stranger's result may name a recipe by what is no text, which no database takes.
    return text.encode(errors="backslashreplace").decode()


def _pack(look: Thumbnails) -> bytes:
    return json.dumps(asdict(look)).encode()


def _unpack(look: bytes) -> Thumbnails:
    fields = json.loads(look)
    return Thumbnails(
        Drawing(**fields["picture"]),
        tuple(fields["size"]),
        tuple(Drawing(**view) for view in fields["views"]),
        fields["note"],
    )


def _make(
    paths: Mapping[str, str], run: Run, decoded: Mapping[str, Prepared]
) -> dict[str, Thumbnails]:
    limits = _limits(run)
    frame, note = _frame_of_views(run)
    frames = dict.fromkeys((FRAME, frame) if frame else (FRAME,))
    pictures = {
        image_id: decoded[image_id]
        for image_id in paths
        if image_id in decoded and frames.keys() <= decoded[image_id].images.keys()
    }
    others = {image_id: path for image_id, path in paths.items() if image_id not in pictures}
    files, notes = _same_bytes(others, limits)
    more, broken = _decoded(files, Wanted(tuple(frames)), limits)
    pictures |= more
    shown = {image_id: Thumbnails(note=why) for image_id, why in (notes | broken).items()}
    for image_id, picture in pictures.items():
        views: Iterable[UInt8Array] = _views(image_id, picture.images[frame], run) if frame else ()
        shown[image_id] = Thumbnails(
            _thumbnail(picture),
            (picture.width_px, picture.height_px),
            tuple(_drawing(view, (VIEW_PX, VIEW_PX)) for view in views),
            note,
        )
    return shown


def _same_bytes(
    wanted: Mapping[str, str], limits: Limits
) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files that are as they were, and what is to be said of the others."""
    found, notes = {}, {}
    for image_id, path in wanted.items():
        try:
            data = read_file(path, limits)
        except BadImage as problem:
            notes[image_id] = (
                f"Not shown: the file cannot be read any more ({problem.explanation})."
            )
            continue
        if content_id(data) == image_id:
            found[image_id] = data
        else:
            notes[image_id] = "Not shown: the file has changed since it was scored."
    return found, notes


def _decoded(
    files: Mapping[str, bytes], wanted: Wanted, limits: Limits
) -> tuple[dict[str, Prepared], dict[str, str]]:
    decoded, notes = {}, {}
    if not files:
        return {}, {}
    with DecoderPool(min(_WORKERS, len(files)), limits) as pool:
        futures = {image_id: pool.submit(data, wanted) for image_id, data in files.items()}
        for image_id, future in futures.items():
            try:
                decoded[image_id] = future.result()
            except BadImage as problem:
                notes[image_id] = f"Not shown: {problem.explanation}."
    return decoded, notes


def _encoder_frame(run: Run) -> Frame:
    return Frame(run.encoder.input.size_px, run.encoder.input.interpolation)


def _frame_of_views(run: Run) -> tuple[Frame | None, str]:
    """What views are made from; or None, and why there are none."""
    frame = _encoder_frame(run)
    if not run.n_views:
        return None, ""
    if run.recipe not in RECIPES:
        return None, f"Its views are not shown: this version has no recipe {run.recipe}."
    if frame.size_px > _MOST_INPUT_PX:
        return None, f"Its views are not shown: they are larger than {_MOST_INPUT_PX} pixels."
    return frame, ""


def _views(image_id: str, image: UInt8Array, run: Run) -> UInt8Array:
    """The views of a picture, shape (n_views, size_px, size_px, 3)."""
    import torch

    n_views = min(run.n_views, MOST_VIEWS)
    changes = draw([image_id], RECIPES[run.recipe], n_views, len(image), run.seed)
    pixels = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    views = make_views(pixels, changes)[0].mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(views.permute(0, 2, 3, 1).numpy())


def _thumbnail(picture: Prepared) -> Drawing:
    """In the proportions of the file's picture, which decoding to a square does not keep."""
    longest = max(picture.width_px, picture.height_px)
    scale = min(1.0, THUMBNAIL_PX / longest)
    size = (max(1, round(scale * picture.width_px)), max(1, round(scale * picture.height_px)))
    return _drawing(picture.images[FRAME], size)


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
    """Those of the run, and the usual ones where they are lower: the result may be a stranger's."""
    usual = Limits()
    try:
        saved = Limits(**run.config.get("limits", {}))
        is_lower = saved.most_file_bytes < usual.most_file_bytes
        return Limits(
            min(usual.max_pixels, saved.max_pixels),
            saved.max_file_bytes if is_lower else usual.max_file_bytes,
            min(usual.decode_timeout_s, saved.decode_timeout_s),
        )
    except (TypeError, ValueError, AttributeError):
        return usual
