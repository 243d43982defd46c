import json

import pytest

from clipaudit.features.store import FeatureStore, default_path
from tests.made.signals import KEY, signals_of


@pytest.fixture
def filled():
    with FeatureStore() as store:
        store.put_many(KEY, signals_of(["a", "b", "c"]))


def test_a_store_that_is_not_there_is_empty_and_stays_away(command):
    code, out, _ = command("cache", "info")
    assert code == 0
    assert "features of 0 images" in out
    assert not default_path().exists()
    assert command("cache", "clear")[0] == 0
    assert not default_path().exists()


@pytest.mark.usefixtures("filled")
def test_info_says_what_is_there(command):
    _, out, _ = command("cache", "info")
    assert str(default_path()) in out
    assert "features of 3 images" in out
    assert "3 by ViT-B-32/openai, fingerprint ffffffffffff" in out
    facts = json.loads(command("cache", "info", "--json")[1])
    assert facts["n_images"] == 3
    assert facts["encoders"][0]["fingerprint"] == KEY.encoder


@pytest.mark.usefixtures("filled")
def test_clear_empties_it(command):
    assert command("cache", "clear")[0] == 0
    assert "features of 0 images" in command("cache", "info")[1]


@pytest.mark.usefixtures("filled")
def test_a_broken_store_says_what_to_do_and_that_helps(command):
    default_path().write_bytes(b"broken" * 1000)
    code, _, err = command("cache", "info")
    assert code == 4
    assert "clipaudit cache clear" in err
    assert command("cache", "clear")[0] == 0
    assert command("cache", "info")[0] == 0
