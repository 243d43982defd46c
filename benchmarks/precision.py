"""What int8 and bfloat16 save on this processor, and what they do to decisions.

    python -m benchmarks precision [--encoder NAME SPEC MEMBERS NONMEMBERS ...] [--json FILE]

Speed is that of ViT-B/32 of its true shape with random weights, each precision in turn in every
round. Decisions are those of encoders whose members are known, named by --encoder with two folders
or zip files of pictures: AUC of each precision less that of float32, the rank correlation of the
scores, and how many pictures change sides at the threshold that float32 has at an FPR of 5 %.

    torch, bf16            the whole network in bfloat16
    torch, bf16 autocast   products in bfloat16, sums and norms in float32
    onnx, int8             static, per channel, calibrated on views of pictures that are not judged

A precision passes where its AUC is within 0.002 of float32's and the rank correlation above 0.999,
for every encoder and score; it is worth an option where it is faster too.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from benchmarks.cases.pictures import N_VIEWS, SIDE, random_weights
from benchmarks.written import write_document
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.loaded import LoadedEncoder, normalise
from clipaudit.encoders.onnx_session import open_session
from clipaudit.encoders.spec import load_encoder
from clipaudit.encoders.third_party import quiet
from clipaudit.features.embedder import Embedder, measure_all
from clipaudit.features.views import RECIPES, draw, make_views
from clipaudit.shadow.datasets import open_data
from clipaudit.statistics.metrics import auc

if TYPE_CHECKING:
    import numpy.typing as npt

    from clipaudit.encoders.base import EncoderInfo
    from clipaudit.statistics.metrics import BoolArray, FloatArray

Run = Callable[[Tensor], Tensor]
"""Normalised views → embeddings."""

BASE = "torch, fp32"
_AUC_GATE, _RANK_GATE, _FPR = 0.002, 0.999, 0.05
_N_CALIBRATION = 32
_FLAGS = ("avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "amx_fp16")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a precision does to one score of one encoder.

    Attributes:
        encoder: Name of the encoder.
        score: Which score.
        precision: Which precision.
        n: Pictures.
        auc: Its AUC.
        off: Its AUC less that of float32.
        rank_correlation: Spearman's, with the scores of float32.
        moved: Share of the pictures that change sides.
    """

    encoder: str
    score: str
    precision: str
    n: int
    auc: float
    off: float
    rank_correlation: float
    moved: float

    @property
    def passes(self) -> bool:
        """Whether it is within the gate."""
        return abs(self.off) <= _AUC_GATE and self.rank_correlation > _RANK_GATE


def main(arguments: list[str]) -> int:
    """Measure, print and write; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks precision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--encoder",
        nargs=4,
        action="append",
        default=[],
        metavar=("NAME", "SPEC", "MEMBERS", "NONMEMBERS"),
        help="one with known members; repeat for more",
    )
    parser.add_argument("--recipe", choices=RECIPES, default="encodermi@1")
    parser.add_argument("--limit", type=int, default=1000, help="pictures of each set")
    parser.add_argument("--views", type=int, default=11, help="views at once, for the speed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-speed", action="store_true", help="decisions alone")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    flags = instructions()
    print(f"This processor has {', '.join(flags) or 'none of ' + ', '.join(_FLAGS)}.\n")
    speed = {} if options.no_speed else measure_speed(options.views, options.rounds)
    decisions: list[Decision] = []
    for name, spec, members, others in options.encoder:
        sets = (members, others)
        decisions += measure_decisions(name, spec, sets, options.recipe, options.limit)
    for name, seconds in speed.items():
        ratios = [taken / base for taken, base in zip(seconds, speed[BASE], strict=True)]
        print(
            f"{name:22} {1e3 * statistics.median(seconds) / options.views:6.1f} ms a view, "
            f"{statistics.median(ratios):.2f} × {BASE} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(
        "\n| encoder, score | precision | AUC | less fp32's | rank correlation | moved | passes |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in decisions:
        print(
            f"| {row.encoder}, {row.score} (n = {row.n}) | {row.precision} | {row.auc:.4f} | "
            f"{row.off:+.4f} | {row.rank_correlation:.5f} | {row.moved:.1%} | "
            f"{'yes' if row.passes else 'no'} |"
        )
    if options.json:
        rows = [
            {name: getattr(row, name) for name in Decision.__slots__} | {"passes": row.passes}
            for row in decisions
        ]
        facts = {"instructions": flags, "seconds": speed, "decisions": rows}
        write_document(options.json, facts)
    return 0


def instructions() -> list[str]:
    """The processor's instructions for short numbers, as Linux names them."""
    try:
        known = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return []
    return [flag for flag in _FLAGS if flag in known]


