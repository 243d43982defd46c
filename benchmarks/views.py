"""What fewer views cost, and whether choosing their number picture by picture saves passes.

    python benchmarks/views.py LAB --plot views.svg
    python benchmarks/views.py --encoder NAME shadow:RUN/encoder MEMBERS.zip NONMEMBERS.zip

LAB is a folder of `clipaudit lab run`: the signals that it recorded at ten views are read again,
with those of a reference beside them. Any other encoder is measured on pictures whose membership is
known; figures of encoders of one name are averaged. Prints a table; `--plot` draws AUC and TPR
against passes.

Compared are fixed numbers of views and sequential rules. A rule begins with two to four views, or
for `combined` with the picture itself alone, makes more where the score lies within a band, and
stops where it lies outside of it, or at its last stage. Scores at different numbers of views are
put on one scale by the known non-members: in their mean and spread, times the correlation that they
have there with the score at ten. Half of the pictures calibrate (and fit what is to be fitted), the
other half is judged, and the other way round. The threshold of an FPR of 1 % is a conformal one
over stopped scores, which holds for any rule, since stopping is a part of the score (all but
exactly, since the scale comes from the same half). Bands are chosen with hindsight, for most AUC or
fewest passes, so sequential rules look better here than they are.

Source: Wald, "Sequential Analysis" (1947), for a test that goes on between two bounds; Jennison
and Turnbull, "Group Sequential Methods" (2000), for stages; Vovk, Gammerman and Shafer,
"Algorithmic Learning in a Random World" (2005), for the p-value of a stopped score.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clipaudit.encoders.base import OUTPUTS, EncoderOptions
from clipaudit.encoders.spec import load_encoder
from clipaudit.features.embedder import Embedder, measure_all
from clipaudit.features.signals import Signals, first_views
from clipaudit.features.views import ENCODERMI, RECIPES
from clipaudit.inferrers import find_rule, reads_of
from clipaudit.inferrers.base import Features
from clipaudit.shadow.datasets import open_data
from clipaudit.statistics.metrics import Estimate, proportion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clipaudit.encoders.base import Encoder, Output
    from clipaudit.inferrers.base import Reads
    from clipaudit.statistics.metrics import BoolArray, FloatArray

MOST = 10
FIXED = (2, 3, 4, 6, 8, 10)
STAGES = ((2, 10), (3, 10), (4, 10), (2, 4, 6), (2, 4, 10), (2, 3, 4, 6, 8, 10))
FROM_NORM = ((0, 10), (0, 2, 10), (0, 2, 4, 6), (0, 2, 4, 10), (0, 2, 3, 4, 6, 8, 10))
"""Stages of rules that begin with the picture itself, whose length `combined` reads too."""

LOWS = (-np.inf, -1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
HIGHS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, np.inf)
SHOWN = (2, 3, 4, 6)
FPR = 0.01
GOAL = 0.005
HALF = (1 + MOST) / 2
FEWEST = 200
"""Non-members, for a threshold at an FPR of 1 % by half of them."""

INFERRERS = (("T", False), ("combined", False), ("adjusted", True), ("combined", True))
COLUMNS = ("cosine", "pearson", "euclidean", "norms", "plain_norm")


@dataclass(frozen=True)
class Subject:
    """An encoder with known members, as it saw them through ten views.

    Attributes:
        group: Encoders of its kind, whose figures are averaged.
        draws: Signals of the target and of its reference, if any, a draw of the views each.
        is_member: Shape (n_images,).
    """

    group: str
    draws: tuple[tuple[Signals, Signals | None], ...]
    is_member: BoolArray


@dataclass(frozen=True)
class Rule:
    """Views are made up to each stage in turn, as long as the score lies within the band."""

    stages: tuple[int, ...]
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True)
class Judged:
    """How rules did: shape (n_rules, n_draws, n_images) each; see `placements` and `stop`."""

    placed: FloatArray
    found: BoolArray
    passes: FloatArray


@dataclass(frozen=True)
class Point:
    """What a rule comes to, the mean of the encoders of a group.

    Attributes:
        rule: The rule.
        passes: Mean passes of members and of non-members, that of the picture itself among them.
        auc: AUC.
        loss: AUC of ten views minus this one, with its interval (DeLong, paired).
        tpr: Share of the members found at an FPR of 1 %.
        fpr: What that FPR came to.
    """

    rule: Rule
    passes: tuple[float, float]
    auc: float
    loss: Estimate
    tpr: float
    fpr: float

    def cost(self, share: float = 0.5) -> float:
        """Mean passes of a picture where a share of them are members."""
        return share * self.passes[0] + (1 - share) * self.passes[1]


@dataclass(frozen=True)
class Curve:
    """AUC and TPR against passes, for one inferrer on the encoders of a group.

    Attributes:
        group: The encoders.
        inferrer: The inferrer.
        n_encoders: Encoders.
        n_images: Pictures, over all encoders.
        fixed: Fixed numbers of views.
        rules: Sequential rules.
        tpr: TPR of ten views, with its interval.
    """

    group: str
    inferrer: str
    n_encoders: int
    n_images: int
    fixed: tuple[Point, ...]
    rules: tuple[Point, ...]
    tpr: Estimate

    def meets_goal(self, point: Point) -> bool:
        """Whether a rule tells members from others as ten views do."""
        return point.loss.value <= GOAL and point.tpr >= self.tpr.low

    def best_at_half(self) -> Point:
        """The sequential rule that loses least of the AUC at half of the passes.

        Where some find as many members as ten views do, within the interval, it is among those.
        """
        affordable = [point for point in self.rules if point.cost() <= HALF]
        good = [point for point in affordable if point.tpr >= self.tpr.low]
        return min(good or affordable, key=lambda point: point.loss.value)

    def fewest_passes(self, share: float) -> float:
        """What the cheapest rule costs that meets the goal, a fixed number of views among them."""
        return min(p.cost(share) for p in (*self.fixed, *self.rules) if self.meets_goal(p))

    def frontier(self, figure: str) -> list[Point]:
        """Sequential rules with an `auc` or `tpr` that none reaches with fewer passes."""
        best: list[Point] = []
        for point in sorted(self.rules, key=lambda point: point.cost()):
            if not best or getattr(point, figure) > getattr(best[-1], figure):
                best.append(point)
        return best


def _reads(kind: str, n_views: int, *, has_reference: bool) -> Reads:
    return reads_of(kind, "cosine", n_views, ENCODERMI.id, "embedding", has_reference=has_reference)


def scores_by_views(
    signals: Signals,
    reference: Signals | None,
    kind: str,
    is_member: BoolArray,
    fit: BoolArray,
) -> dict[int, FloatArray]:
    """Scores at each number of views, on the scale of the score at ten."""
    by_views = {}
    for n_views in (0, *FIXED) if kind == "combined" else FIXED:
        reads = _reads(kind if n_views else "norm", n_views, has_reference=reference is not None)
        target, beside = signals, reference
        if n_views:
            target, beside = first_views(signals, n_views), beside and first_views(beside, n_views)
        values = Features.of(target, reads, beside).values
        rule = find_rule(kind if n_views else "norm").train(values[fit], is_member[fit], 0)
        scores = rule.score(values)
        null = scores[fit & ~is_member]
        by_views[n_views] = (scores - null.mean()) / null.std()
    return by_views


def stop(
    by_views: dict[int, FloatArray], rule: Rule, null: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """The score at which each picture stops, and the passes that it took."""
    at_ten = by_views[MOST]
    scores, n_views = np.zeros_like(at_ten), np.zeros_like(at_ten)
    goes_on = np.ones(len(at_ten), dtype=bool)
    for stage in rule.stages:
        here = by_views[stage]
        shrunk = here * np.corrcoef(here[null], at_ten[null])[0, 1]
        scores, n_views = np.where(goes_on, shrunk, scores), np.where(goes_on, stage, n_views)
        goes_on = goes_on & (here >= rule.low) & (here < rule.high)
    return scores, n_views + 1


def placements(scores: FloatArray, is_member: BoolArray) -> FloatArray:
    """Of each picture the share of the other kind on its right side; the mean is the AUC."""

    def share_below(values: FloatArray, of: FloatArray) -> FloatArray:
        ordered = np.sort(of)
        below = ordered.searchsorted(values, "left") + ordered.searchsorted(values, "right")
        return np.asarray(below / (2 * len(of)))

    members, others = scores[is_member], scores[~is_member]
    placed = np.empty(len(scores))
    placed[is_member] = share_below(members, others)
    placed[~is_member] = 1 - share_below(others, members)
    return placed


def halves(is_member: BoolArray) -> npt.NDArray[np.int64]:
    """The half of each picture, 0 or 1, drawn among members and non-members apart."""
    half = np.empty(len(is_member), np.int64)
    for side in (True, False):
        rows = np.flatnonzero(is_member == side)
        half[np.random.default_rng(0).permutation(rows)] = np.arange(len(rows)) % 2
    return half


def judge(subject: Subject, kind: str, *, has_reference: bool, rules: Sequence[Rule]) -> Judged:
    """Every rule on every picture, calibrated on the half that the picture is not in."""
    is_member = subject.is_member
    shape = len(rules), len(subject.draws), len(is_member)
    placed, found, passes = np.empty(shape), np.empty(shape, bool), np.empty(shape)
    half = halves(is_member)
    for draw, (signals, reference) in enumerate(subject.draws):
        for side in (0, 1):
            fit, judged = half != side, half == side
            null = fit & ~is_member
            by_views = scores_by_views(
                signals, reference if has_reference else None, kind, is_member, fit
            )
            for row, rule in enumerate(rules):
                scores, cost = stop(by_views, rule, null)
                known, new = np.sort(scores[null]), scores[judged]
                n_above = len(known) - known.searchsorted(new)
                placed[row, draw, judged] = placements(new, is_member[judged])
                found[row, draw, judged] = (1 + n_above) / (1 + len(known)) <= FPR
                passes[row, draw, judged] = cost[judged]
    return Judged(placed, found, passes)


def curve(group: str, subjects: Sequence[Subject], kind: str, *, has_reference: bool) -> Curve:
    """The curve of an inferrer on the encoders of a group."""
    fixed = [Rule((n,)) for n in FIXED]
    stages = STAGES + (FROM_NORM if kind == "combined" else ())
    bands = [(low, high) for low, high in product(LOWS, HIGHS) if low < high]
    rules = [*fixed, *(Rule(steps, *band) for steps in stages for band in bands)]
    each = [judge(subject, kind, has_reference=has_reference, rules=rules) for subject in subjects]
    sides = [(subject.is_member, ~subject.is_member) for subject in subjects]

    def mean(array: str, row: int, side: int) -> float:
        means = (
            getattr(judged, array)[row][:, of[side]].mean()
            for judged, of in zip(each, sides, strict=True)
        )
        return float(np.mean([*means]))

    n_images = sum(len(subject.is_member) for subject in subjects)
    points = []
    for row, rule in enumerate(rules):
        worse = [
            (judged.placed[len(fixed) - 1] - judged.placed[row]).mean(axis=0) for judged in each
        ]
        loss = float(np.mean([x[of[0]].mean() for x, of in zip(worse, sides, strict=True)]))
        variance = sum(
            float(x[side].var(ddof=1)) / int(side.sum())
            for x, of in zip(worse, sides, strict=True)
            for side in of
        )
        error = 1.96 * np.sqrt(variance) / len(subjects)
        points.append(
            Point(
                rule,
                (mean("passes", row, 0), mean("passes", row, 1)),
                mean("placed", row, 0),
                Estimate(loss, loss - error, loss + error, n_images),
                mean("found", row, 0),
                mean("found", row, 1),
            )
        )
    n_members = sum(int(of[0].sum()) for of in sides)
    return Curve(
        group,
        f"{kind} + reference" if has_reference else kind,
        len(subjects),
        n_images,
        tuple(points[: len(fixed)]),
        tuple(points[len(fixed) :]),
        proportion(round(points[len(fixed) - 1].tpr * n_members), n_members),
    )


def curves(subjects: Sequence[Subject]) -> Iterator[Curve]:
    """The curves of all inferrers on all groups of encoders."""
    by_group = defaultdict(list)
    for subject in subjects:
        by_group[subject.group].append(subject)
    for group, its in by_group.items():
        for kind, has_reference in INFERRERS:
            if has_reference and any(draw[1] is None for subject in its for draw in subject.draws):
                continue
            yield curve(group, its, kind, has_reference=has_reference)


def subjects_of_lab(lab: Path) -> Iterator[Subject]:
    """Encoders of a lab whose signals of ten views were recorded, with those of a reference."""
    from safetensors.numpy import load

    def read(file: Path) -> Signals:
        arrays = load(file.read_bytes())
        ids = tuple(map(str, range(len(arrays["plain_norm"]))))
        return Signals(ids, *(arrays[name] for name in COLUMNS))

    about = {
        file.parent: json.loads(file.read_text("utf-8"))
        for file in sorted(lab.glob("encoders/*/about.json"))
    }
    for folder, unit in about.items():
        how = unit["pretrain"]
        recipe = "" if how["recipe"] == "encodermi@1" else f"-{how['recipe']}"
        file = folder / "signals" / f"embedding-end-draw0-n{MOST}{recipe}.safetensors"
        if unit["role"] not in ("target", "shadow") or not file.exists():
            continue
        likewise = (
            other / "signals" / f"embedding-end-draw0-n{MOST}-of-{unit['role']}{recipe}.safetensors"
            for other, its in about.items()
            if its["role"] == "reference"
            and (its["seed"], its["pretrain"]["architecture"])
            == (unit["seed"], how["architecture"])
        )
        reference = next((read(file) for file in likewise if file.exists()), None)
        signals = read(file)
        n = len(signals.image_ids)
        if n < 2 * FEWEST:
            message = f"{folder}: {n // 2} non-members are too few, {FEWEST} are needed"
            print(message, file=sys.stderr)
            continue
        name = f"{how['architecture']}, {how['algorithm']}, {how['epochs']} epochs"
        yield Subject(name, ((signals, reference),), np.arange(n) < n // 2)


def subject_of_encoder(
    name: str, target: str, sets: Sequence[str], reference: str | None, options: argparse.Namespace
) -> Subject:
    """An encoder, measured on members and non-members."""
    output: Output | None = options.output
    specs = [target, reference] if reference else [target]
    encoders = [load_encoder(spec, EncoderOptions(output=output)) for spec in specs]
    data = [open_data(path, None, Path()) for path in sets]
    members, others = (tuple(its.ids)[: options.limit] for its in data)
    if len(others) < FEWEST:
        raise SystemExit(f"{len(others)} non-members are too few: {FEWEST} are needed")

    def signals(encoder: Encoder, draw: int) -> Signals:
        size_px = encoder.info.input.size_px
        pixels = [
            its.pixels(ids, size_px) for its, ids in zip(data, (members, others), strict=True)
        ]
        embedder = Embedder(encoder, RECIPES[options.recipe], MOST, draw)
        return measure_all(embedder, members + others, np.concatenate(pixels), "Take another.")[0]

    draws = []
    for draw in range(options.draws):
        seen = [signals(encoder, draw) for encoder in encoders]
        draws.append((seen[0], seen[1] if reference else None))
    is_member = np.arange(len(members) + len(others)) < len(members)
    return Subject(f"{name}, {output}" if output else name, tuple(draws), is_member)


def table(found: Sequence[Curve]) -> str:
    """The curves as a table: what is lost, and what the goal would cost."""
    heads = [
        *("encoders", "inferrer", "AUC, ten views", *(f"less with {n}" for n in SHOWN)),
        *("TPR, ten views", "TPR, four views"),
        *("sequential: less AUC", "TPR", "passes for the goal, half are members", "a tenth"),
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for line in found:
        best = line.best_at_half()
        few = {point.rule.stages[-1]: point for point in line.fixed}
        cells = [
            f"{line.n_encoders} × {line.group} (n = {line.n_images:,})",
            *(line.inferrer, f"{few[MOST].auc:.3f}"),
            *(f"{few[n].loss.value:.3f}" for n in SHOWN),
            f"{line.tpr.value:.1%} ({line.tpr.low:.1%} to {line.tpr.high:.1%})",
            f"{few[4].tpr:.1%}",
            f"{best.loss.value:.3f} ({best.loss.low:.3f} to {best.loss.high:.3f})",
            f"{best.tpr:.1%}",
            *(f"{line.fewest_passes(share):.1f}" for share in (0.5, 0.1)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(found: Sequence[Curve], path: Path) -> None:
    """Draw AUC and TPR against passes, a column a group of encoders."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(line.group for line in found))
    with rc_context(
        {"font.size": 8, "axes.titlesize": 8, "svg.hashsalt": "views", "svg.fonttype": "none"}
    ):
        figure = Figure(figsize=(1 + 1.7 * len(groups), 4.2), layout="constrained")
        axes = figure.subplots(2, len(groups), sharex=True, squeeze=False)
        for line in found:
            kind, _, reference = line.inferrer.partition(" + ")
            rule = find_rule(kind)
            is_second_form = reference and rule.reference == "optional"
            colour = rule.reference_colour if is_second_form else rule.colour
            column = axes[:, groups.index(line.group)]
            column[0].set_title(line.group.replace(", ", "\n"))
            for ax, name in zip(column, ("auc", "tpr"), strict=True):
                for points, marks in ((line.fixed, "o-"), (line.frontier(name), ":")):
                    ax.plot(
                        [point.cost() for point in points],
                        [getattr(point, name) for point in points],
                        marks,
                        color=colour,
                        markersize=3,
                        linewidth=1,
                        label=line.inferrer if marks == "o-" else None,
                    )
                ax.axvline(HALF, color="#999999", linewidth=0.6)
            column[1].set_xlabel("passes a picture")
        axes[0][0].set_ylabel("AUC")
        axes[1][0].set_ylabel("TPR at 1 % FPR")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        no_date = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=110, metadata=no_date)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("labs", type=Path, nargs="*", help="folders of `clipaudit lab run`")
    parser.add_argument(
        "--encoder",
        nargs="+",
        action="append",
        default=[],
        help="NAME SPEC MEMBERS NONMEMBERS [REFERENCE]: folders or zip files, and another spec",
    )
    parser.add_argument("--output", choices=OUTPUTS)
    parser.add_argument("--limit", type=int, default=1000, help="pictures of each set")
    parser.add_argument("--recipe", choices=RECIPES, default=ENCODERMI.id)
    parser.add_argument("--draws", type=int, default=2, help="draws of the views")
    parser.add_argument("--plot", type=Path, help="file for the figure, .svg or .png")
    options = parser.parse_args()
    if not (options.labs or options.encoder) or any(len(x) not in (4, 5) for x in options.encoder):
        parser.error("name a LAB, or --encoder NAME SPEC MEMBERS NONMEMBERS [REFERENCE]")
    subjects = [subject for lab in options.labs for subject in subjects_of_lab(lab)]
    for name, spec, members, others, *reference in options.encoder:
        sets, beside = (members, others), reference[0] if reference else None
        subjects.append(subject_of_encoder(name, spec, sets, beside, options))
    if not subjects:
        raise SystemExit(f"no encoder has the signals of {MOST} views recorded")
    found = [*curves(subjects)]
    print(table(found))
    rates = [line.best_at_half().fpr for line in found]
    print(f"\nThe FPR of 1 % came to {min(rates):.1%} to {max(rates):.1%} with the rules shown.")
    if options.plot:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
