"""How the test of a set against its control behaves: under the null, and its power.

    python benchmarks/comparison.py [--draws 1000]

Both sides are drawn from one normal distribution, so every small p-value is a false alarm; power
is for the effects that the shadow lab measured (docs/lab-reference).
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from clipaudit.statistics.two_sets import SIZES, compare, pictures_needed, power_of

ALPHA = 0.05
EFFECTS = {
    "150 epochs, trunk, T": 0.648,
    "150 epochs, trunk, adjusted with 4 references": 0.742,
    "150 epochs, embedding, T": 0.745,
    "150 epochs, embedding, adjusted with 4 references": 0.850,
    "1,200 epochs, trunk, T": 0.887,
    "1,200 epochs, trunk, S with 2 references": 0.973,
}
"""P(a member scores above a non-member) on CIFAR-10, n = 10 views."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=1000)
    args = parser.parse_args()
    generator = np.random.default_rng(7)
    print(
        "| suspects | control | false positives at 5 % | Kolmogorov-Smirnov p |\n|---|---|---|---|"
    )
    for n_suspects, n_control in ((30, 30), (20, 60)):
        p = np.array(
            [
                compare(
                    generator.normal(size=n_suspects), generator.normal(size=n_control), ALPHA, seed
                ).p
                for seed in range(args.draws)
            ]
        )
        uniform = stats.kstest(p, "uniform").pvalue
        print(f"| {n_suspects} | {n_control} | {np.mean(p <= ALPHA):.1%} | {uniform:.2f} |")
    columns = " | ".join(f"{n} pictures" for n in SIZES)
    print(f"\n| encoder, output, inferrer | effect | {columns} | for power 80 %, 95 % |")
    print(f"|{'---|' * (3 + len(SIZES))}")
    for name, effect in EFFECTS.items():
        powers = " | ".join(f"{power_of(effect, n, ALPHA):.3f}" for n in SIZES)
        needed = ", ".join(str(pictures_needed(effect, power, ALPHA)) for power in (0.8, 0.95))
        print(f"| {name} | {effect:.3f} | {powers} | {needed} |")


if __name__ == "__main__":
    main()