def measure_speed(n_views: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of every round for a batch, by precision."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = EncoderOptions(backend="torch", device="cpu", offline=True)
        network, info = _network(random_weights(folder), options)
        generator = torch.Generator().manual_seed(0)
        views = torch.rand(max(n_views, 4), 3, SIDE, SIDE, generator=generator)
        runs = precisions(network, normalise(views, info.input), folder)
        views = normalise(views, info.input)[:n_views]
        seconds: dict[str, list[float]] = {what: [] for what in runs}
        with torch.no_grad():
            for number in range(rounds + 1):
                for what, run in runs.items():
                    began = time.perf_counter()
                    run(views)
                    if number:  # the first warms up
                        seconds[what].append(time.perf_counter() - began)
        return seconds


def measure_decisions(
    name: str, spec: str, sets: Sequence[str], recipe: str, limit: int
) -> Iterator[Decision]:
    """What every precision does to the scores T and norm of an encoder."""
    network, info = _network(spec, EncoderOptions(backend="torch", device="cpu", offline=True))
    ids: list[str] = []
    images: list[npt.NDArray[np.uint8]] = []
    n_members = 0
    for number, source in enumerate(sets):
        data = open_data(source, None, Path())
        chosen = data.ids[: limit + (number * _N_CALIBRATION)]
        ids += chosen
        images.append(data.pixels(chosen, info.input.size_px))
        n_members = n_members or len(chosen)
    pixels = np.concatenate(images)
    judged, rest = slice(0, len(ids) - _N_CALIBRATION), slice(len(ids) - _N_CALIBRATION, None)
    changes = draw(ids[rest], RECIPES[recipe], 4, info.input.size_px, seed=1)
    calibration = make_views(torch.from_numpy(pixels[rest]), changes).flatten(0, 1)
    is_member = np.arange(len(ids) - _N_CALIBRATION) < n_members
    base: dict[str, FloatArray] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = precisions(network, normalise(calibration, info.input), Path(folder))
        for precision, run in runs.items():
            encoder = LoadedEncoder(info, torch.device("cpu"), run)
            embedder = Embedder(encoder, RECIPES[recipe], N_VIEWS, seed=0)
            signals, _ = measure_all(embedder, ids[judged], pixels[judged], "")
            scores: dict[str, FloatArray] = {
                "T": signals.cosine.mean(axis=1, dtype=np.float64),
                "norm": np.log(signals.plain_norm.astype(np.float64)),
            }
            base = base or scores
            for score, values in scores.items():
                yield _decide((name, score, precision), values, base[score], is_member)


def _decide(
    names: tuple[str, str, str], scores: FloatArray, base: FloatArray, is_member: BoolArray
) -> Decision:
    threshold = np.quantile(base[~is_member], 1 - _FPR)
    found = auc(scores, is_member).value
    return Decision(
        *names,
        n=len(scores),
        auc=found,
        off=found - auc(base, is_member).value,
        rank_correlation=float(spearmanr(scores, base).statistic),
        moved=float(np.mean((scores >= threshold) != (base >= threshold))),
    )


def _network(spec: str, options: EncoderOptions) -> tuple[nn.Module, EncoderInfo]:
    """The network of an encoder that torch runs, and what is known of it."""
    encoder: Any = load_encoder(spec, options)
    inner = encoder._encoder
    network: nn.Module = getattr(inner, "_net", None) or inner.run
    return network, encoder.info


def precisions(network: nn.Module, calibration: Tensor, folder: Path) -> dict[str, Run]:
    """The network in every precision.

    Args:
        network: In float32, on the CPU.
        calibration: Normalised views, by which int8 finds the range of each value.
        folder: Where ONNX files go.
    """
    short = copy.deepcopy(network).to(torch.bfloat16)
    exported = folder / "fp32.onnx"
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            network,
            (calibration[:3],),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n_views")},),
            input_names=["views"],
            output_names=["embeddings"],
            verbose=False,
        )
        assert program is not None
        program.save(exported)
        quantised = _quantise(exported, folder / "int8.onnx", calibration)

    def autocast(views: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            answer: Tensor = network(views)
        return answer.float()

    def bfloat16(views: Tensor) -> Tensor:
        answer: Tensor = short(views.to(torch.bfloat16))
        return answer.float()

    return {
        BASE: network,
        "torch, bf16": bfloat16,
        "torch, bf16 autocast": autocast,
        "onnx, fp32": open_session(exported, torch.device("cpu")),
        "onnx, int8": open_session(quantised, torch.device("cpu")),
    }


def _quantise(source: Path, path: Path, calibration: Tensor) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # it has no types
        """Batches of views, one after the other."""

        def __init__(self) -> None:
            self._batches = iter(calibration.split(4))

        def get_next(self) -> dict[str, object] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"views": batch.contiguous().numpy()}

    prepared = path.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        path,
        Reader(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path
