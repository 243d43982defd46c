"""Why a picture was left out, in words."""

from typing import get_args

import pytest
from clipaudit_crawlers.fetch import REASONS

from clipaudit.evaluation_sets.downloading import DECODING
from clipaudit.pictures.base import Reason
from clipaudit.pipelines.build_eval import meaning_of


def test_every_way_in_which_decoding_fails_has_its_meaning():
    assert len(DECODING) == len(get_args(Reason))
    words = {reason.replace("_", "-") for reason in get_args(Reason)} - {"timeout", "changed"}
    assert words | {"decoding-timeout", "changed-while-read"} == DECODING.keys()


@pytest.mark.parametrize("reason", [*DECODING, *REASONS, "http-520", "changed", "near-duplicate"])
def test_every_reason_for_which_a_picture_can_be_left_out_is_explained(reason):
    assert meaning_of(reason) not in {"", meaning_of("of no kind")}
