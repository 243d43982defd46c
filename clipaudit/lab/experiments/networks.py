"""V and S as we build them, beside the networks of a public file set that matches the paper."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from clipaudit.lab.experiments.base import ExperimentKind
from clipaudit.lab.judging import judge_scores, look_of, truth
from clipaudit.lab.measurements import examples, features
from clipaudit.lab.paper import Reported
from clipaudit.lab.units import Fit
from clipaudit.seeding import derive, lent_to_torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from clipaudit.encoders.base import Output
    from clipaudit.inferrers.base import Kind
    from clipaudit.lab.cells import Cell, Plan
    from clipaudit.lab.planning import Repetition
    from clipaudit.lab.results import Outcome
    from clipaudit.shadow.config import Algorithm
    from clipaudit.statistics.metrics import FloatArray

V, S = "V, tanh and softmax", "S, max pooling"

_OF_THE_FILE_SET: tuple[Algorithm, ...] = ("mocov2", "mocov2-split")
"""MoCo, with batch norm as ours has it, and as the file set has it."""

_HIDDEN = 256
_EPOCHS = 300
_BATCH = 100


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a network of the file set is trained: cross-entropy over two classes, with Adam.

    Attributes:
        learning_rate: Of Adam.
        weight_decay: Weight of the squared weights in the loss.
        largest_gradient: Norm that the gradient is cut to; None leaves it.
    """

    learning_rate: float
    weight_decay: float
    largest_gradient: float | None = None


RECIPES = {V: _Recipe(1e-4, 1e-6), S: _Recipe(1e-3, 1e-7, 5.0)}
"""By the name of the network. What is not known of S, batches of 100 and 300 epochs, is as V's."""


class Networks(ExperimentKind):
    """A cell an algorithm, in which both pairs of networks learn from the same shadow encoder.

    Those of the file set read raw cosines. Its V has two hidden layers of 256 units with tanh, and
    two outputs. Its S has three layers with tanh on each similarity less the greatest of its set,
    the maximum over the set, and two layers with dropout on that (Zaheer et al., "Deep Sets", 2017,
    the equivariant layer with maximum).
    """

    title = "V and S, and the networks of a public file set"
    setting = "algorithm of both encoders"
    remark = (
        "Paper: two hidden layers of 256 units (V), DeepSets (S). A public file set that matches "
        "it has tanh, softmax and maxima where ours have ReLU, one logit and means, and reads "
        "similarities that are not standardised."
    )
    reported: ClassVar = {("cifar10", "mocov2-split", V): Reported(0.914, 0.914)}
    colours: ClassVar = {V: "#6fa8d6", S: "#e39aa7"}

    def cells(self, repetition: Repetition) -> Iterator[Cell]:
        """See `ExperimentKind.cells`."""
        for algorithm in (repetition.scale.known.algorithm, *_OF_THE_FILE_SET):
            target, shadow = (
                repetition.encoder(role, algorithm=algorithm) for role in ("target", "shadow")
            )
            yield repetition.cell(algorithm, target=target, shadow=shadow)

    def judge(
        self, cell: Cell, plan: Plan, outputs: Sequence[Output], kinds: Sequence[Kind]
    ) -> Iterator[Outcome]:
        """See `ExperimentKind.judge`."""
        yield from super().judge(cell, plan, outputs, kinds)
        target, shadow = plan.units[cell.target], plan.units[cell.shadow]
        for output in outputs:
            fit = Fit(output, "V", cell.similarity, cell.n_views, len(shadow.draws))
            learned = examples(shadow, fit)
            judged = features(target, look_of(target, output), fit.reads)
            for name in RECIPES:
                seed = derive(cell.seed, f"{name} {output}", "lab networks") % 2**63
                scores = train_and_score(name, *learned, judged, seed)
                yield judge_scores(cell, output, name, scores, truth(target), 0.0)


def train_and_score(
    name: str,
    learned: npt.NDArray[np.float32],
    is_member: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.float32],
    seed: int,
) -> FloatArray:
    """Train a network of the file set on some pictures, and score others.

    Args:
        name: `V` or `S` of this module.
        learned: Shape (n, n_pairs): similarities of pictures whose membership is known.
        is_member: Shape (n,).
        judged: Shape (m, n_pairs).
        seed: Seed of the first weights, the dropout and the order of the examples.

    Returns:
        Shape (m,): the logit of a member less that of a non-member.
    """
    import torch
    from torch.nn.functional import cross_entropy

    recipe = RECIPES[name]
    x, of_judged = (_ranked(values, is_set=name == S) for values in (learned, judged))
    y = torch.from_numpy(is_member.astype(np.int64))
    with lent_to_torch(seed):
        net = _vector_net(learned.shape[1]) if name == V else _set_net()
        optimizer = torch.optim.Adam(
            net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        for _ in range(_EPOCHS):
            for batch in torch.randperm(len(x)).split(_BATCH):
                optimizer.zero_grad()
                cross_entropy(net(x[batch]), y[batch]).backward()
                if recipe.largest_gradient:
                    torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.largest_gradient)
                optimizer.step()
    net.eval()
    with torch.inference_mode():
        logits = net(of_judged).double().numpy()
    scores: FloatArray = logits[:, 1] - logits[:, 0]
    return scores


def _ranked(values: npt.NDArray[np.float32], *, is_set: bool) -> Tensor:
    """Similarities in descending order, shape (n, n_pairs), or (n, n_pairs, 1) as a set."""
    import torch

    ranked = torch.from_numpy(np.ascontiguousarray(-np.sort(-values, axis=1)))
    return ranked[..., None] if is_set else ranked


def _vector_net(n_pairs: int) -> nn.Module:
    """Similarities in descending order → two logits."""
    from torch import nn

    widths = (n_pairs, _HIDDEN, _HIDDEN)
    hidden = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.Tanh())]
    return nn.Sequential(*hidden, nn.Linear(_HIDDEN, 2))


def _set_net() -> nn.Module:
    """Similarities in any order → two logits."""
    from torch import nn

    class LessTheGreatest(nn.Module):
        def __init__(self, n_in: int) -> None:
            super().__init__()
            self.dense = nn.Linear(n_in, _HIDDEN)

        def forward(self, elements: Tensor) -> Tensor:
            less: Tensor = self.dense(elements - elements.amax(1, keepdim=True))
            return less.tanh()

    class Greatest(nn.Module):
        def forward(self, elements: Tensor) -> Tensor:
            return elements.amax(1)

    return nn.Sequential(
        *(LessTheGreatest(n_in) for n_in in (1, _HIDDEN, _HIDDEN)),
        Greatest(),
        *(nn.Dropout(0.5), nn.Linear(_HIDDEN, _HIDDEN), nn.Tanh()),
        *(nn.Dropout(0.5), nn.Linear(_HIDDEN, 2)),
    )
