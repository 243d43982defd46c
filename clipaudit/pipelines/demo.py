"""The whole chain on ground truth, in minutes, from nothing: what `clipaudit demo` runs.

Three groups of pictures are drawn. One encoder is pre-trained on the first group, another on the
third. Then `clipaudit.pipelines.score`, the very function behind `clipaudit score`, looks at the
first two groups with both encoders. The first encoder saw one of the two groups, so the scores
should tell them apart; the other saw neither, so they must not.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.encoders.base import InputSpec
from clipaudit.errors import UsageError
from clipaudit.pipelines.config import ScoreConfig
from clipaudit.pipelines.score import score
from clipaudit.seeding import derive, stream
from clipaudit.shadow.config import PretrainConfig
from clipaudit.shadow.pretrain import Epoch, pretrain
from clipaudit.shadow.procedural import draw_picture
from clipaudit.statistics.metrics import Estimate, auc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from clipaudit.results.audit import Audit

SEEN, UNSEEN, OTHER = "seen", "unseen", "other"
MEAN_SIMILARITY = "mean similarity"

_SPEC = InputSpec(size_px=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bicubic")


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """How much to do.

    Attributes:
        n_pictures: Number of pictures in each of the three groups.
        epochs: Passes of each encoder over its group.
        device: Device to run on.
        seed: Seed of everything.
    """

    n_pictures: int = 80
    epochs: int = 600
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_pictures < 10 or self.epochs < 1:
            raise UsageError(
                "too few pictures or epochs", "Pass at least --pictures 10 and --epochs 1."
            )


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What came out, for one of the two encoders.

    Attributes:
        audit: Audit of both groups of pictures, exactly as `clipaudit score` gives it.
        aucs: Score (`mean similarity`, then each inferrer) → how well it tells the first group
            from the second. One half is guessing.
    """

    audit: Audit
    aucs: dict[str, Estimate]


def demo(
    folder: Path,
    config: DemoConfig = DemoConfig(),
    on_epoch: Callable[[str, Epoch], None] = lambda name, epoch: None,
) -> tuple[Demonstration, Demonstration]:
    """Draw, pre-train, score: for the encoder that saw the first group, and for one that did not.

    Args:
        folder: Empty folder for pictures and encoders.
        config: How much to do.
        on_epoch: Called with `target` or `control` and the epoch.

    Raises:
        ClipAuditError: The folder cannot be written to, or the device is missing.
    """
    pictures = {group: _draw_group(folder, group, config) for group in (SEEN, UNSEEN, OTHER)}
    with _one_thread():
        for name, group in (("target", SEEN), ("control", OTHER)):
            _pretrain(folder / name, pictures[group], config, partial(on_epoch, name))
        target, control = (_audit(folder, name, config) for name in ("target", "control"))
    return target, control


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within it torch computes in one thread, so that all comes out alike on any number of cores.

    Encoders as small as these gain little by more, and on a busy machine threads wait for each
    other: beside two other programs on two cores the demo took 2 minutes with one, and with two it
    was not done after 15.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _draw_group(folder: Path, group: str, config: DemoConfig) -> npt.NDArray[np.uint8]:
    """Files of one group, and its pixels, shape (n, 3, size_px, size_px)."""
    from PIL import Image

    (folder / group).mkdir(parents=True)
    side = _SPEC.size_px
    pictures = [
        draw_picture(stream(config.seed, f"{group} {number}", "demo picture"), side)
        for number in range(config.n_pictures)
    ]
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / group / f"{number:03}.png")
    return np.stack(pictures).transpose(0, 3, 1, 2).copy()


def _pretrain(
    folder: Path,
    pictures: npt.NDArray[np.uint8],
    config: DemoConfig,
    on_epoch: Callable[[Epoch], None],
) -> None:
    import torch

    from clipaudit.encoders.devices import resolve
    from clipaudit.shadow.encoder import save

    how = PretrainConfig(
        architecture="resnet-tiny",
        algorithm="simclr",
        epochs=config.epochs,
        batch_size=max(10, config.n_pictures // 2),
        learning_rate=2e-3,
        seed=derive(config.seed, folder.name, "demo encoder") % 2**31,
    )
    net = pretrain(
        torch.from_numpy(pictures),
        _SPEC.mean,
        _SPEC.std,
        how,
        device=str(resolve(config.device)),
        on_epoch=on_epoch,
    )
    save(net, folder, how.architecture, _SPEC)


def _audit(folder: Path, encoder: str, config: DemoConfig) -> Demonstration:
    audit = score(
        [folder / SEEN, folder / UNSEEN],
        ScoreConfig(
            encoder=f"shadow:{folder / encoder}",
            device=config.device,
            offline=True,
            seed=config.seed,
            use_store=False,
            command="clipaudit demo",
        ),
    )
    rows = audit.scored
    is_member = np.array([Path(row.path).parent.name == SEEN for row in rows])
    columns = {MEAN_SIMILARITY: [row.mean_similarity or 0.0 for row in rows]}
    for inferrer in audit.run.inferrers:
        found = [row.finding(inferrer.name) for row in rows]
        columns[inferrer.name] = [finding.score for finding in found if finding]
    return Demonstration(
        audit,
        {name: auc(np.array(column), is_member) for name, column in columns.items()},
    )
