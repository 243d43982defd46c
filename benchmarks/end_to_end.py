"""How much of a run is the encoder? Ratios of times that are taken in turn, in one process.

    python benchmarks/end_to_end.py --images 24 --rounds 3

Needs no network: the encoder is ViT-B/32 of its true shape with random weights, and the pictures
are JPEGs of 1600 × 1200 drawn here. What is compared, each round, each for the same pictures:

    forward   the forward passes alone: ready views in memory, n + 1 a picture, as `score` does
    score     `clipaudit score` end to end, without the store: from files to rows
    norm      the same with `--method norm`, which needs one pass a picture
    naive     torch, and torchvision's transforms on PIL pictures, one view at a time
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms

from clipaudit.encoders.base import Encoder, EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.features.views import ENCODERMI
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import score
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture

MODEL = "ViT-B-32"
N_VIEWS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", choices=("torch", "onnx"), default="onnx")
    parser.add_argument("--skip-naive", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = make_pictures(folder / "pictures", arguments.images)
        weights = make_weights(folder / "random.safetensors")
        spec = f"{MODEL}/{weights}"
        options = EncoderOptions(backend=arguments.backend, offline=True)
        encoder = load_encoder(spec, options)
        config = ScoreConfig(encoder=spec, backend=arguments.backend, offline=True, use_store=False)
        load_s = 0.0

        def run_score(config: ScoreConfig) -> None:
            nonlocal load_s
            loading = time.perf_counter()
            load_encoder(spec, options)
            load_s = time.perf_counter() - loading
            audit = score([folder / "pictures"], config)
            assert len(audit.scored) == len(pictures)

        jobs: dict[str, Callable[[], None]] = {
            "forward": lambda: forward(encoder, len(pictures)),
            "score": lambda: run_score(config),
            "norm": lambda: run_score(replace(config, methods=("norm",))),
        }
        if not arguments.skip_naive:
            slow = load_encoder(spec, EncoderOptions(backend="torch", offline=True))
            jobs["naive"] = lambda: naive(slow, pictures)
        report(jobs, arguments, lambda: load_s)


def make_pictures(folder: Path, n: int) -> list[Path]:
    """JPEGs of 1600 × 1200, quality 90: small drawings, enlarged, with grain."""
    folder.mkdir()
    paths = []
    for number in range(n):
        generator = stream(0, str(number), "benchmark picture")
        drawing = Image.fromarray(draw_picture(generator, 256)).resize((1600, 1200))
        grain = generator.normal(0, 6, (1200, 1600, 3))
        pixels = np.clip(np.asarray(drawing) + grain, 0, 255).astype(np.uint8)
        path = folder / f"{number:04}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        paths.append(path)
    return paths


def make_weights(path: Path) -> Path:
    """A checkpoint of the true shape, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model(MODEL)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    return path


def forward(encoder: Encoder, n_images: int, images_at_once: int = 4) -> None:
    """Only the forward passes that `score` makes for so many pictures."""
    side = encoder.info.input.size_px
    generator = torch.Generator().manual_seed(0)
    views = torch.rand(images_at_once * (N_VIEWS + 1), 3, side, side, generator=generator)
    for start in range(0, n_images, images_at_once):
        encoder.embed(views[: min(images_at_once, n_images - start) * (N_VIEWS + 1)])


def naive(encoder: Encoder, paths: list[Path]) -> None:
    """What one would write first: PIL transforms, view by view, picture by picture."""
    side, recipe = encoder.info.input.size_px, ENCODERMI
    jitter = transforms.ColorJitter(
        recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue
    )
    change = transforms.Compose(
        [
            transforms.Resize((side, side), transforms.InterpolationMode.BICUBIC),
            transforms.RandomResizedCrop(side, recipe.crop_scale, recipe.crop_ratio),
            transforms.RandomHorizontalFlip(recipe.flip),
            transforms.RandomApply([jitter], recipe.jitter),
            transforms.RandomGrayscale(recipe.grayscale),
            transforms.ToTensor(),
        ]
    )
    for path in paths:
        picture = Image.open(path).convert("RGB")
        encoder.embed(torch.stack([change(picture) for _ in range(N_VIEWS + 1)]))


def report(
    jobs: dict[str, Callable[[], None]],
    arguments: argparse.Namespace,
    load_s: Callable[[], float],
) -> None:
    for job in jobs.values():
        job()  # warm up
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(arguments.rounds):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            took = time.perf_counter() - began
            # `score` loads the encoder by itself, and the job loaded it once more to time that.
            times[name].append(took if name in ("forward", "naive") else took - 2 * load_s())
    n_views = arguments.images * (N_VIEWS + 1)
    print(f"{arguments.images} pictures, {n_views} views, {arguments.backend}, ", end="")
    print(f"{torch.get_num_threads()} threads, {arguments.rounds} rounds")
    for name, seconds in times.items():
        ratios = [taken / base for taken, base in zip(seconds, times["forward"], strict=True)]
        print(
            f"{name:8} {statistics.median(seconds):7.2f} s  "
            f"{1e3 * statistics.median(seconds) / n_views:6.1f} ms a view  "
            f"{statistics.median(ratios):5.2f} × forward "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
