"""What trying several seeds, and telling of the best, does to the level: one seed, and means.

    python benchmarks/rerolling.py PICTURES.zip ENCODER

The encoder saw none of the pictures. Folders and controls are drawn from them, and each is compared
by the scores of one seed, by the best of five seeds, by the mean over three, and by the best of
five such means. Prints how often each finds the folder higher at the level of 5 %.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

import numpy as np

import clipaudit
from clipaudit.statistics.metrics import FloatArray, proportion
from clipaudit.statistics.two_sets import compare

N_SEEDS, N_MEAN, ALPHA = 5, 3, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("--n", type=int, default=300, help="pictures to draw from")
    parser.add_argument("--side", type=int, default=40, help="pictures in each of the two")
    parser.add_argument("--draws", type=int, default=400)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(args.pictures) as opened:
            names = sorted(name for name in opened.namelist() if not name.endswith("/"))
            for i in np.random.default_rng(7).permutation(len(names))[: args.n]:
                target = Path(folder) / f"{i}{Path(names[i]).suffix}"
                target.write_bytes(opened.read(names[i]))
        scores = np.stack([score(folder, args.encoder, s) for s in range(N_SEEDS * N_MEAN)])
    means = scores.reshape(N_SEEDS, N_MEAN, -1).mean(axis=1)
    found = np.zeros((args.draws, 2, N_SEEDS), dtype=bool)
    generator = np.random.default_rng(0)
    for draw in range(args.draws):
        order = generator.permutation(scores.shape[1])
        first, second = order[: args.side], order[args.side : 2 * args.side]
        for kind, columns in enumerate((scores[:N_SEEDS], means)):
            for seed, column in enumerate(columns):
                test = compare(column[first], column[second], ALPHA, draw, 999)
                found[draw, kind, seed] = test.outcome == "higher"
    for kind, name in enumerate(("one seed", f"the mean over {N_MEAN}")):
        for words, hits in (
            (f"{name}", found[:, kind, 0]),
            (f"the best of {N_SEEDS}: {name}", found[:, kind].any(axis=1)),
        ):
            rate = proportion(int(hits.sum()), args.draws)
            print(f"{words:30} {rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})")


def score(folder: str, encoder: str, seed: int) -> FloatArray:
    """Scores of all pictures, in the order of their paths."""
    audit = clipaudit.score(folder, encoder=encoder, seed=seed, captions="none")
    scored = sorted(audit.scored, key=lambda row: row.path)
    return np.array([row.findings[0].score for row in scored])


if __name__ == "__main__":
    main()
