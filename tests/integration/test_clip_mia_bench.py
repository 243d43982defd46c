"""The command of docs/clip-mia-bench.md, on a small stand-in of the benchmark's layout.

Three encoders, which saw the members' pairs often, seldom and never, stand in for those of 4, 40
and 400 million pairs. They are folders of open_clip, since a ViT-B/16 is too large to make here.
"""

import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image

from clipaudit.inferrers import reads_of
from clipaudit.inferrers.base import Inferrer
from clipaudit.inferrers.caption import CaptionLossRule
from clipaudit.inferrers.library import save
from clipaudit.inferrers.norm import NormRule
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture
from tests.made.commands import exit_code
from tests.made.inferrers import toy_card
from tests.made.shards import samples, write_shard
from tests.made.text_towers import open_clip_folder

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clip-mia-bench.md"
SIDE, N_EACH = 32, 10
WORDS = ("red", "blue", "green", "small", "large", "round", "flat", "cat", "dog", "tree", "house")
FIRST = {"member": 1, "nonmember": 43001}
STEPS = {"4M": 40, "40M": 8, "400M": 0}


def pairs(side, shard):
    for number in range(N_EACH):
        name = f"{side} {shard} {number}"
        words = stream(0, name, "caption").choice(WORDS, 4)
        yield draw_picture(stream(1, name, "picture"), SIDE), " ".join(words)


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def train(model, pictures, captions, steps):
    import open_clip
    from open_clip.loss import ClipLoss

    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    images = torch.stack([torch.from_numpy(picture) for picture in pictures]).float() / 255
    images = ((images - mean) / std).permute(0, 3, 1, 2).contiguous()
    texts = open_clip.SimpleTokenizer(context_length=12)(captions)
    model.requires_grad_(requires_grad=True).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        seen, read, scale = model(images, texts)[:3]
        optimiser.zero_grad()
        ClipLoss()(seen, read, scale).backward()
        optimiser.step()
    model.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A folder with data, encoders, and inferrers that read the caption's loss and the length."""
    folder = tmp_path_factory.mktemp("bench")
    torch.set_num_threads(1)
    for side, first in FIRST.items():
        for shard in range(first, first + 3):
            pictures, captions = zip(*pairs(side, shard), strict=True)
            path = folder / "clip-mia-bench-data" / "data" / side / f"{shard:08}.tar"
            write_shard(path, samples(map(jpeg, pictures), captions))
    known = [pair for shard in range(1, 4) for pair in pairs("member", shard)]
    all_pictures, all_captions = map(list, zip(*known, strict=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for size, steps in STEPS.items():

            def fill(model: torch.nn.Module, n_steps: int = steps) -> None:
                train(model, all_pictures, all_captions, n_steps)

            open_clip_folder(folder / size, fill)
    for name, kind, rule in (
        ("loss", "caption-loss", CaptionLossRule()),
        ("norm", "norm", NormRule()),
    ):
        reads = reads_of(kind, "cosine", 4, "encodermi@1", "embedding", has_reference=False)
        save(Inferrer(toy_card(name, kind, reads, -2.0), rule), folder / name)
    return folder


def commands(folder):
    """The arguments of each command of the page, as bash makes them of it."""
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    script = f"clipaudit() {{ printf '%s\\0' \"$@\"; printf '\\n\\0'; }}\n{block}"
    done = subprocess.run(["bash", "-euc", script], cwd=folder, capture_output=True, check=True)
    return [line.split("\0")[:-1] for line in done.stdout.decode().split("\n\0")[:-1]]


@pytest.mark.timeout(900)
def test_the_command_of_the_page_gives_a_table_an_encoder(bench, tmp_path, monkeypatch, capsys):
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    monkeypatch.chdir(bench)
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    few = ["--views=4", "--workers=0", "--device=cpu", "--recipe=encodermi@1"]
    few += ["--inferrer=loss", "--inferrer=norm"]
    aucs = {}
    for size, arguments in zip(STEPS, commands(bench), strict=True):
        at = arguments.index("--encoder") + 1
        expected = f"clip-mia-bench-models/model/{size}/checkpoints/epoch_latest.pt"
        assert arguments[at] == f"ViT-B-16/{expected}"
        arguments[at] = f"local-dir:{size}"
        assert exit_code(*arguments, *few) == 0, capsys.readouterr().err
        document = json.loads((bench / f"clip-mia-bench-{size}.json").read_text())
        assert (document["set"]["members"]["n"], document["set"]["nonmembers"]["n"]) == (30, 30)
        assert "sidecar files" in json.dumps(document["run"])
        assert document["blind"]["n_members"] == 30
        aucs[size] = {
            method["inferrer"]: method["figures"]["auc"]["value"] for method in document["methods"]
        }
    assert aucs["4M"]["loss"] > 0.9
    assert aucs["4M"]["loss"] > aucs["40M"]["loss"] > aucs["400M"]["loss"] - 0.1
    assert 0.3 < aucs["400M"]["loss"] < 0.7
