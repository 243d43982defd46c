"""What the paper reports, where its numbers are known to us; each experiment has its own.

Source: EncoderMI (Liu, Jia, Qu, Gong, CCS 2021). Its target encoders are ResNet-18 with MoCo and
1,600 epochs on 10,000 pictures; ours are as large as a result says.
"""

from __future__ import annotations

from dataclasses import dataclass


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
