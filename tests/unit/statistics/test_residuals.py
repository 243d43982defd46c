import numpy as np
import pytest

from clipaudit.statistics.residuals import residuals


def test_what_the_columns_say_is_taken_out_and_the_rest_is_left():
    numbers = np.random.default_rng(0)
    known, rest = numbers.normal(size=(200, 2)), numbers.normal(size=200)
    left = residuals(3 + known @ [5.0, -2.0] + rest, known)
    assert np.corrcoef(left, rest)[0, 1] > 0.98
    assert np.abs(np.corrcoef(left, known.T)[0, 1:]).max() < 1e-9


def test_a_constant_column_and_too_few_values_leave_values_as_they_are_but_for_their_mean():
    values = np.array([1.0, 4.0, 2.0])
    np.testing.assert_allclose(residuals(values, np.ones((3, 2))), values - values.mean())
    np.testing.assert_allclose(residuals(values, np.eye(3)), values - values.mean())


def test_there_is_a_row_a_value():
    with pytest.raises(ValueError, match="3 values need as many rows"):
        residuals(np.zeros(3), np.zeros((2, 1)))
