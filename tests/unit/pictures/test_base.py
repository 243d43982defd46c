import pytest

from clipaudit.pictures.base import Limits


def test_limits_must_be_above_zero():
    with pytest.raises(ValueError, match="above 0"):
        Limits(max_pixels=0)
