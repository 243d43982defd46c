"""What a GPU's encoder could do, and what clipaudit makes of it.

    python -m benchmarks gpu [--json FILE] [--device cuda:0]

Run it in the folder of a checkout: nothing needs to be installed but torch with CUDA and what
clipaudit's own steps import; a part whose libraries are missing is left out, with a word. The
encoder has the shape of ViT-B/32, written in plain torch, with random weights.

    own        the encoder alone, on views that lie on the device, in several precisions
    batches    the same by the number of views at once, up to the largest that fits
    product    clipaudit from arrays in memory, from small files, from files of a camera's kind,
               and decoding alone
    scores     the same pictures on the device and on the CPU; a difference is an error

`--device cpu` rehearses all of it on a machine without a GPU; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.written import write_document

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from clipaudit.encoders.base import Encoder, EncoderOptions
    from clipaudit.pictures.decoder_pool import DecoderPool

Results = dict[str, object]

_SIDE, _PATCH, _WIDTH, _LAYERS, _HEADS, _DIM = 224, 32, 768, 12, 12, 512
_ROUNDS = 3
_LARGEST = 65_536
_SCORE_TOLERANCE = 1e-3
"""Greatest difference of a score between two devices: a mean of cosines, rounded otherwise."""
_MODES = ("fp32", "tf32", "fp16", "fp16 channels-last", "fp16 compiled")


class NothingToMeasureError(Exception):
    """There is no device, or no torch to use it with; says what to do."""


def main(arguments: list[str]) -> int:
    """Measure, print and write; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cuda:0", help="cuda:1; cpu to rehearse")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout, from whatever folder
    try:
        device = _device(options.device)
    except NothingToMeasureError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    is_rehearsal = device.type == "cpu"
    n_layers = 1 if is_rehearsal else _LAYERS
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CLIPAUDIT_CACHE_DIR"] = str(Path(scratch) / "cache")
        results: Results = {"device": _facts(device), "is_rehearsal": is_rehearsal}
        parts: dict[str, Callable[[], Results]] = {
            "own": lambda: _own(device, 11 if is_rehearsal else 704, n_layers),
            "batches": lambda: _batches(device),
            "product": lambda: _product(
                device, Path(scratch), 2 if is_rehearsal else 1024, n_layers
            ),
            "scores": lambda: _scores(device, Path(scratch), 4 if is_rehearsal else 64, n_layers),
        }
        for name, part in parts.items():
            try:
                found = part()
            except ImportError as error:
                found = {"left_out": f"{error.name or error} is not installed"}
            results[name] = found
            print(f"{name}:", flush=True)
            for what, value in found.items():
                print(
                    f"  {what}: {value:,.4g}" if isinstance(value, float) else f"  {what}: {value}"
                )
    if options.json:
        write_document(options.json, results)
    scores = results["scores"]
    if isinstance(scores, dict) and scores.get("is_same") is False:
        print("error: the device gives other scores than the CPU", file=sys.stderr)
        return 1
    return 0


def _device(name: str) -> torch.device:
    """The device to measure on.

    Raises:
        NothingToMeasureError: torch is missing, or sees no such device.
    """
    try:
        import torch
    except ImportError:
        raise NothingToMeasureError(
            "torch is not installed; pytorch.org says how to get it for your CUDA version"
        ) from None
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        why = "was built without CUDA" if torch.version.cuda is None else "finds no such GPU here"
        raise NothingToMeasureError(
            f"there is no {name}: torch {torch.__version__} {why}. `--device cpu` rehearses all "
            "steps, with figures that mean nothing"
        )
    return device


def _facts(device: torch.device) -> Results:
    import torch

    if device.type != "cuda":
        return {"name": str(device), "torch": torch.__version__}
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
    }


