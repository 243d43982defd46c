"""Where does the time of a pre-training go: into the model, or into what surrounds it?

    python benchmarks/pretraining.py ../shared/data/cifar10-train.zip --threads 1

Loading is reading, decoding and resizing the members, once for a whole run. Augmentation is all
of a step that is neither forward nor backward pass nor the optimiser's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from clipaudit.shadow.architectures import ARCHITECTURES
from clipaudit.shadow.config import ALGORITHMS, Algorithm, PretrainConfig
from clipaudit.shadow.datasets import open_data
from clipaudit.shadow.pretrain import Epoch, pretrain
from clipaudit.shadow.splits import draw_groups

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder or zip file of pictures")
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=12, help="measured; two more warm up")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES)
    parser.add_argument("--algorithm", action="append", choices=ALGORITHMS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = open_data(arguments.data, None, Path())
    ids = draw_groups(data, {"members": arguments.members}, seed=0).groups["members"]
    began = time.perf_counter()
    images = torch.from_numpy(data.pixels(ids, arguments.size))
    loading = time.perf_counter() - began
    print(f"loading {arguments.members} pictures: {loading:.2f} s, once for all epochs\n")
    print("| encoder | ms a view | forward and backward pass | augmentation |\n|---|---|---|---|")
    algorithms: Sequence[Algorithm] = arguments.algorithm or ("simclr",)
    for architecture in arguments.architecture or ("resnet-tiny", "vgg-tiny", "resnet-small"):
        for algorithm in algorithms:
            config = PretrainConfig(
                architecture=architecture,
                algorithm=algorithm,
                epochs=arguments.epochs + 2,
                batch_size=arguments.batch_size,
                queue=arguments.members // 2,
            )
            seen: list[Epoch] = []
            pretrain(images, MEAN, STD, config, on_epoch=seen.append)
            seconds = np.array([epoch.seconds for epoch in seen[2:]])
            outside = np.array([epoch.seconds_outside for epoch in seen[2:]])
            n_views = 2 * (arguments.members // arguments.batch_size) * arguments.batch_size
            share = float(np.median(outside / seconds))
            print(
                f"| {architecture}, {algorithm} | {1000 * np.median(seconds) / n_views:.2f} | "
                f"{1 - share:.1%} | {share:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
