"""What the tests of the lab share: drawn pictures, a small matrix, and a lab made from both.

`make_lab` makes every encoder in this process, one after the other: what `clipaudit lab run` does
in processes of their own must come to the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clipaudit.lab.matrix import Matrix, read_matrix
from clipaudit.lab.splits import LabSplit

SMALL = """\
name = "small"
kinds = ["V", "T"]

[data]
drawn = "drawn"
other = "other"

[[experiment]]
kind = "views"
data = "drawn"

[[experiment]]
kind = "background"
data = "drawn"
unknown_data = "other"
combinations = [[], ["data", "architecture", "algorithm"]]

[[experiment]]
kind = "baselines"
data = "drawn"

[[experiment]]
kind = "epochs"
data = "drawn"

[scale.cpu]
about = "for tests"
seeds = [0]
size_px = 16
members = 10
split = { target = 12, shadow = 12, probe = 12 }
views = 3
draws = 2
known = { architecture = "resnet-tiny", algorithm = "simclr" }
unknown = { architecture = "vgg-tiny", algorithm = "mocov2" }

[scale.cpu.pretrain]
epochs = 120
batch_size = 10
learning_rate = 2e-3
queue = 5

[scale.cpu.architecture.vgg-tiny]
epochs = 3

[scale.cpu.sweeps]
views = [2, 3]
target_sizes = [10, 12]
shadow_sizes = [10, 12]
epochs = [2, 120]
"""
"""A matrix whose four experiments need three encoders: a target and two shadows."""

PAIRS = """
[scale.cpu.pairs]
architectures = ["clip-vit-tiny"]
epochs = 3
batch_size = 5
snapshots = [1]
passes = [2]
few_views = 2
fine_tunes = { members = [10], epochs = [1, 2], learning_rates = [1e-3], batch_size = 5 }
"""
"""What a matrix needs beside it for `clip` and `fine-tune`."""

LONG, SHORT = "epochs = 120", "epochs = 3"


def matrix_of(folder: Path, text: str = SMALL) -> Matrix:
    """The matrix that a text is."""
    path = folder / "matrix.toml"
    path.write_text(text, encoding="utf-8")
    return read_matrix(str(path))


def draw_pictures(folder: Path, n: int, subject: str) -> Path:
    """PNG files of so many pictures, in a folder for each of three classes."""
    from PIL import Image

    from clipaudit.seeding import stream
    from clipaudit.shadow.procedural import draw_picture

    for number in range(n):
        path = folder / "abc"[number % 3] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_picture(stream(0, f"{subject} {number}", "lab test"), 16)).save(path)
    return folder


def made_up_splits(
    matrix: Matrix, scale: str = "cpu", *, has_labels: bool = True
) -> dict[tuple[str, int], LabSplit]:
    """Splits of pictures that exist in name alone, which is all that a plan needs."""
    splits = {}
    for data in matrix.data:
        for seed in matrix.scale[scale].seeds:
            groups = {
                group: tuple(
                    hashlib.sha256(f"{data} {seed} {group} {number}".encode()).hexdigest()
                    for number in range(count)
                )
                for group, count in matrix.scale[scale].split.counts.items()
            }
            labels = {
                group: tuple("ab"[number % 2] for number in range(len(groups[group])))
                for group in ("probe-train", "probe-test")
            }
            folder = Path("lab/splits") / f"{data}-{seed}"
            classes = labels if has_labels else None
            texts: dict[str, tuple[str, ...]] = {
                picture: ("a picture",) for ids in groups.values() for picture in ids
            }
            captions = texts if data in matrix.captions else None
            splits[data, seed] = LabSplit(folder, data, groups, classes, 0, captions)
    return splits


@dataclass(frozen=True)
class Lab:
    """A lab with all encoders and no results.

    Attributes:
        folder: Of the lab.
        matrix: Path of its matrix.
        drawn: Folder of the pictures of `drawn`.
        other: Zip file of those of `other`.
    """

    folder: Path
    matrix: Path
    drawn: Path
    other: Path

    @property
    def data(self) -> tuple[str, ...]:
        """The options that say where the data sets are."""
        return f"--data=drawn={self.drawn}", f"--data=other={self.other}"


def make_lab(folder: Path, text: str = SMALL, n_pictures: int = 84) -> Lab:
    """Pictures, matrix and encoders of a matrix on these two data sets."""
    import zipfile

    import torch

    from clipaudit.lab.worker import make

    torch.set_num_threads(1)
    drawn = draw_pictures(folder / "drawn", n_pictures, "drawn")
    other = folder / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        for path in sorted(draw_pictures(folder / "unzipped", 84, "other").rglob("*.png")):
            archive.write(path, path.relative_to(folder / "unzipped"))
    lab = Lab(folder / "lab", folder / "matrix.toml", drawn, other)
    matrix_of(folder, text)
    for unit in plan_of(lab).units.values():
        make(unit, "cpu")
    return lab


def plan_of(lab: Lab, into: Path | None = None, only: tuple[str, ...] = ()):
    """What a lab has to do; its splits are drawn where they are not there yet."""
    from clipaudit.lab.plan import data_sets, make_plan
    from clipaudit.lab.splits import make_split, split_folder
    from clipaudit.shadow.datasets import open_data

    matrix = read_matrix(str(lab.matrix))
    if only:
        kept = tuple(one for one in matrix.experiment if one.kind in only)
        matrix = matrix.model_copy(update={"experiment": kept})
    scale, folder = matrix.scale["cpu"], into or lab.folder
    sources = {"drawn": str(lab.drawn), "other": str(lab.other)}
    splits = {}
    for name in data_sets(matrix):
        for seed in scale.seeds:
            splits[name, seed] = make_split(
                split_folder(folder, name, scale.split, scale.size_px, seed),
                name,
                partial(open_data, sources[name], name, Path("nowhere"), 0),
                scale.split,
                scale.size_px,
                seed,
            )
    return make_plan(matrix, scale, folder, splits)
