"""Folders that differ from their control in something else: how often is that called evidence?

    python benchmarks/confounds.py PICTURES.zip ENCODER REFERENCE

Neither encoder saw any of the pictures, so every "evidence" is false. PICTURES holds a folder a
class. Suspects and control are drawn anew each time; suspects are changed, or are of some classes
alone. Prints how often the verdict of `score --control` is "evidence" with the reference, and
"weak evidence" without, at the level of 5 %, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

import clipaudit
from clipaudit.blind.trial import blind_check
from clipaudit.pictures.base import Limits
from clipaudit.pictures.preparing import Appearance, Wanted, prepare
from clipaudit.results.audit import Audit
from clipaudit.statistics.metrics import proportion
from clipaudit.verdicts.by_control import against_control
from clipaudit.verdicts.shared_pictures import Pair

LIMITS = Limits()
Change = Callable[[Image.Image, float], Image.Image]


def recompressed(picture: Image.Image, quality: float) -> Image.Image:
    file = BytesIO()
    picture.save(file, "JPEG", quality=int(quality))
    return Image.open(file).convert("RGB")


def resized(picture: Image.Image, scale: float) -> Image.Image:
    small = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    return small.resize(picture.size)


def cropped(picture: Image.Image, share: float) -> Image.Image:
    left, top = (round(side * (1 - share) / 2) for side in picture.size)
    box = (left, top, picture.width - left, picture.height - top)
    return picture.crop(box).resize(picture.size)


def another_camera(picture: Image.Image, strength: float) -> Image.Image:
    """Another tone curve, white balance and noise."""
    pixels = np.asarray(picture, dtype=np.float64) / 255
    pixels = pixels ** (1 + 0.3 * strength) * (1 + strength * np.array([0.1, 0, -0.1]))
    noise = np.random.default_rng(int(pixels.sum())).normal(0, 0.04 * strength, pixels.shape)
    return Image.fromarray((255 * np.clip(pixels + noise, 0, 1)).astype(np.uint8))


def watermarked(picture: Image.Image, opacity: float) -> Image.Image:
    over = picture.copy()
    ImageDraw.Draw(over).line((0, picture.height, picture.width, 0), fill="white", width=3)
    return Image.blend(picture, over, opacity)


def sharpened(picture: Image.Image, percent: float) -> Image.Image:
    return picture.filter(ImageFilter.UnsharpMask(1, int(percent), 0))


def brighter(picture: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(factor)


KINDS: dict[str, tuple[Change, tuple[float, ...]]] = {
    "recompressed": (recompressed, (80, 60, 30)),
    "resized": (resized, (0.9, 0.7, 0.4)),
    "cropped": (cropped, (0.95, 0.85, 0.6)),
    "sharpened": (sharpened, (20, 60, 200)),
    "brighter": (brighter, (1.03, 1.1, 1.4)),
    "another camera": (another_camera, (0.1, 0.3, 1)),
    "watermark": (watermarked, (0.1, 0.3, 0.9)),
}
"""How suspects are changed, and how strongly, in the unit of each."""
CHANGES: dict[str, tuple[Change, float]] = {
    "nothing": (lambda picture, _: picture, 0),
    **{
        f"{kind} {strength:g}": (change, strength)
        for kind, (change, strengths) in KINDS.items()
        for strength in strengths
    },
}
CLASSES = {"other classes, 30 %": 0.3, "other classes": 1.0}
"""Share of the suspects that is of an eighth of the classes, of which the control has none."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("reference")
    parser.add_argument("--n", type=int, default=700, help="pictures to draw from")
    parser.add_argument("--side", type=int, default=40, help="pictures in each of the two")
    parser.add_argument("--draws", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        classes = write_pictures(args.pictures, args.n, Path(folder))
        for references in ((), (args.reference,)):
            print(f"\n{'with' if references else 'without'} a reference", flush=True)
            audit = clipaudit.score(folder, encoder=args.encoder, references=references)
            measure(audit, classes, args.side, args.draws)


def write_pictures(archive: Path, n: int, folder: Path) -> list[str]:
    """Write so many pictures, in a folder a change; gives the class of each."""
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if not name.endswith("/"))
        chosen = [names[i] for i in np.random.default_rng(7).permutation(len(names))[:n]]
        for change, (function, strength) in CHANGES.items():
            (folder / change).mkdir()
            for number, name in enumerate(chosen):
                picture = Image.open(BytesIO(opened.read(name))).convert("RGB")
                function(picture, strength).save(folder / change / f"{number:04}.jpg", quality=85)
    return [PurePosixPath(name).parts[-2] for name in chosen]


def measure(audit: Audit, classes: Sequence[str], side: int, n_draws: int) -> None:
    """Print a line a confound."""
    rows = {(Path(row.path).parent.name, int(Path(row.path).stem)): row for row in audit.scored}
    looks = {row.sha256 or "": appearance(Path(row.path)) for row in rows.values()}
    few = set(sorted(set(classes))[: len(set(classes)) // 8])
    for confound in (*CHANGES, *CLASSES):
        generator = np.random.default_rng([len(classes), side])
        n_spoke = n_called = 0
        for seed in range(n_draws):
            suspects, control = draw(confound, classes, few, side, generator)
            sides = (
                [rows[confound if confound in CHANGES else "nothing", i] for i in suspects],
                [rows["nothing", i] for i in control],
            )
            first, second = ({row.sha256 or "": row.path for row in some} for some in sides)
            run = replace(audit.run, seed=seed)
            verdict = against_control(
                [Audit(run, tuple(sides[0]))],
                [Audit(run, tuple(sides[1]))],
                Pair(first, second, (), frozenset()),
                blind_check((), (), {}, seed),
                (["suspects"], ["control"]),
            )
            negative = verdict.negative_control
            is_higher = verdict.by_inferrer[0].outcome == "higher"
            if is_higher and (negative is None or negative.outcome == "silent"):
                n_spoke += 1
                n_called += blind_check(first, second, looks, seed).outcome == "alike"
        spoke, called = (proportion(count, n_draws) for count in (n_spoke, n_called))
        has_reference = bool(audit.run.references)
        silent = ", and the reference silent" if has_reference else ""
        grade = "evidence" if has_reference else "weak evidence"
        interval = f"{called.low:.1%} to {called.high:.1%}"
        print(
            f"  {confound:20} higher{silent}: {spoke.value:.1%}; "
            f"{grade}: {called.value:.1%} ({interval})",
            flush=True,
        )


def draw(
    confound: str,
    classes: Sequence[str],
    few: set[str],
    side: int,
    generator: np.random.Generator,
) -> tuple[list[int], list[int]]:
    """Numbers of the suspects and of the control."""
    order = [int(i) for i in generator.permutation(len(classes))]
    if confound not in CLASSES:
        return order[:side], order[side : 2 * side]
    of_few = [i for i in order if classes[i] in few][: round(side * CLASSES[confound])]
    others = [i for i in order if classes[i] not in few]
    n_more = side - len(of_few)
    return of_few + others[:n_more], others[n_more : n_more + side]


def appearance(path: Path) -> Appearance:
    """What the blind check looks at."""
    look = prepare(path.read_bytes(), Wanted(appearance=True), LIMITS).facts.appearance
    assert look is not None
    return look


if __name__ == "__main__":
    main()
