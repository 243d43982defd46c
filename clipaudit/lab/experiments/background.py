"""What the shadow side must know of the target encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.knowledge import setting_of
from clipaudit.lab.paper import Reported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.lab.cells import Cell
    from clipaudit.lab.knowledge import Knowledge
    from clipaudit.lab.planning import Repetition

_ANY = Reported(0.868, 0.868)


class Background(ExperimentKind):
    """A cell a combination of background knowledge."""

    title = "Background knowledge"
    setting = "known of the target"
    remark = (
        "Paper: accuracy of V on Tiny-ImageNet 88.7 % with no knowledge, 94.1 % with the "
        "algorithm alone, 89.1 % with the architecture alone, 93.0 % with the data alone; on "
        "CIFAR-10 about 86.8 % with any single one."
    )
    reported: ClassVar = {
        ("tiny-imagenet", "nothing", "V"): Reported(0.887, 0.887),
        ("tiny-imagenet", "data", "V"): Reported(0.930, 0.930),
        ("tiny-imagenet", "architecture", "V"): Reported(0.891, 0.891),
        ("tiny-imagenet", "algorithm", "V"): Reported(0.941, 0.941),
        ("cifar10", "data", "V"): _ANY,
        ("cifar10", "architecture", "V"): _ANY,
        ("cifar10", "algorithm", "V"): _ANY,
    }

    def knowledge(
        self, combinations: tuple[tuple[Knowledge, ...], ...]
    ) -> tuple[tuple[Knowledge, ...], ...]:
        """What its cells know of the target encoder: a combination each."""
        return combinations

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        right, wrong = repetition.scale.known, repetition.scale.unknown
        for known in repetition.combinations:
            shadow = repetition.encoder(
                "shadow",
                data=None if "data" in known else repetition.unknown_data,
                architecture=(right if "architecture" in known else wrong).architecture,
                algorithm=(right if "algorithm" in known else wrong).algorithm,
            )
            yield repetition.cell(setting_of(known), shadow=shadow)
