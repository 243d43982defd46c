"""Whatever loads an encoder, and whatever runs it, it keeps the promises of `Encoder`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.remembered import RememberedEncoder, open_encoder
from clipaudit.encoders.spec import SCHEMES, Scheme, load_encoder
from clipaudit.errors import EncoderError
from clipaudit.features.store import FeatureStore
from tests.made.encoders import (
    from_checkpoint,
    from_folder,
    from_folder_by_onnx,
    from_folder_trunk,
    from_moco,
    from_onnx,
    from_onnx_of_one,
    from_shadow,
    from_shadow_of_byol,
    from_state_dict,
    from_timm,
    from_torch_export,
    from_torch_export_of_four,
    from_torchscript,
    from_torchvision,
    from_transformers,
    from_transformers_of_siglip,
    from_transformers_trunk,
    grow_old,
    nudge,
    untouched,
)
from tests.made.examples import entry, example

EVERY = [
    from_folder,
    from_folder_trunk,
    from_folder_by_onnx,
    from_checkpoint,
    from_torchscript,
    from_torch_export,
    from_torch_export_of_four,
    from_onnx,
    from_onnx_of_one,
    from_state_dict,
    from_moco,
    from_timm,
    from_torchvision,
    from_transformers,
    from_transformers_trunk,
    from_transformers_of_siglip,
    from_shadow,
    from_shadow_of_byol,
]

pytestmark = [
    # What is deprecated for those who write such files, not for us, who read them.
    pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def caches(tmp_path_factory):
    """Caches of this test alone: the hub's, torch.hub's and our own."""
    from huggingface_hub import constants

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))

        def use(folder: Path) -> None:
            patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
            patch.setenv("TORCH_HOME", str(folder))

        yield use


@pytest.fixture(scope="module", params=EVERY, ids=lambda make: make.__name__)
def case(request, tmp_path_factory, caches):
    if "transformers" in request.param.__name__:
        pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoder")
    made = request.param(folder, untouched)
    caches(folder)
    return made, load_encoder(made.spec, made.options), request.param, folder


def views_for(encoder, n=5):
    side = encoder.info.input.size_px
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def relative(got, expected):
    return float(((got - expected).norm(dim=1) / expected.norm(dim=1)).max())


def test_every_scheme_is_tested():
    elsewhere = {"hf-hub"}  # integration/test_hub.py, since it downloads
    names = {make.__name__ for make in EVERY}
    by_scheme = {
        "open_clip": "from_checkpoint",
        "local-dir": "from_folder",
        "state-dict": "from_state_dict",
        "torch-export": "from_torch_export",
    }
    for scheme in SCHEMES.keys() - elsewhere:
        assert by_scheme.get(scheme, f"from_{scheme}") in names


def test_it_computes_what_its_model_computes(case):
    made, encoder, _, _ = case
    views = views_for(encoder)
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (made.input.mean, made.input.std))
    with torch.no_grad():
        expected = made.reference((views - mean) / std)
    assert relative(encoder.embed(views), expected) < 1e-4


def test_it_says_what_it_is(case):
    made, encoder, _, _ = case
    info = encoder.info
    assert info.input == made.input
    assert info.output == made.output
    assert info.spec.partition(":")[2] or info.spec == made.spec
    assert len(info.fingerprint) == 64
    assert info.device == str(encoder.device) == "cpu"
    by_onnx = made.options.backend == "onnx" or made.spec.endswith(".onnx")
    assert info.backend == ("onnx" if by_onnx else "torch")


def test_embeddings_have_the_promised_shape_and_type(case):
    _, encoder, _, _ = case
    made = encoder.embed(views_for(encoder))
    assert made.shape == (5, encoder.info.dim)
    assert made.dtype == torch.float32
    assert not made.requires_grad
    assert torch.isfinite(made).all()


def test_embeddings_keep_their_length(case):
    _, encoder, _, _ = case
    norms = encoder.embed(views_for(encoder)).norm(dim=1)
    assert (norms > 0).all()
    assert not torch.allclose(norms, torch.ones_like(norms), atol=1e-3)


def test_the_batch_changes_nothing(case):
    _, encoder, _, _ = case
    views = views_for(encoder)
    together = encoder.embed(views)
    apart = torch.cat([encoder.embed(views[:1]), encoder.embed(views[1:])])
    assert relative(apart, together) < 1e-4


def test_the_views_are_left_alone(case):
    _, encoder, _, _ = case
    views = views_for(encoder)
    before = views.clone()
    encoder.embed(views)
    assert torch.equal(views, before)


def test_the_same_files_elsewhere_have_the_same_fingerprint(case, tmp_path, caches):
    made, encoder, _, folder = case
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    caches(copy)
    again = load_encoder(made.spec.replace(str(folder), str(copy)), made.options)
    assert again.info.fingerprint == encoder.info.fingerprint
    assert torch.equal(again.embed(views_for(again)), encoder.embed(views_for(encoder)))


def test_one_other_weight_is_another_fingerprint(case, tmp_path, caches):
    made, encoder, make, _ = case
    if made.options.backend == "onnx":
        pytest.skip("the fingerprint is the torch encoder's, and an export takes its time")
    other = make(tmp_path, nudge)
    caches(tmp_path)
    assert load_encoder(other.spec, other.options).info.fingerprint != encoder.info.fingerprint


def test_what_it_is_is_remembered_until_a_file_changes(case, tmp_path, caches):
    made, encoder, make, folder = case
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    grow_old(copy)
    caches(copy)
    spec = made.spec.replace(str(folder), str(copy))
    with FeatureStore(tmp_path / "store.sqlite") as store:
        loaded = open_encoder(spec, made.options, store)
        remembered = open_encoder(spec, made.options, store)
        assert isinstance(remembered, RememberedEncoder)
        assert not isinstance(loaded, RememberedEncoder)
        assert remembered.info == loaded.info
        assert torch.equal(remembered.embed(views_for(encoder)), loaded.embed(views_for(encoder)))
        if made.options.backend == "onnx":
            return  # another export takes its time
        (tmp_path / "other").mkdir()
        make(tmp_path / "other", nudge)
        for file in (path for path in copy.rglob("*") if path.is_file()):
            file.write_bytes((tmp_path / "other" / file.relative_to(copy)).read_bytes())
        changed = open_encoder(spec, made.options, store)
        assert changed.info.fingerprint == load_encoder(spec, made.options).info.fingerprint
        assert changed.info.fingerprint != loaded.info.fingerprint


def test_the_fingerprint_does_not_depend_on_what_runs_it(tmp_path, caches):
    made = from_folder(tmp_path, untouched)
    fingerprints = {
        load_encoder(made.spec, EncoderOptions(backend=backend)).info.fingerprint
        for backend in ("torch", "onnx")
    }
    assert len(fingerprints) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_an_error(case):
    made, _, _, _ = case
    with pytest.raises(EncoderError, match="cuda"):
        load_encoder(made.spec, replace(made.options, device="cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_it_computes_the_same(case):
    made, encoder, _, _ = case
    there = load_encoder(made.spec, replace(made.options, device="cuda"))
    views = views_for(encoder)
    assert relative(there.embed(views.cuda()).cpu(), encoder.embed(views)) < 1e-3


def test_a_new_backend_is_one_module_and_one_line(tmp_path, monkeypatch, capsys):
    from clipaudit.cli.app import main
    from clipaudit.encoders.catalog import list_encoders
    from tests.made.score_runs import draw_pictures

    scheme, row = entry(example("encoder").install(tmp_path), Scheme=Scheme)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(SCHEMES, scheme, row)
    pictures = draw_pictures(tmp_path / "pictures", 2)[0].parent
    for spec in ("bricks:red", "red.bricks"):
        with pytest.raises(SystemExit) as ended:
            main(["score", str(pictures), "--encoder", spec, "--format", "json", "--no-cache"])
        assert not ended.value.code
        run = json.loads(capsys.readouterr().out)
        assert run["run"]["encoder"]["spec"] == f"bricks:{spec.removeprefix('bricks:')}"
        assert len(run["rows"]) == 2
        assert all(row["status"] == "ok" for row in run["rows"])
    assert [(listed.spec, listed.note) for listed in list_encoders("bricks:")] == [
        ("bricks:red", "pictures of red bricks")
    ]
