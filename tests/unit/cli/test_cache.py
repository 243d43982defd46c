import json

import pytest

from clipaudit.cli.app import main
from clipaudit.features.store import FeatureStore, default_path
from tests.unit.features.test_store import KEY, signals_of


def run(capsys, *arguments):
    try:
        main(["cache", *arguments])
        code = 0
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def filled():
    with FeatureStore() as store:
        store.put_many(KEY, signals_of(["a", "b", "c"]))


def test_a_store_that_is_not_there_is_empty_and_stays_away(capsys):
    code, out, _ = run(capsys, "info")
    assert code == 0
    assert "features of 0 images" in out
    assert not default_path().exists()
    assert run(capsys, "clear")[0] == 0
    assert not default_path().exists()


@pytest.mark.usefixtures("filled")
def test_info_says_what_is_there(capsys):
    _, out, _ = run(capsys, "info")
    assert str(default_path()) in out
    assert "features of 3 images" in out
    assert "3 by ViT-B-32/openai, fingerprint ffffffffffff" in out
    facts = json.loads(run(capsys, "info", "--json")[1])
    assert facts["n_images"] == 3
    assert facts["encoders"][0]["fingerprint"] == KEY.encoder


@pytest.mark.usefixtures("filled")
def test_clear_empties_it(capsys):
    assert run(capsys, "clear")[0] == 0
    assert "features of 0 images" in run(capsys, "info")[1]


@pytest.mark.usefixtures("filled")
def test_a_broken_store_says_what_to_do_and_that_helps(capsys):
    default_path().write_bytes(b"broken" * 1000)
    code, _, err = run(capsys, "info")
    assert code == 4
    assert "clipaudit cache clear" in err
    assert run(capsys, "clear")[0] == 0
    assert run(capsys, "info")[0] == 0
