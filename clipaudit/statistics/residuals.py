"""Scores → what is left of them that a reference encoder does not explain.

How a picture scores depends far more on what is in it than on membership. A reference encoder that
saw neither set finds the same of the content, and nothing of membership.
"""

from __future__ import annotations

import numpy as np

from clipaudit.statistics.metrics import FloatArray


def residuals(values: FloatArray, known: FloatArray) -> FloatArray:
    """Each value less what the known columns predict, by least squares over all of them.

    The prediction does not know which set a picture is of, so a test that deals the residuals anew
    keeps its level.

    Args:
        values: Shape (n,), finite.
        known: Shape (n, n_columns), finite. A column of equal numbers predicts nothing.

    Raises:
        ValueError: There is not one row a value.
    """
    if len(known) != len(values):
        raise ValueError(f"{len(values)} values need as many rows, got {len(known)}")
    centred = known - known.mean(axis=0)
    spread = centred.std(axis=0)
    is_spread = spread > 1e-12 * np.abs(known).max(axis=0, initial=0.0)
    columns = centred[:, is_spread] / spread[is_spread]
    deviations: FloatArray = values - values.mean()
    if len(values) <= columns.shape[1] + 2:
        return deviations
    weights, *_ = np.linalg.lstsq(columns, deviations, rcond=None)
    left: FloatArray = deviations - columns @ weights
    return left
