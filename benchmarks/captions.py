"""What a run costs that reads captions, beside one that makes eleven passes a picture.

    python benchmarks/captions.py --images 200 --rounds 1

Needs no network: encoder and text tower are ViT-B/32 of the true shape with random weights, and the
pictures are JPEGs of 640 × 480 drawn here, with a caption each. Each round scores the same pictures
without the store: by the inferrer T from ten views, and by the loss of picture and caption.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers import reads_of
from clipaudit.inferrers.base import Card, Inferrer, ShadowFacts
from clipaudit.inferrers.caption import CaptionLossRule
from clipaudit.inferrers.library import save
from clipaudit.inferrers.threshold import MeanRule
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import score
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture
from clipaudit.statistics.metrics import Estimate, Evidence

MODEL = "ViT-B-32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder / "pictures", arguments.images)
        encoder = make_encoder(folder / "encoder")
        inferrers = {
            "eleven passes": make_inferrer(folder / "t", "T", MeanRule()),
            "captions": make_inferrer(folder / "loss", "caption-loss", CaptionLossRule()),
        }
        seconds: dict[str, list[float]] = {what: [] for what in inferrers}
        for _ in range(arguments.rounds):
            for what, inferrer in inferrers.items():
                config = ScoreConfig(
                    encoder=encoder,
                    inferrers=(inferrer,),
                    backend="torch",
                    offline=True,
                    use_store=False,
                    captions="none" if what == "eleven passes" else "auto",
                )
                start = time.perf_counter()
                audit = score([folder / "pictures"], config)
                seconds[what].append(time.perf_counter() - start)
                assert len(audit.scored) == arguments.images
    for what, times in seconds.items():
        print(f"{what}: {statistics.median(times):.1f} s")
    pairs = zip(seconds["eleven passes"], seconds["captions"], strict=True)
    ratios = [many / few for many, few in pairs]
    print(f"eleven passes take {statistics.median(ratios):.2f} times as long")


def make_pictures(folder: Path, n: int) -> None:
    """JPEGs with a caption each, in a table beside them."""
    folder.mkdir()
    rows = []
    for number in range(n):
        picture = draw_picture(stream(0, str(number), "benchmark"), 224)
        image = Image.fromarray(np.asarray(picture)).resize((640, 480))
        image.save(folder / f"{number:04}.jpg", quality=90)
        text = f"a drawing with the number {number} and some shapes in it"
        rows.append(json.dumps({"file_name": f"{number:04}.jpg", "text": text}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))


def make_encoder(folder: Path) -> str:
    """A CLIP of the true shape with random weights, as open_clip saves it."""
    folder.mkdir()
    torch.manual_seed(0)
    model = open_clip.create_model(MODEL, load_weights=False)
    settings = {
        "model_cfg": open_clip.get_model_config(MODEL),
        "preprocess_cfg": {
            "mean": open_clip.OPENAI_DATASET_MEAN,
            "std": open_clip.OPENAI_DATASET_STD,
            "interpolation": "bicubic",
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def make_inferrer(folder: Path, kind: str, rule: MeanRule | CaptionLossRule) -> str:
    """An inferrer that learned nothing: the time of one is that of any."""
    unknown = Estimate(0.5, 0.0, 1.0, 1)
    card = Card(
        name=folder.name,
        kind=kind,
        reads=reads_of(kind, "cosine", 10, ENCODERMI.id, "embedding"),
        threshold=0.0,
        shadow=ShadowFacts("none", 1, 1, "none", "none", 1, 224, "0" * 64),
        evidence=Evidence(unknown, unknown, unknown, unknown),
        n_fitted=1,
        seed=0,
        command="benchmarks/captions.py",
        created="2026-11-28",
        clipaudit_version="0",
    )
    save(Inferrer(card, rule), folder)
    return str(folder)


if __name__ == "__main__":
    main()
