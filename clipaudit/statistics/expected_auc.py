"""What AUC can be hoped for on encoders that were trained as CLIP is, by what is published.

CLIP-MIA-Bench (Gomez, "Rethinking Membership Inference Attacks for CLIP", AAAI 2026,
doi:10.1609/aaai.v40i25.39276) measured the cosine of picture and caption on encoders that differ in
their number of pairs alone: AUC 0.94 on 4 million, about 0.51 on 400 million. The gap between
members and others falls as a power of the number of pairs (its theory: O(epochs / pairs)).
"""

from __future__ import annotations

import math

FEWEST, MOST = (4_000_000, 0.94), (400_000_000, 0.51)
"""What was measured: pairs, and the AUC."""

SOURCE = (
    "CLIP-MIA-Bench: AUC 0.94 on 4 million pairs, about 0.51 on 400 million, and a gap that falls "
    "as epochs / pairs (Gomez, AAAI 2026, doi:10.1609/aaai.v40i25.39276)"
)


def expected_auc(n_pairs: float) -> float:
    """AUC of the cosine of picture and caption, for as many epochs as in the benchmark.

    A straight line through both figures, in the logarithms of pairs and of the gap. For scores that
    are normally distributed with one spread, the AUC is the normal distribution function of the gap
    over the spread and the root of two.

    >>> [round(expected_auc(n), 3) for n in (4e6, 4e7, 4e8, 2.3e9)]
    [0.94, 0.578, 0.51, 0.502]

    Args:
        n_pairs: Different pairs that the encoder was trained on, above 0.
    """
    from scipy import special

    pairs, gaps = zip(*((n, special.ndtri(auc)) for n, auc in (FEWEST, MOST)), strict=True)
    slope = math.log(gaps[1] / gaps[0]) / math.log(pairs[1] / pairs[0])
    return float(special.ndtr(gaps[0] * (n_pairs / pairs[0]) ** slope))


def tpr_at(auc: float, fpr: float) -> float:
    """Share of the members that are found at a false-positive rate, of such scores.

    >>> round(tpr_at(0.5, 0.01), 4), round(tpr_at(0.94, 0.01), 2)
    (0.01, 0.45)
    """
    from scipy import special

    shift = math.sqrt(2) * special.ndtri(auc)
    return float(special.ndtr(shift - special.ndtri(1 - fpr)))
