"""What an encoder is is remembered, and never taken for what it was."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest
import torch

from clipaudit.encoders import remembered
from clipaudit.encoders.base import EncoderOptions, InputOverrides
from clipaudit.encoders.remembered import RememberedEncoder, open_encoder, open_text_tower
from clipaudit.encoders.spec import SCHEMES, Scheme, load_encoder
from clipaudit.encoders.text_towers import load_text_tower
from clipaudit.errors import EncoderError
from clipaudit.features.store import FeatureStore
from tests.made.encoders import describe, from_onnx, from_state_dict, grow_old, nudge, untouched
from tests.made.text_towers import from_folder

VIEWS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def store(tmp_path):
    with FeatureStore(tmp_path / "store.sqlite") as opened:
        yield opened


@pytest.fixture
def made(tmp_path, store):
    """An encoder in a folder, of which the store remembers what it is."""
    (tmp_path / "encoder").mkdir()
    encoder = from_onnx(tmp_path / "encoder", untouched)
    grow_old(tmp_path / "encoder")
    assert not is_remembered(encoder.spec, encoder.options, store)
    assert is_remembered(encoder.spec, encoder.options, store)
    return encoder


def is_remembered(spec, options, store):
    return isinstance(open_encoder(spec, options, store), RememberedEncoder)


def weights_of(folder):
    return folder / "encoder" / "encoder.data"


def test_other_weights_of_the_same_size_are_noticed(made, store, tmp_path):
    file = weights_of(tmp_path)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    encoder = open_encoder(made.spec, made.options, store)
    assert not isinstance(encoder, RememberedEncoder)
    assert encoder.info.fingerprint == load_encoder(made.spec, made.options).info.fingerprint


@pytest.mark.parametrize("name", ["encoder.onnx", "encoder.data", "encoder.json"])
def test_a_file_that_took_the_place_of_another_is_noticed(made, store, tmp_path, name):
    file = tmp_path / "encoder" / name
    shutil.copy2(file, tmp_path / "other")  # of the same size, and changed at the same time
    (tmp_path / "other").replace(file)
    assert not is_remembered(made.spec, made.options, store)
    assert is_remembered(made.spec, made.options, store)


def test_a_file_that_was_touched_is_read_again(made, store, tmp_path):
    fingerprint = open_encoder(made.spec, made.options, store).info.fingerprint
    os.utime(weights_of(tmp_path), (0, 0))
    encoder = open_encoder(made.spec, made.options, store)
    assert not isinstance(encoder, RememberedEncoder)
    assert encoder.info.fingerprint == fingerprint


def test_a_change_that_keeps_the_time_is_noticed(made, store, tmp_path):
    file = weights_of(tmp_path)
    status = file.stat()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not is_remembered(made.spec, made.options, store)


def test_a_file_of_this_second_is_not_remembered_yet(made, store, tmp_path):
    os.utime(weights_of(tmp_path))
    assert not is_remembered(made.spec, made.options, store)
    assert not is_remembered(made.spec, made.options, store)


def test_a_description_that_appears_is_noticed(tmp_path, store):
    (tmp_path / "encoder").mkdir()
    made = from_onnx(tmp_path / "encoder", untouched)
    (tmp_path / "encoder" / "encoder.json").unlink()
    grow_old(tmp_path / "encoder")
    given = InputOverrides(32, (0.5,) * 3, (0.5,) * 3, "bicubic")
    options = EncoderOptions(input=given)
    assert not is_remembered(made.spec, options, store)
    assert is_remembered(made.spec, options, store)
    describe(tmp_path / "encoder" / "encoder.onnx", output="trunk")
    assert open_encoder(made.spec, options, store).info.output == "trunk"


@pytest.mark.parametrize(
    "changes",
    [
        {"output": "trunk"},
        {"backend": "onnx"},
        {"device": "cpu"},
        {"input": InputOverrides(mean=(0.1, 0.2, 0.3))},
    ],
)
def test_other_options_are_another_encoder(made, store, changes):
    options = replace(made.options, **changes)
    encoder = open_encoder(made.spec, options, store)
    assert not isinstance(encoder, RememberedEncoder)
    assert encoder.info == load_encoder(made.spec, options).info


def test_options_that_change_nothing_of_it_do_not_count(made, store):
    options = replace(made.options, n_views_ahead=10**6, batch_timeout_s=3.0)
    assert is_remembered(made.spec, options, store)


@pytest.mark.parametrize("variable", ["HF_HOME", "TORCH_HOME", "HOME"])
def test_other_folders_of_weights_count(made, store, monkeypatch, variable):
    monkeypatch.setenv(variable, "/elsewhere")
    assert not is_remembered(made.spec, made.options, store)


def test_another_version_counts(made, store, monkeypatch):
    monkeypatch.setattr(remembered, "__version__", "99")
    assert not is_remembered(made.spec, made.options, store)


def test_the_same_name_in_another_folder_is_another_encoder(tmp_path, store, monkeypatch):
    for name, touch in (("one", untouched), ("two", nudge)):
        (tmp_path / name).mkdir()
        from_onnx(tmp_path / name, touch)
        grow_old(tmp_path / name)
    found = []
    for name in ("one", "two", "one", "two"):
        monkeypatch.chdir(tmp_path / name)
        found.append(open_encoder("encoder.onnx", EncoderOptions(), store).info.fingerprint)
    assert found[:2] == found[2:]
    assert found[0] != found[1]


def test_what_is_gone_is_the_error_that_it_was_before(made, store, tmp_path):
    weights_of(tmp_path).unlink()
    with pytest.raises(EncoderError) as expected:
        load_encoder(made.spec, made.options)
    with pytest.raises(EncoderError) as error:
        open_encoder(made.spec, made.options, store)
    assert error.value.args == expected.value.args


def test_what_goes_before_its_first_use_is_the_error_that_it_was_before(made, store, tmp_path):
    encoder = open_encoder(made.spec, made.options, store)
    weights_of(tmp_path).unlink()
    with pytest.raises(EncoderError) as expected:
        load_encoder(made.spec, made.options)
    with pytest.raises(EncoderError) as error:
        encoder.embed(VIEWS)
    assert error.value.args == expected.value.args


def test_what_changes_before_its_first_use_is_an_error_once(made, store, tmp_path):
    encoder = open_encoder(made.spec, made.options, store)
    from_onnx(tmp_path / "encoder", nudge)
    grow_old(tmp_path / "encoder")
    with pytest.raises(EncoderError, match="no longer the encoder that it was") as error:
        encoder.embed(VIEWS)
    assert "Run it again" in error.value.hint
    again = open_encoder(made.spec, made.options, store)
    assert isinstance(again, RememberedEncoder)
    assert torch.equal(again.embed(VIEWS), load_encoder(made.spec, made.options).embed(VIEWS))


@pytest.mark.parametrize("facts", ["", "{", "[]", '{"info": {}, "files": {}}'])
def test_facts_that_make_no_sense_are_passed_over(made, store, facts):
    ((key,),) = store.connection.execute("SELECT key FROM encoders").fetchall()
    store.put_encoder(key, facts)
    assert not is_remembered(made.spec, made.options, store)
    assert is_remembered(made.spec, made.options, store)


def test_a_damaged_row_is_passed_over(made, store):
    store.connection.execute("UPDATE encoders SET facts = replace(facts, 'cpu', 'gpu')")
    assert not is_remembered(made.spec, made.options, store)


def test_an_empty_store_knows_no_encoder(made, store):
    store.clear()
    assert not is_remembered(made.spec, made.options, store)


def test_an_architecture_counts(tmp_path, store):
    made = from_state_dict(tmp_path, untouched)
    grow_old(tmp_path)
    assert not is_remembered(made.spec, made.options, store)
    assert is_remembered(made.spec, made.options, store)
    with pytest.raises(EncoderError, match="does not fit"):
        open_encoder(made.spec, replace(made.options, architecture="torchvision:resnet34"), store)


def test_an_encoder_without_files_is_never_remembered(tmp_path, store, monkeypatch):
    monkeypatch.setitem(SCHEMES, "seeded", Scheme(f"{__name__}:load_seeded"))
    for name in ("1", "2", "1"):
        encoder = open_encoder(f"seeded:{name}", EncoderOptions(), store)
        assert encoder.info.fingerprint == name * 64


def load_seeded(name, options):
    """An encoder with random weights, as a backend may have for a trial."""
    from tests.made.score_runs import Probe

    probe = Probe("plain", options)
    probe.info = replace(probe.info, fingerprint=name * 64)
    return probe


@pytest.mark.parametrize("changed", ["open_clip_model.safetensors", "open_clip_config.json"])
def test_a_text_tower_is_remembered_until_a_file_changes(tmp_path, store, changed):
    made = from_folder(tmp_path / "pair", untouched)
    grow_old(tmp_path / "pair")
    loaded = open_text_tower(made.spec, made.options, store)
    tower = open_text_tower(made.spec, made.options, store)
    assert type(tower) is not type(loaded)
    assert tower.info == loaded.info
    captions = ["a cat", "a dog"]
    vectors = tower.embed_texts(captions).vectors
    assert (vectors == loaded.embed_texts(captions).vectors).all()
    os.utime(tmp_path / "pair" / changed)
    assert type(open_text_tower(made.spec, made.options, store)) is type(loaded)
    assert open_text_tower(made.spec, made.options, store).info == (
        load_text_tower(made.spec, made.options).info
    )
