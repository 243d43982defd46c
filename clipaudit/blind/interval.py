"""An interval around an AUC whose variance is known."""

from __future__ import annotations

import numpy as np

from clipaudit.statistics.metrics import Estimate, auc


def interval(area: float, variance: float, n_fewer: int, n: int) -> Estimate:
    """The area with its 95 % interval by Student's t, cut at 0 and 1.

    It is never narrower than if it had been measured on twice `n_fewer` pictures that are told
    apart without a mistake, for then the variance would be zero.

    Args:
        area: The AUC.
        variance: Of its estimate.
        n_fewer: How many members it rests on, or non-members, whichever are fewer; groups of
            them, where pictures hang together.
        n: How many pictures, for the reader.
    """
    from scipy import stats

    reach = stats.t.ppf(0.975, n_fewer - 1) * np.sqrt(variance)
    truth = np.arange(2 * n_fewer) < n_fewer
    reach = max(float(reach), 1 - auc(truth.astype(np.float64), truth).low)
    return Estimate(area, max(0.0, area - reach), min(1.0, area + reach), n)
