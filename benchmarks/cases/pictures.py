"""Pictures and encoders that the cases share; all drawn here, so no network is needed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from clipaudit.encoders.base import InputSpec
from clipaudit.encoders.third_party import quiet
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture

N_VIEWS = 10
SIDE = 224


def make_jpegs(folder: Path, n: int, width: int, height: int) -> list[Path]:
    """JPEGs of quality 90: small drawings, enlarged, with grain."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(n):
        generator = stream(0, str(number), "benchmark picture")
        drawing = Image.fromarray(draw_picture(generator, 256)).resize((width, height))
        grain = generator.normal(0, 6, (height, width, 3)).astype(np.float32)
        pixels = np.clip(np.asarray(drawing) + grain, 0, 255).astype(np.uint8)
        paths.append(folder / f"{number:06}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def arrays(n: int, size_px: int = SIDE) -> tuple[tuple[str, ...], npt.NDArray[np.uint8]]:
    """Ids and pixels of pictures that are already small, shape (n, 3, size_px, size_px)."""
    images = [draw_picture(stream(0, str(number), "benchmark"), size_px) for number in range(n)]
    ids = tuple(hashlib.sha256(str(number).encode()).hexdigest() for number in range(n))
    return ids, np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))


def random_weights(folder: Path, model: str = "ViT-B-32") -> str:
    """The spec of an open_clip model of its true shape with random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    path = folder / "random.safetensors"
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        net = open_clip.create_model(model, load_weights=False)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return f"{model}/{path}"


def tiny_encoder(folder: Path) -> str:
    """The spec of a shadow encoder for pictures of 32 pixels, which learned nothing."""
    from clipaudit.shadow.architectures import build
    from clipaudit.shadow.encoder import save

    spec = InputSpec(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bicubic")
    save(build("resnet-tiny", 32, seed=0), folder / "encoder", "resnet-tiny", spec)
    return f"shadow:{folder / 'encoder'}"
