import gc
import logging
import weakref

import numpy as np
import pytest
import torch

from clipaudit.encoders.base import EncoderInfo, InputSpec
from clipaudit.encoders.loaded import is_out_of_memory
from clipaudit.errors import EncoderError
from clipaudit.features.embedder import Embedder, ViewMaker, usable
from clipaudit.features.embeddings import Embeddings
from clipaudit.features.signals import measure
from clipaudit.features.views import ENCODERMI, draw, make_views, to_unit_range

SIDE, DIM, N_VIEWS = 16, 8, 4
SPEC = InputSpec(SIDE, (0.5,) * 3, (0.5,) * 3, "bicubic")
SHORT = {
    "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "windows": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    "onnx": RuntimeError("[ONNXRuntimeError] : 6 : bad_alloc: Failed to allocate memory for 9"),
    "python": MemoryError(),
}


class Short:
    """An encoder that has room for so many views at once."""

    def __init__(self, room=10**9, error=None):
        self.room = room
        self.error = error
        self.calls = []
        self.device = torch.device("cpu")
        self.info = EncoderInfo("short", "embedding", SPEC, DIM, "f" * 64, "torch", "cpu")
        self.weights = torch.randn(
            3 * SIDE**2, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )

    def embed(self, views):
        self.calls.append(len(views))
        if len(views) > self.room:
            raise self.error or torch.OutOfMemoryError("CUDA out of memory.")
        return (views.flatten(1).double() @ self.weights).float()


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (5, 3, SIDE, SIDE), dtype=np.uint8)


IDS = [f"{number:064x}" for number in range(5)]


def embed(encoder, images, ids=IDS):
    return Embedder(encoder, ENCODERMI, N_VIEWS, seed=7)(ids, images)


def test_views_and_the_image_itself_are_embedded_in_order(images):
    encoder = Short()
    made = embed(encoder, images)
    assert made.image_ids == tuple(IDS)
    assert made.views.shape == (5, N_VIEWS, DIM)
    assert made.plain.shape == (5, DIM)
    assert encoder.calls == [25]
    pixels = torch.from_numpy(images)
    for index in range(5):
        changes = draw(IDS[index : index + 1], ENCODERMI, N_VIEWS, SIDE, 7)
        views = make_views(pixels[index : index + 1], changes)[0]
        np.testing.assert_allclose(made.views[index], encoder.embed(views), atol=1e-5)
        plain = encoder.embed(to_unit_range(pixels[index : index + 1]))[0]
        np.testing.assert_allclose(made.plain[index], plain, atol=1e-5)


@pytest.mark.parametrize("room", [25, 24, 12, 5, 4, 1])
@pytest.mark.parametrize("kind", SHORT)
def test_short_memory_halves_the_batch_and_changes_no_embedding(images, caplog, room, kind):
    encoder = Short(room, SHORT[kind])
    with caplog.at_level(logging.WARNING):
        made = embed(encoder, images)
    expected = embed(Short(), images)
    np.testing.assert_allclose(made.views, expected.views, atol=1e-5)
    np.testing.assert_allclose(made.plain, expected.plain, atol=1e-5)
    worked = [n for n in encoder.calls if n <= room]
    assert sum(worked) == 25  # what was done was not done again
    failed = [n for n in encoder.calls if n > room]
    assert failed == [n for n in (25, 10, 5, 2) if n > room][: len(failed)]
    assert len(caplog.records) == len(failed)
    assert ("out of memory with 25 views at once, going on with 12" in caplog.text) == (room < 25)


def test_a_smaller_batch_is_remembered(images):
    encoder = Short(room=7)
    embedder = Embedder(encoder, ENCODERMI, N_VIEWS, seed=7)
    embedder(IDS, images)
    encoder.calls.clear()
    embedder(IDS, images)
    assert max(encoder.calls) <= 7
    assert sum(encoder.calls) == 25


def test_encoders_that_share_a_view_maker_see_views_that_are_made_once(images, monkeypatch):
    import clipaudit.features.embedder as module

    n_made = 0

    def counted(pixels, changes):
        nonlocal n_made
        n_made += 1
        return make_views(pixels, changes)

    monkeypatch.setattr(module, "make_views", counted)
    maker = ViewMaker(ENCODERMI, N_VIEWS, seed=7, keep_last=True)
    both = [Embedder(Short(), ENCODERMI, N_VIEWS, 7, maker) for _ in range(2)]
    for some in (slice(0, 3), slice(3, 5)):
        first, second = (embedder(IDS[some], images[some]) for embedder in both)
        np.testing.assert_array_equal(first.views, second.views)
        np.testing.assert_array_equal(first.views, embed(Short(), images[some], IDS[some]).views)
    assert n_made == 2 + 2  # once a batch for both, and once for what they are compared with


def test_an_encoder_alone_keeps_no_views(images):
    maker = ViewMaker(ENCODERMI, N_VIEWS, seed=7)
    made = weakref.ref(maker(IDS, images, torch.device("cpu")))
    gc.collect()
    assert made() is None


