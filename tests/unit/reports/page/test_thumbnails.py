import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipaudit.features.embedder import ViewMaker
from clipaudit.features.views import ENCODERMI
from clipaudit.pictures.base import Frame, Limits
from clipaudit.pictures.preparing import Wanted, prepare
from clipaudit.pictures.reading import content_id
from clipaudit.reports.page.thumbnails import FRAME, MOST_VIEWS, Gallery, thumbnails
from clipaudit.results.audit import Audit
from tests.made.audits import ENCODER, run, scored

SECRET = "52.5163 N, 13.3777 E, taken by Ana"


def saved(folder, size=(120, 90), name="a.jpg", **saving):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    path = folder / name
    Image.fromarray(pixels).save(path, **saving)
    return replace(scored(str(path)), sha256=content_id(path.read_bytes()))


def a_run(size_px=32, **changes):
    image = replace(ENCODER.input, size_px=size_px)
    return run(encoder=replace(ENCODER, input=image), recipe=ENCODERMI.id, **changes)


def content(drawing):
    kind, _, encoded = drawing.uri.partition(",")
    assert kind == "data:image/webp;base64"
    return base64.b64decode(encoded)


def opened(drawing):
    with Image.open(io.BytesIO(content(drawing))) as image:
        assert image.size == (drawing.width_px, drawing.height_px)
        return image.convert("RGB"), image.info


@pytest.mark.parametrize("seed", [0, 7])
def test_the_views_are_the_very_ones_that_the_encoder_saw(tmp_path, seed):
    row = saved(tmp_path)
    look = thumbnails([row], a_run(seed=seed))[row.sha256]
    frame = Frame(32, "bicubic")
    data = (tmp_path / "a.jpg").read_bytes()
    picture = prepare(data, Wanted((frame,)), Limits()).images[frame]
    make = ViewMaker(ENCODERMI, 10, seed)
    seen = make([row.sha256], picture.transpose(2, 0, 1)[None].copy(), torch.device("cpu"))[0, :10]
    expected = (seen * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    got = np.stack([np.asarray(opened(view)[0]) for view in look.views])
    np.testing.assert_array_equal(got, expected)


def test_of_many_views_the_first_ten_are_shown(tmp_path):
    row = saved(tmp_path)
    few, many = (thumbnails([row], a_run(n_views=n))[row.sha256].views for n in (10, 30))
    assert len(many) == MOST_VIEWS
    assert many == few
    assert len(thumbnails([row], a_run(n_views=3))[row.sha256].views) == 3


def test_nothing_of_the_file_but_its_pixels_gets_through(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = SECRET
    exif[0x9286] = SECRET
    row = saved(tmp_path, exif=exif, comment=SECRET.encode())
    assert SECRET.encode() in (tmp_path / "a.jpg").read_bytes()
    look = thumbnails([row], a_run())[row.sha256]
    for drawing in (look.picture, *look.views):
        assert b"Ana" not in content(drawing)
        _, info = opened(drawing)
        assert not {"exif", "icc_profile", "xmp", "comment"} & info.keys()


@pytest.mark.parametrize(
    ("size", "shown"),
    [((800, 200), (208, 52)), ((200, 800), (52, 208)), ((30, 20), (30, 20)), ((3000, 1), (208, 1))],
)
def test_a_thumbnail_keeps_the_proportions_of_the_picture(tmp_path, size, shown):
    row = saved(tmp_path, size, "a.png")
    look = thumbnails([row], a_run())[row.sha256]
    assert look.size == size
    assert opened(look.picture)[0].size == shown


def test_what_cannot_be_shown_has_a_note(tmp_path):
    row = saved(tmp_path)
    bomb = a_run(config={"limits": {"max_pixels": 100}})
    look = thumbnails([row], bomb)[row.sha256]
    assert (look.picture, look.views) == (None, ())
    assert "more than 100 pixels" in look.note
    large = thumbnails([row], a_run(size_px=4096))[row.sha256]
    assert large.picture is not None
    assert "larger than 1024 pixels" in large.note


def test_what_a_run_with_a_store_shows_once_is_shown_again_without_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    row = saved(tmp_path)
    stored = a_run(config={"use_store": True})
    shown = thumbnails([row], stored)
    (tmp_path / "a.jpg").unlink()
    assert thumbnails([row], stored) == shown
    assert thumbnails([row], replace(stored, seed=1))[row.sha256].picture is None
    assert thumbnails([row], a_run())[row.sha256].picture is None


def prepared(row):
    data = Path(row.path).read_bytes()
    return prepare(data, Wanted((FRAME, Frame(32, "bicubic"))), Limits())


def test_what_the_run_decoded_is_shown_without_its_file(tmp_path):
    row = saved(tmp_path)
    decoded = {row.sha256: prepared(row)}
    shown = thumbnails([row], a_run())
    (tmp_path / "a.jpg").unlink()
    assert thumbnails([row], a_run(), decoded) == shown


@pytest.mark.parametrize("n_pictures", [0, 1, 3, 20])
def test_a_gallery_keeps_both_ends_of_the_ranking(tmp_path, n_pictures):
    picture = prepared(saved(tmp_path))
    scores = np.random.default_rng(0).integers(0, 8, 12) / 8
    rows = [
        replace(scored(f"{number}.jpg", ()), sha256=f"{number:064x}", mean_similarity=score)
        for number, score in enumerate(scores)
    ]
    gallery = Gallery(n_pictures)
    for row in (*rows, rows[0]):
        gallery.offer(row, picture)
    run = replace(a_run(), inferrers=())
    ids = [row.sha256 for row in Audit(run, tuple(rows)).ranked()]
    ends = {*ids[:n_pictures], *ids[max(0, len(ids) - n_pictures) :]}
    assert gallery.decoded.keys() == ends


def test_a_recipe_whose_name_is_no_text_is_no_trouble(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path))
    audit = Audit(replace(run(), recipe="\udcff@1", config={"use_store": True}), (scored("a.png"),))
    assert set(thumbnails(audit.scored, audit.run)) == {audit.scored[0].sha256}
