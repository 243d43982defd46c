"""How often the test of a set against its control speaks, where chance is all and where it is not.

    python benchmarks/set_test.py --draws 1000

Scores are drawn: a picture's own (heavy-tailed, as those of encoders are) and, of used pictures, a
shift on top, such that a used and an unused picture are told apart with the AUC named. Prints, for
10 to 200 pictures a side, how often the test says "higher" at the level of 5 %: where nothing was
used, all, a tenth, and all while some of the control were used too.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.statistics.metrics import proportion
from clipaudit.statistics.two_sets import compare

if TYPE_CHECKING:
    from clipaudit.statistics.metrics import Estimate, FloatArray

SIZES = (10, 20, 60, 200)
ALPHA = 0.05
DEGREES = 5
"""Of Student's t, whose scores are like those of encoders at their ends."""

CASES = {
    "none used": (0.0, 0.0),
    "all used": (1.0, 0.0),
    "a tenth used": (0.1, 0.0),
    "all used, a tenth of the control too": (1.0, 0.1),
    "all used, half of the control too": (1.0, 0.5),
}
"""Name → share of the suspects and of the control that was used."""


def shift_for(auc: float) -> float:
    """The shift of Student's t that gives a used and an unused picture this AUC."""
    draws = np.random.default_rng(0).standard_t(DEGREES, (2, 400_000))
    return float(np.quantile(draws[0] - draws[1], auc))


def draw(n: int, share: float, shift: float, generator: np.random.Generator) -> FloatArray:
    """Scores of n pictures, each of which was used with a probability."""
    return generator.standard_t(DEGREES, n) + shift * (generator.random(n) < share)


def speaks(n: int, shares: tuple[float, float], shift: float, n_draws: int) -> Estimate:
    """How often the test finds the suspects higher."""
    generator = np.random.default_rng([n, *(int(100 * share) for share in shares)])
    found = 0
    for number in range(n_draws):
        suspects, control = (draw(n, share, shift, generator) for share in shares)
        found += compare(suspects, control, ALPHA, number, 999).outcome == "higher"
    return proportion(found, n_draws)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--auc", type=float, nargs="+", default=[0.7, 0.9])
    options = parser.parse_args()
    print(f"n = {options.draws:,} draws each; 95 % intervals")
    for auc in options.auc:
        shift = shift_for(auc)
        print(f"\na used picture above an unused one in {auc:.0%} of pairs")
        for name, shares in CASES.items():
            cells = [speaks(n, shares, shift, options.draws) for n in SIZES]
            text = (
                f"{n}: {x.value:.1%} ({x.low:.1%}-{x.high:.1%})"
                for n, x in zip(SIZES, cells, strict=True)
            )
            print(f"  {name:38} {'  '.join(text)}")


if __name__ == "__main__":
    main()