def test_what_is_kept_is_given_back_where_memory_is_short(images):
    maker = ViewMaker(ENCODERMI, N_VIEWS, seed=7, keep_last=True)
    made = weakref.ref(maker(IDS, images, torch.device("cpu")))
    assert made() is not None
    Embedder(Short(room=7), ENCODERMI, N_VIEWS, 7, maker)(IDS, images)
    gc.collect()
    assert made() is None
    assert not maker.keep_last


def test_making_the_views_may_be_what_needs_too_much(images, monkeypatch):
    """On a graphics card the views of a batch can be larger than the encoder's own needs."""
    import clipaudit.features.embedder as module

    def tight(pixels, changes):
        if len(pixels) > 2:
            raise SHORT["torch"]
        return make_views(pixels, changes)

    monkeypatch.setattr(module, "make_views", tight)
    made = embed(Short(), images)
    monkeypatch.undo()
    np.testing.assert_allclose(made.views, embed(Short(), images).views, atol=1e-5)


def test_not_even_one_view_is_an_error_that_says_so(images):
    encoder = Short(room=0)
    with pytest.raises(EncoderError, match="not even one view") as caught:
        embed(encoder, images)
    assert "--device cpu" in caught.value.hint
    assert encoder.calls == [25, 10, 5, 2, 1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_takes_what_one_image_lets_expect_to_fit(images, caplog):
    """All of its memory but a little is taken; a batch that would have failed is split."""

    class Large(Short):
        """An encoder that needs 256 MiB a view."""

        def embed(self, views):
            room = torch.empty(len(views) << 28, dtype=torch.uint8, device=views.device)
            embeddings = super().embed(views)
            del room
            return embeddings

    encoder = Large()
    encoder.device = torch.device("cuda:0")
    encoder.weights = encoder.weights.to(encoder.device)
    free, _ = torch.cuda.mem_get_info(encoder.device)
    taken = torch.empty(free - (4 << 30), dtype=torch.uint8, device=encoder.device)
    with caplog.at_level(logging.WARNING):
        made = embed(encoder, images)
    del taken
    torch.cuda.empty_cache()
    assert not caplog.records
    assert encoder.calls[0] == N_VIEWS + 1
    assert max(encoder.calls[1:]) < 16
    np.testing.assert_allclose(made.views, embed(Short(), images).views, atol=1e-4)


def test_other_errors_are_not_taken_for_short_memory(images):
    encoder = Short(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        embed(encoder, images)
    assert encoder.calls == [25]


def test_memory_of_a_failed_try_is_free_before_the_next(images):
    """Else the second, smaller try would not fit either."""
    seen: list[weakref.ref] = []
    alive: list[list[bool]] = []

    class Watching(Short):
        def embed(self, views):
            gc.collect()
            alive.append([one() is not None for one in seen])
            seen.append(weakref.ref(views.untyped_storage()))
            return super().embed(views)

    embed(Watching(room=12), images)
    assert len(alive[0]) == 0
    assert alive[1] == [False]


def test_memory_errors_are_told_from_others():
    assert all(map(is_out_of_memory, SHORT.values()))
    assert not is_out_of_memory(RuntimeError("expected scalar type Float but found Half"))


def embeddings(views, plain=None):
    views = np.asarray(views, dtype=np.float32)
    plain = np.ones((len(views), views.shape[-1]), np.float32) if plain is None else plain
    plain[:, 0] = 2
    return Embeddings(tuple("abcdefgh"[: len(views)]), views, plain)


@pytest.mark.parametrize(
    "broken",
    [
        [np.nan, 1, 2],
        [np.inf, 1, 2],
        [-np.inf, 1, 2],
        [0, 0, 0],
        [0.7, 0.7, 0.7],
        [3e38, -3e38, 3e38],
    ],
)
@pytest.mark.parametrize("where", ["first view", "last view", "plain"])
def test_what_cannot_be_compared_is_found(broken, where):
    rng = np.random.default_rng(0)
    good = embeddings(rng.normal(size=(3, N_VIEWS, 3)))
    views, plain = good.views.copy(), good.plain.copy()
    if where == "plain":
        plain[1] = broken
    else:
        views[1, 0 if where == "first view" else -1] = broken
    bad = Embeddings(good.image_ids, views, plain)
    assert usable(good).tolist() == [True] * 3
    assert usable(bad).tolist() == [True, False, True]


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1.0, 1e20, 1e37])
def test_what_is_usable_gives_finite_signals(scale):
    rng = np.random.default_rng(0)
    views = rng.normal(size=(2, N_VIEWS, 3)).clip(-3, 3) * scale
    made = embeddings(views)
    assert usable(made).all()
    signals = measure(made)
    for values in (signals.cosine, signals.pearson, signals.euclidean, signals.norms):
        assert np.isfinite(values).all()
    assert (signals.norms > 0).all()
