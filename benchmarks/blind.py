"""What the blind baseline makes of sets whose answer is known.

    python benchmarks/blind.py ../shared/data/cifar10-train.zip ../shared/data/tiny-imagenet-20k.zip

A random split of one source holds nothing to find; two sources, and non-members that are joined
from pairs as in the paper, do. No encoder has any part in it.
"""

from __future__ import annotations

import argparse
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from clipaudit.blind.baseline import blind_baseline
from clipaudit.evaluation_sets.joining import join
from clipaudit.pictures.base import Limits
from clipaudit.pictures.decoding import decode
from clipaudit.pictures.image_statistics import image_statistics
from clipaudit.pictures.random_embedding import random_embedding
from clipaudit.seeding import stream

N = 500
SIZE_PX = 224


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cifar10", type=Path)
    parser.add_argument("tiny_imagenet", type=Path)
    args = parser.parse_args()
    cifar = read(args.cifar10, 3 * N)
    tiny = read(args.tiny_imagenet, N)
    parents = [resized(picture) for picture in cifar[N:]]
    joined = [
        png(join(np.stack([parents[2 * i], parents[2 * i + 1]]), "horizontal")) for i in range(N)
    ]
    sets = {
        "random split of CIFAR-10": (cifar[:N], cifar[N : 2 * N]),
        "CIFAR-10, Tiny-ImageNet": (cifar[:N], tiny),
        "the same, all PNG of 32 × 32": (
            [png(resized(picture, 32)) for picture in cifar[:N]],
            [png(resized(picture, 32)) for picture in tiny],
        ),
        "CIFAR-10, joined from pairs of it": (
            [png(resized(picture)) for picture in cifar[:N]],
            joined,
        ),
    }
    print(
        f"| members, non-members ({N} each) | AUC (95 % interval) | most of all by |\n|---|---|---|"
    )
    seconds: list[float] = []
    for name, sides in sets.items():
        statistics, embeddings = [], []
        for data in (*sides[0], *sides[1]):
            pixels = decode(data, Limits()).pixels
            started = time.perf_counter()
            statistics.append(image_statistics(data, pixels))
            seconds.append(time.perf_counter() - started)
            embeddings.append(random_embedding(pixels))
        found = blind_baseline(
            np.stack(statistics), np.arange(2 * N) < N, embeddings=np.stack(embeddings)
        )
        auc = found.overall
        words = found.telling[0].words if found.is_confounded and found.telling else "–"
        print(f"| {name} | {auc.value:.3f} ({auc.low:.3f}–{auc.high:.3f}) | {words} |", flush=True)
    print(f"\nstatistics of a picture: median {1000 * np.median(seconds):.1f} ms")


def read(path: Path, n: int) -> list[bytes]:
    """Files of an archive, drawn by a seed."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(
            name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg"))
        )
        chosen = stream(0, path.name, "benchmark").choice(len(names), n, replace=False)
        return [archive.read(names[i]) for i in chosen]


def resized(data: bytes, size_px: int = SIZE_PX) -> np.ndarray:
    picture = Image.open(BytesIO(data)).convert("RGB")
    return np.array(picture.resize((size_px, size_px), Image.Resampling.BICUBIC))


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
