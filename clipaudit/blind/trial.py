"""Two sets of pictures → whether they can be told apart without the encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.blind.baseline import MIN_OF_EACH, BlindCheck, blind_baseline
from clipaudit.blind.cross_validation import groups_of_each, numbered
from clipaudit.pictures.image_statistics import STATISTICS
from clipaudit.seeding import stream
from clipaudit.statistics.metrics import BoolArray, FloatArray
from clipaudit.text.numbers import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clipaudit.blind.baseline import BlindReport
    from clipaudit.pictures.image_statistics import Statistic
    from clipaudit.pictures.preparing import Appearance

MOST_OF_EACH = 1_000
"""Pictures that are looked at on each side; of more, those whose SHA-256 comes first, which is as
good as random."""


_FACTS = (
    *("width", "height", "aspect", "file_size", "file_density", "is_jpeg", "is_png", "is_webp"),
    *("jpeg_quality", "jpeg_chroma", "is_progressive", "has_exif", "has_profile"),
    *("metadata_size", "grey_share", "border_sd", "border_step", "black_share", "white_share"),
)
"""Statistics of the file, its mode and its margins, which differ in an instant if they do."""
_LEVEL = 0.025
"""As often as the interval of an AUC lies above one half by chance."""
_N_PERMUTATIONS = 9_999
_MOST_CELLS = 4_000_000
"""Numbers that are dealt at once."""

KINDS: dict[str, tuple[str, Callable[[FloatArray], BoolArray]]] = {
    "border_sd": ("have a plain margin", lambda levels: levels <= math.log2(1 + 3)),
    "grey_share": ("are grey", lambda share: share >= 0.999),
    "is_jpeg": ("are JPEGs", lambda flag: flag > 0.5),
    "is_png": ("are PNGs", lambda flag: flag > 0.5),
    "is_webp": ("are WebPs", lambda flag: flag > 0.5),
    "is_progressive": ("are progressive or interlaced", lambda flag: flag > 0.5),
    "has_exif": ("have EXIF data", lambda flag: flag > 0.5),
    "has_profile": ("have a colour profile", lambda flag: flag > 0.5),
}
"""Kinds of picture of which a set may hold a few: a statistic → words, and whether it is one."""


@dataclass(frozen=True, slots=True, eq=False)
class BlindTrial:
    """What came of an attempt to tell two sets apart.

    Attributes:
        image_ids: SHA-256 of the pictures that were looked at, those of the first set first.
        is_first: Shape (n,): whether it is one of the first set.
        report: What was found, its scores in the same order; None where it could not be tried.
        reason: Why it could not be; else empty.
    """

    image_ids: tuple[str, ...]
    is_first: BoolArray = field(repr=False)
    report: BlindReport | None
    reason: str = ""

    @property
    def is_too_small(self) -> bool:
        """Whether no difference of any size could be shown."""
        return 2 / math.comb(len(self.image_ids), int(self.is_first.sum())) > _LEVEL


def looked_at(image_ids: Iterable[str]) -> list[str]:
    """The pictures of a set that a trial looks at, by SHA-256."""
    return sorted(image_ids)[:MOST_OF_EACH]


def blind_trial(
    first: Iterable[str],
    second: Iterable[str],
    appearances: Mapping[str, Appearance],
    seed: int,
    between: tuple[str, str],
    families: Mapping[str, object] | None = None,
) -> BlindTrial:
    """Let classifiers that never see the encoder try to tell one set from another.

    Args:
        first: SHA-256 of pictures, different ones all.
        second: SHA-256 of others.
        appearances: What is known of those that are `looked_at`, by SHA-256; a picture without an
            entry is passed over.
        seed: Seed of the folds.
        between: What to call the two sets.
        families: What pictures have in common that are not independent, by SHA-256; those that
            stand alone need no entry.
    """
    known, others = (
        [key for key in looked_at(side) if key in appearances] for side in (first, second)
    )
    trial, groups = start_trial(known, others, families)
    if trial.reason:
        return trial
    report = blind_baseline(
        np.stack([appearances[image_id].statistics for image_id in trial.image_ids]),
        trial.is_first,
        embeddings=np.stack([appearances[image_id].embedding for image_id in trial.image_ids]),
        groups=groups,
        between=between,
        seed=seed,
    )
    return replace(trial, report=report)


def start_trial(
    first: Sequence[str], second: Sequence[str], families: Mapping[str, object] | None = None
) -> tuple[BlindTrial, Sequence[object] | None]:
    """Two sets as a trial without a report, and the family of each picture, where there are some.

    The trial has a reason where there are too few pictures for classifiers.

    Args:
        first: SHA-256 of the pictures of one set.
        second: SHA-256 of those of the other.
        families: As for `blind_trial`.
    """
    image_ids = (*first, *second)
    truth = np.arange(len(image_ids)) < len(first)
    groups = [(families or {}).get(image_id, image_id) for image_id in image_ids]
    numbers = numbered(groups, np.arange(len(groups)))
    n_independent = groups_of_each(truth, numbers)
    reason = ""
    if n_independent < MIN_OF_EACH:
        reason = f"that takes {MIN_OF_EACH} pictures on each side"
        if len(np.unique(numbers)) == len(groups):
            reason += f", and there are {int(truth.sum()):,} and {int((~truth).sum()):,}"
        else:
            reason += f" with no photograph in common, and on one there are {n_independent:,}"
    return BlindTrial(image_ids, truth, None, reason), groups if families else None


def blind_check(
    suspects: Iterable[str],
    control: Iterable[str],
    appearances: Mapping[str, Appearance],
    seed: int,
) -> BlindCheck:
    """Whether suspects can be told from control without the encoder; see `blind_trial`.

    With too few pictures for classifiers, whether they differ in facts of the files and in margins.
    """
    trial = blind_trial(suspects, control, appearances, seed, ("suspects", "control"))
    if trial.is_too_small:
        return BlindCheck("too few", trial.reason)
    if trial.report is None:
        return _check_facts(trial, appearances, seed)
    if not trial.report.is_confounded:
        shares = _check_shares(trial, appearances, seed)
        if shares:
            return shares
    return check_of(trial.report)


def _check_facts(trial: BlindTrial, appearances: Mapping[str, Appearance], seed: int) -> BlindCheck:
    facts = [number for number, known in enumerate(STATISTICS) if known.name in _FACTS]
    values = _statistics(trial, appearances)[:, facts]
    statistics = [STATISTICS[number] for number in facts]
    return check_few(trial, values, statistics, "format, size, metadata and margins", seed)


def check_few(
    trial: BlindTrial, values: FloatArray, statistics: Sequence[Statistic], of: str, seed: int
) -> BlindCheck:
    """A permutation test of the largest difference in mean rank; exact in its level.

    Args:
        trial: The pictures, too few for classifiers, but not for any test.
        values: Shape (n, len(statistics)), of the pictures in that order.
        statistics: What the columns are called.
        of: What they are, for people.
        seed: Seed of the permutations.
    """
    from scipy.stats import rankdata

    n_first, n = int(trial.is_first.sum()), len(trial.image_ids)
    most, p = _largest_difference(rankdata(values, axis=0), trial, seed)
    sizes = f"n = {n_first:,} and {n - n_first:,}, too few for more"
    if p > _LEVEL:
        return BlindCheck("alike", f"of {of} alone, p = {p:.3f}, {sizes}")
    return BlindCheck("different", f"p = {p:.4f}, most of all by {statistics[most].words}, {sizes}")


def _check_shares(
    trial: BlindTrial, appearances: Mapping[str, Appearance], seed: int
) -> BlindCheck | None:
    """A difference in how many pictures are of some kind; None where there is none.

    Classifiers rank all pictures, and hardly see what is true of a few of one set alone: a margin
    around 10 of 100 pictures, against 100 without, they found in none of 12 trials, and this test
    in each of 100; around 10 of 50 in each of 100 too, around 6 of 30 in 46.
    """
    statistics = _statistics(trial, appearances)
    names = [known.name for known in STATISTICS]
    is_of_kind = np.stack(
        [is_so(statistics[:, names.index(name)]) for name, (_, is_so) in KINDS.items()], axis=1
    )
    most, p = _largest_difference(is_of_kind.astype(np.float64), trial, seed)
    if p > _LEVEL:
        return None
    shares = [float(is_of_kind[side, most].mean()) for side in (trial.is_first, ~trial.is_first)]
    n_first, words = int(trial.is_first.sum()), [*KINDS.values()][most][0]
    return BlindCheck(
        "different",
        f"{percent(shares[0])} and {percent(shares[1])} of them {words}, p = {p:.4f}, "
        f"n = {n_first:,} and {len(trial.image_ids) - n_first:,}",
    )


def _statistics(trial: BlindTrial, appearances: Mapping[str, Appearance]) -> FloatArray:
    return np.stack([appearances[image_id].statistics for image_id in trial.image_ids])


def _largest_difference(columns: FloatArray, trial: BlindTrial, seed: int) -> tuple[int, float]:
    """The column whose mean differs most between the two sets, and how often chance does as much.

    Args:
        columns: Shape (n, n_columns); one of equal numbers never differs.
        trial: The two sets.
        seed: Seed of the permutations.
    """
    order = np.array(sorted(range(len(columns)), key=lambda i: trial.image_ids[i]))
    columns = columns[order]
    spread = columns.std(axis=0)
    columns = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1)
    is_first = trial.is_first[order]
    generator = stream(seed, "", "blind check: permutations")
    found = np.abs(is_first @ columns)
    n_hits, n_left = 0, _N_PERMUTATIONS
    while n_left:
        n_now = min(n_left, max(1, _MOST_CELLS // len(columns)))
        dealt = generator.permuted(np.tile(is_first, (n_now, 1)), axis=1)
        n_hits += int((np.abs(dealt @ columns).max(axis=1) >= found.max() - 1e-9).sum())
        n_left -= n_now
    return int(found.argmax()), (1 + n_hits) / (1 + _N_PERMUTATIONS)


def check_of(report: BlindReport) -> BlindCheck:
    """Whether classifiers told two sets apart, with figure, interval and n."""
    auc = report.overall
    mostly = ""
    if report.is_confounded and report.telling:
        mostly = f", most of all by {report.telling[0].words}"
    text = (
        f"AUC {auc.value:.3f}, 95 % interval {auc.low:.3f} to {auc.high:.3f}, n = "
        f"{report.n[0]:,} and {report.n[1]:,}{mostly}"
    )
    return BlindCheck("different" if report.is_confounded else "alike", text)
