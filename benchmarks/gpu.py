"""What a GPU's encoder could do, and what clipaudit makes of it.

    python -m benchmarks gpu [--json FILE] [--device cuda:0]

Run it in the folder of a checkout: nothing needs to be installed but torch with CUDA and what
clipaudit's own steps import; a part whose libraries are missing is left out, with a word. The
encoder has the shape of ViT-B/32, written in plain torch, with random weights.

    own        the encoder alone, on views that lie on the device, in several precisions
    batches    the same by the number of views at once, up to the largest that fits
    product    clipaudit from arrays in memory and from small files, in float32, in float16 and on
               all GPUs where there are several, beside the encoder alone and the goal; then from
               files of a camera's kind, and decoding alone
    scores     the same pictures on the device and on the CPU; a difference is an error

`--device cpu` rehearses all of it on a machine without a GPU, with bfloat16 in the place of
float16; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.written import write_document
from clipaudit.encoders import devices
from clipaudit.encoders.devices import ALL_GPUS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from clipaudit.encoders.base import Encoder, EncoderOptions, Precision
    from clipaudit.pictures.decoder_pool import DecoderPool

Results = dict[str, object]

_SIDE, _PATCH, _WIDTH, _LAYERS, _HEADS, _DIM = 224, 32, 768, 12, 12, 512
_ROUNDS = 3
_LARGEST = 65_536
_SCORE_TOLERANCE = 1e-3
"""Greatest difference of a score between two devices: a mean of cosines, rounded otherwise."""
_MODES = ("fp32", "tf32", "bf16", "fp16", "fp16 channels-last", "fp16 compiled")
_MODE_OF: dict[Precision, str] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_GOAL = 0.9
"""Share of the encoder's own throughput that clipaudit reaches, where all is well."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """Options of clipaudit's that are compared: a device, and a precision."""

    device: str
    precision: Precision

    def __str__(self) -> str:
        return self.precision + (", all GPUs" if self.device == ALL_GPUS else "")


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


def load(n_layers: str, options: EncoderOptions) -> Encoder:
    """The network as an encoder of clipaudit's, for the scheme `benchmark`."""
    from clipaudit.encoders.base import InputSpec
    from clipaudit.encoders.towers import Tower, ready

    spec = InputSpec(_SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bicubic")
    network = build_network(int(n_layers))
    return ready(Tower(f"benchmark:{n_layers}", network, spec, "embedding"), options)


def _settings(device: torch.device) -> list[_Setting]:
    import torch

    if device.type != "cuda":
        return [_Setting(str(device), "float32"), _Setting(str(device), "bfloat16")]
    found = [_Setting(str(device), "float32"), _Setting(str(device), "float16")]
    if torch.cuda.device_count() > 1:
        found += [_Setting(ALL_GPUS, "float32"), _Setting(ALL_GPUS, "float16")]
    return found


def _runner(mode: str, device: torch.device, n_layers: int = _LAYERS) -> Callable[[Tensor], Tensor]:
    """The network in one of `_MODES`, as a function of float32 views on the device."""
    import torch

    network = build_network(n_layers).to(device)
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(mode[:4], torch.float32)
    network = network.to(kind)
    layout = torch.channels_last if "channels-last" in mode else torch.contiguous_format
    network = network.to(memory_format=layout)
    call: Callable[[Tensor], Tensor] = torch.compile(network) if "compiled" in mode else network

    def run(views: Tensor) -> Tensor:
        return call(views.to(kind, memory_format=layout)).float()

    def run_in_tf32(views: Tensor) -> Tensor:
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            return run(views)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = False

    def run_in_full(views: Tensor) -> Tensor:
        with devices.full_precision(device):
            return run(views)

    return run_in_tf32 if mode == "tf32" else run_in_full


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
    found: Results = {}
    for mode in _MODES:
        try:
            found[f"{mode}, views/s"] = _own_rate(mode, device, n_views, n_layers)
        except Exception as error:  # noqa: BLE001 - torch.compile fails in many ways
            found[mode] = f"left out: {type(error).__name__}"
    return found


def _own_rate(mode: str, device: torch.device, n_views: int, n_layers: int = _LAYERS) -> float:
    """Views a second of the encoder alone, so many at once."""
    import torch

    run = _runner(mode, device, n_layers)
    views = torch.rand(n_views, 3, _SIDE, _SIDE, device=device)
    with torch.no_grad():
        return n_views / _seconds(partial(run, views), device)


def _batches(device: torch.device) -> Results:
    """Views a second by the number of views at once, until they do not fit."""
    import torch

    if device.type != "cuda":
        return {"left_out": "a CPU has no memory of its own to fill"}
    found: Results = {}
    for mode in ("fp32", "fp16"):
        n_views = 64
        while n_views <= _LARGEST:
            try:
                rate = _own_rate(mode, device, n_views)
            except torch.OutOfMemoryError:
                break
            found[f"{mode}, {n_views} views at once, views/s"] = rate
            found[f"{mode}, largest batch"] = n_views
            n_views *= 2
        devices.give_back_memory(device)
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
    small = make_jpegs(scratch / "small", n_images, _SIDE, _SIDE)
    large = make_jpegs(scratch / "large", max(2, n_images // 16), 4000, 3000)
    ids, pixels = arrays(min(n_images, 256))
    found: Results = {}
    loading = 0.0  # is part of `score`, and taken off
    for setting in _settings(device):
        options = EncoderOptions(device=setting.device, precision=setting.precision)
        load_again = partial(load_encoder, f"benchmark:{n_layers}", options)
        loading = _seconds(load_again, device)
        embedder = Embedder(load_again(), ENCODERMI, N_VIEWS, seed=0)
        seconds = _seconds(partial(measure_all, embedder, ids, pixels, ""), device)
        found[f"{setting}, from arrays in memory, pictures/s"] = len(ids) / seconds
        seconds = _seconds(partial(_score, small[0].parent, setting, n_layers), device)
        rate = len(small) / (seconds - loading)
        found[f"{setting}, from JPEGs of 224 × 224, pictures/s"] = rate
        if setting.device != ALL_GPUS:
            n_views = min(64, n_images) * (N_VIEWS + 1)
            mode = _MODE_OF[setting.precision]
            own = _own_rate(mode, device, n_views, n_layers) / (N_VIEWS + 1)
            found[f"{setting}, the encoder alone, pictures/s"] = own
            found[f"{setting}, goal of {_GOAL:.0%} of that from JPEGs of 224 × 224"] = (
                f"{'yes' if rate >= _GOAL * own else 'no'}, {rate / own:.0%}"
            )
    seconds = _seconds(partial(_score, large[0].parent, setting, n_layers), device)
    found[f"{setting}, from JPEGs of 4000 × 3000, pictures/s"] = len(large) / (seconds - loading)
    for name, paths in (("224 × 224", small), ("4000 × 3000", large)):
        files = [path.read_bytes() for path in paths]
        with DecoderPool(os.cpu_count() or 1, Limits()) as pool:
            seconds = _seconds(partial(_decode, pool, files), device)
        found[f"decoding alone of {name}, pictures/s"] = len(files) / seconds
    return found


def _decode(pool: DecoderPool, files: list[bytes]) -> None:
    from clipaudit.pictures.base import Frame
    from clipaudit.pictures.preparing import Wanted

    wanted = Wanted((Frame(_SIDE, "bicubic"),))
    for future in [pool.submit(data, wanted) for data in files]:
        future.result()


def _scores(device: torch.device, scratch: Path, n_images: int, n_layers: int) -> Results:
    """How far scores of the device are from those of the CPU in float32."""
    from scipy.stats import spearmanr

    from benchmarks.cases.pictures import make_jpegs

    _register()
    make_jpegs(scratch / "both", n_images, 320, 240)
    expected = _score(scratch / "both", _Setting("cpu", "float32"), n_layers)
    found: Results = {"is_same": True}
    for setting in _settings(device):
        scores = _score(scratch / "both", setting, n_layers)
        off = max(abs(scores[path] - expected[path]) for path in expected)
        pairs = [(scores[path], expected[path]) for path in expected]
        found[f"{setting}, largest difference"] = off
        found[f"{setting}, rank correlation"] = float(spearmanr(pairs).statistic)
        if setting.precision == "float32" and off > _SCORE_TOLERANCE:
            found["is_same"] = False
    return found


def _score(folder: Path, setting: _Setting, n_layers: int) -> dict[str, float]:
    from clipaudit.features.views import ENCODERMI
    from clipaudit.pipelines.config import ScoreConfig
    from clipaudit.pipelines.score import score

    config = ScoreConfig(
        encoder=f"benchmark:{n_layers}",
        inferrers=("cifar10-t",),
        recipe=ENCODERMI.id,
        device=setting.device,
        precision=setting.precision,
        use_store=False,
    )
    return {row.path: row.findings[0].score for row in score([folder], config).scored}


def _register() -> None:
    from clipaudit.encoders.spec import SCHEMES, Scheme

    SCHEMES["benchmark"] = Scheme("benchmarks.gpu:load", takes="LAYERS")
