import numpy as np
import pytest

from clipaudit.pictures.image_statistics import small_frame
from clipaudit.pictures.random_embedding import DIM, random_embedding
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture


def drawn(number, size_px=80):
    return draw_picture(stream(0, str(number), "test"), size_px)


def slow_embedding(pixels):
    """Patch by patch, filter by filter."""
    weights = stream(0, "filters", "random embedding").normal(size=(108, 64))
    weights /= np.sqrt((weights**2).sum(axis=0))
    frame = small_frame(pixels).astype(float)
    sums = np.zeros((2, 2, 64))
    for row in range(30):
        for column in range(30):
            patch = frame[2 * row : 2 * row + 6, 2 * column : 2 * column + 6].ravel()
            patch = patch - patch.mean()
            patch = patch / np.sqrt((patch**2).mean() + 10)
            sums[row // 15, column // 15] += np.maximum(weights.T @ patch, 0)
    return sums.ravel() / 225


@pytest.mark.parametrize("number", range(3))
def test_agrees_with_the_definition(number):
    embedding = random_embedding(drawn(number))
    assert embedding.shape == (DIM,)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, slow_embedding(drawn(number)), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (900, 64)])
def test_every_size_gives_finite_numbers(shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.isfinite(random_embedding(noise)).all()


def test_brightness_hardly_matters_and_flat_ground_says_nothing():
    dim = np.clip(drawn(1), 60, 180)
    unlike = np.linalg.norm(random_embedding(dim) - random_embedding(drawn(2)))
    assert np.linalg.norm(random_embedding(dim) - random_embedding(dim + 30)) < 0.1 * unlike
    assert not random_embedding(np.full((64, 64, 3), 77, dtype=np.uint8)).any()


def test_the_region_that_changes_is_the_one_that_shows():
    pixels = drawn(3, 64)
    changed = pixels.copy()
    changed[40:56, 8:24] = 255 - changed[40:56, 8:24]  # below on the left
    moved = np.abs(random_embedding(changed) - random_embedding(pixels)).reshape(2, 2, 64).sum(-1)
    assert moved[1, 0] > 0.1
    assert moved.sum() == moved[1, 0]