def build_network(n_layers: int = _LAYERS) -> nn.Module:
    """A picture tower of the shape of ViT-B/32, with random weights that are always the same.

    A rehearsal takes fewer of its layers.
    """
    import torch
    from torch import nn

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            n_tokens = (_SIDE // _PATCH) ** 2 + 1
            self.patches = nn.Conv2d(3, _WIDTH, _PATCH, stride=_PATCH, bias=False)
            self.first = nn.Parameter(torch.randn(1, 1, _WIDTH) / _WIDTH**0.5)
            self.places = nn.Parameter(torch.randn(1, n_tokens, _WIDTH) / _WIDTH**0.5)
            layer = nn.TransformerEncoderLayer(
                _WIDTH, _HEADS, 4 * _WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
            )
            self.blocks = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
            self.norm = nn.LayerNorm(_WIDTH)
            self.project = nn.Linear(_WIDTH, _DIM, bias=False)

        def forward(self, views: Tensor) -> Tensor:
            tokens = self.patches(views).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.first.expand(len(views), -1, -1), tokens], dim=1)
            pooled: Tensor = self.project(self.norm(self.blocks(tokens + self.places)[:, 0]))
            return pooled

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tower().eval().requires_grad_(requires_grad=False)


def load(name: str, options: EncoderOptions) -> Encoder:
    """The network as an encoder of clipaudit's, for the scheme `benchmark`: `fp16@12`."""
    import torch

    from clipaudit.encoders import devices
    from clipaudit.encoders.base import EncoderInfo, InputSpec
    from clipaudit.encoders.loaded import LoadedEncoder

    where = devices.resolve(options.device)
    mode, _, n_layers = name.partition("@")
    run = _runner(mode, where, int(n_layers))
    spec = InputSpec(_SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bicubic")
    mark = f"{_MODES.index(mode):064x}"
    info = EncoderInfo(f"benchmark:{name}", "embedding", spec, _DIM, mark, "torch", str(where))
    return LoadedEncoder(info, torch.device(where), run)


def _runner(mode: str, device: torch.device, n_layers: int = _LAYERS) -> Callable[[Tensor], Tensor]:
    """The network in one of `_MODES`, as a function of float32 views on the device."""
    import torch

    network = build_network(n_layers).to(device)
    is_half = mode.startswith("fp16")
    kind = torch.float16 if is_half else torch.float32
    network = network.to(kind)
    layout = torch.channels_last if "channels-last" in mode else torch.contiguous_format
    network = network.to(memory_format=layout)
    call: Callable[[Tensor], Tensor] = torch.compile(network) if "compiled" in mode else network

    def run(views: Tensor) -> Tensor:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
        try:
            return call(views.to(kind, memory_format=layout)).float()
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

    return run


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Median wall time of a call that is over when the device is done, after one that warms up."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    run()
    wait()
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _own(device: torch.device, n_views: int, n_layers: int) -> Results:
    """Views a second of the encoder alone, by mode."""
    import torch

    views = torch.rand(n_views, 3, _SIDE, _SIDE, device=device)
    found: Results = {}
    for mode in _MODES:
        try:
            run = _runner(mode, device, n_layers)
            with torch.no_grad():
                seconds = _seconds(partial(run, views), device)
            found[f"{mode}, views/s"] = n_views / seconds
        except Exception as error:  # noqa: BLE001 - torch.compile fails in many ways
            found[mode] = f"left out: {type(error).__name__}"
    return found


def _batches(device: torch.device) -> Results:
    """Views a second by the number of views at once, until they do not fit."""
    import torch

    if device.type != "cuda":
        return {"left_out": "a CPU has no memory of its own to fill"}
    found: Results = {}
    for mode in ("fp32", "fp16"):
        run = _runner(mode, device)
        n_views = 64
        while n_views <= _LARGEST:
            try:
                views = torch.rand(n_views, 3, _SIDE, _SIDE, device=device)
                with torch.no_grad():
                    seconds = _seconds(partial(run, views), device)
            except torch.OutOfMemoryError:
                break
            found[f"{mode}, {n_views} views at once, views/s"] = n_views / seconds
            found[f"{mode}, largest batch"] = n_views
            n_views *= 2
        del run
        torch.cuda.empty_cache()
    return found


def _product(device: torch.device, scratch: Path, n_images: int, n_layers: int) -> Results:
    """Pictures a second of clipaudit, step by step; each has eleven views."""
    from benchmarks.cases.pictures import N_VIEWS, arrays, make_jpegs
    from clipaudit.encoders.base import EncoderOptions
    from clipaudit.encoders.spec import load_encoder
    from clipaudit.features.embedder import Embedder, measure_all
    from clipaudit.features.views import ENCODERMI
    from clipaudit.pictures.base import Limits
    from clipaudit.pictures.decoder_pool import DecoderPool

    _register()
    encoder = load_encoder(f"benchmark:fp32@{n_layers}", EncoderOptions(device=str(device)))
    load_again = partial(load_encoder, encoder.info.spec, EncoderOptions(device=str(device)))
    loading = _seconds(load_again, device)  # is part of `score`, and taken off
    embedder = Embedder(encoder, ENCODERMI, N_VIEWS, seed=0)
    ids, pixels = arrays(min(n_images, 256))
    seconds = _seconds(lambda: measure_all(embedder, ids, pixels, ""), device)
    found: Results = {"from arrays in memory, pictures/s": len(ids) / seconds}
    sizes = {"224 × 224": (_SIDE, _SIDE), "4000 × 3000": (4000, 3000)}
    for name, (width, height) in sizes.items():
        n_files = n_images if width == _SIDE else max(2, n_images // 16)
        folder = scratch / name.replace(" ", "")
        paths = make_jpegs(folder, n_files, width, height)
        seconds = _seconds(partial(_score, folder, device, "fp32", n_layers), device)
        found[f"from JPEGs of {name}, pictures/s"] = n_files / (seconds - loading)
        files = [path.read_bytes() for path in paths]
        with DecoderPool(os.cpu_count() or 1, Limits()) as pool:
            seconds = _seconds(partial(_decode, pool, files), device)
        found[f"decoding alone of {name}, pictures/s"] = n_files / seconds
    return found


def _decode(pool: DecoderPool, files: list[bytes]) -> None:
    from clipaudit.pictures.base import Frame
    from clipaudit.pictures.preparing import Wanted

    wanted = Wanted((Frame(_SIDE, "bicubic"),))
    for future in [pool.submit(data, wanted) for data in files]:
        future.result()


def _scores(device: torch.device, scratch: Path, n_images: int, n_layers: int) -> Results:
    """How far scores of the device are from those of the CPU, in fp32 and in fp16."""
    import torch
    from scipy.stats import spearmanr

    from benchmarks.cases.pictures import make_jpegs

    _register()
    make_jpegs(scratch / "both", n_images, 320, 240)
    expected = _score(scratch / "both", torch.device("cpu"), "fp32", n_layers)
    found: Results = {}
    for mode in ("fp32", "fp16"):
        scores = _score(scratch / "both", device, mode, n_layers)
        off = max(abs(scores[path] - expected[path]) for path in expected)
        pairs = [(scores[path], expected[path]) for path in expected]
        found[f"{mode}, largest difference"] = off
        found[f"{mode}, rank correlation"] = float(spearmanr(pairs).statistic)
        if mode == "fp32":
            found["is_same"] = scores.keys() == expected.keys() and off <= _SCORE_TOLERANCE
    return found


def _score(folder: Path, device: torch.device, mode: str, n_layers: int) -> dict[str, float]:
    from clipaudit.features.views import ENCODERMI
    from clipaudit.pipelines.config import ScoreConfig
    from clipaudit.pipelines.score import score

    config = ScoreConfig(
        encoder=f"benchmark:{mode}@{n_layers}",
        inferrers=("cifar10-t",),
        recipe=ENCODERMI.id,
        device=str(device),
        use_store=False,
    )
    return {row.path: row.findings[0].score for row in score([folder], config).scored}


def _register() -> None:
    from clipaudit.encoders.spec import SCHEMES, Scheme

    SCHEMES["benchmark"] = Scheme("benchmarks.gpu:load", takes="PRECISION")
