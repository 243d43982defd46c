"""What the paper reports, where its numbers are known to us.

Source: EncoderMI (Liu, Jia, Qu, Gong, CCS 2021). Its target encoders are ResNet-18 with MoCo and
1,600 epochs on 10,000 pictures; ours are as large as a result says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Reported:
    """A number of the paper.

    Attributes:
        low: Accuracy, within 0 and 1; of several inferrers or readings, the least.
        high: The greatest.
    """

    low: float
    high: float

    def __str__(self) -> str:
        low, high = f"{self.low:.1%}", f"{self.high:.1%}"
        return (low if low == high else f"{low[:-1]} to {high}").replace("%", " %")


_ANY = Reported(0.868, 0.868)

ACCURACY: Final[dict[tuple[str, str, str], Reported]] = {
    ("background-tiny-imagenet", "nothing", "V"): Reported(0.887, 0.887),
    ("background-tiny-imagenet", "data", "V"): Reported(0.930, 0.930),
    ("background-tiny-imagenet", "architecture", "V"): Reported(0.891, 0.891),
    ("background-tiny-imagenet", "algorithm", "V"): Reported(0.941, 0.941),
    ("background-cifar10", "data", "V"): _ANY,
    ("background-cifar10", "architecture", "V"): _ANY,
    ("background-cifar10", "algorithm", "V"): _ANY,
    ("target-size-stl10", "5000", "V"): Reported(0.96, 0.96),
    ("target-size-stl10", "5000", "S"): Reported(0.92, 0.92),
    ("target-size-stl10", "5000", "T"): Reported(0.94, 0.94),
    ("target-size-stl10", "25000", "V"): Reported(0.80, 0.83),
    ("target-size-stl10", "25000", "S"): Reported(0.78, 0.80),
    ("target-size-stl10", "25000", "T"): Reported(0.82, 0.83),
}
"""Accuracy by (experiment, setting, inferrer)."""

IN_WORDS: Final[dict[str, str]] = {
    "background": (
        "Paper: accuracy of V on Tiny-ImageNet 88.7 % with no knowledge, 94.1 % with the "
        "algorithm alone, 89.1 % with the architecture alone, 93.0 % with the data alone; on "
        "CIFAR-10 about 86.8 % with any single one."
    ),
    "views": "Paper (Fig. 1b): V and T rise with n, then saturate; S rises, then falls.",
    "similarity": "Paper (Table 3): cosine is the best, the others lose little.",
    "target-size": (
        "Paper (Fig. 2, STL-10): the more members, the lower the accuracy: from 5,000 to 25,000 "
        "V falls from 96 % to 80 to 83 %, S from 92 % to 78 to 80 %, T from 94 % to 82 to 83 %."
    ),
    "shadow-size": "Paper (Fig. 2): hardly sensitive to the size of the shadow data set.",
    "augmentations": (
        "Paper (Fig. 3): the fewer augmentations the target shares with the inferrer, the lower "
        "the accuracy of the inference, and that of the downstream classifier."
    ),
    "epochs": (
        "Paper: stopping early is a defence; inference and the downstream classifier both lose "
        "accuracy."
    ),
    "baselines": "Paper: the inferrers beat all three baselines.",
}
"""What the paper says of a kind of experiment."""


def reported(experiment: str, setting: str, method: str) -> Reported | None:
    """The paper's accuracy for a cell, on the output that is published; None if not known."""
    return ACCURACY.get((experiment, setting, method))
