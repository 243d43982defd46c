"""Can two sets be told apart by their captions alone?

Where they can, what an inferrer makes of the captions proves nothing by itself: names, years, a
language or a template on one side are the commonest leaks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.blind.baseline import MIN_OF_EACH, BlindCheck, BlindReport, find_telling
from clipaudit.blind.caption_statistics import (
    CAPTION_STATISTICS,
    caption_statistics,
    clipped,
    words_present,
)
from clipaudit.blind.classifiers import (
    Attempt,
    boosted_trees,
    canonical_order,
    linear,
    logistic,
    try_classifiers,
)
from clipaudit.blind.cross_validation import groups_of_each, numbered
from clipaudit.blind.trial import BlindTrial, check_few, check_of, looked_at, start_trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from clipaudit.pictures.image_statistics import Statistic
    from clipaudit.statistics.metrics import FloatArray

_MOST_COLUMNS = 20_000


def caption_baseline(
    captions_a: Sequence[Sequence[str]],
    captions_b: Sequence[Sequence[str]],
    seed: int = 0,
    *,
    groups: Sequence[object] | None = None,
    between: tuple[str, str] = ("members", "non-members"),
) -> BlindReport:
    """Let classifiers that read nothing but captions try, five-fold cross-validated.

    - `words`: logistic regression on words and pairs of them, and
    - `characters`: on groups of two to four characters within words, capitals kept; both weighed
      by TF-IDF (Spärck Jones 1972).
    - `style, linear` and `style, boosted trees`: on how captions are written: length, capitals,
      digits, dates, language, and whether there are any at all.

    Nothing hangs on the order of the pictures.

    Args:
        captions_a: The captions of each picture of one set; empty where it has none.
        captions_b: Those of the other.
        seed: Seed of the folds.
        groups: Shape (n,), as for `blind_baseline`, those of the first set first.
        between: What to call the two sets.

    Raises:
        ValueError: Fewer than MIN_OF_EACH on a side, or groups with them; or groups that are not
            as many as the pictures.
    """
    captions = [*captions_a, *captions_b]
    if groups is not None and len(groups) != len(captions):
        raise ValueError(f"{len(captions)} pictures need as many groups, got {len(groups)}")
    is_first = np.arange(len(captions)) < len(captions_a)
    order = canonical_order(["\0".join(clipped(texts)).encode() for texts in captions], is_first)
    texts = [captions[i] for i in order]
    truth, grouping = is_first[order], numbered(groups, order)
    if min(len(captions_a), len(captions_b), groups_of_each(truth, grouping)) < MIN_OF_EACH:
        raise ValueError(
            f"the blind baseline needs the captions of {MIN_OF_EACH} {between[0]} and "
            f"{MIN_OF_EACH} {between[1]}"
        )
    style = np.stack([caption_statistics(captions) for captions in texts])
    attempts = [
        *_of_words(["\n".join(clipped(captions)) for captions in texts]),
        *_of_style(style),
    ]
    tried = try_classifiers(attempts, truth, grouping, seed)
    scores = np.empty(len(truth))
    scores[order] = tried.scores
    return BlindReport(
        overall=tried.overall,
        by_classifier=tried.by_classifier,
        telling=find_telling(*_with_words(texts, style), truth),
        scores=scores,
        between=between,
        n=(len(captions_a), len(captions_b)),
        basis="captions",
    )


def caption_trial(
    first: Iterable[str],
    second: Iterable[str],
    captions: Mapping[str, tuple[str, ...]],
    seed: int,
    between: tuple[str, str],
    families: Mapping[str, object] | None = None,
) -> BlindTrial:
    """Let classifiers that read nothing but captions try to tell one set from another.

    Args:
        first: SHA-256 of pictures, different ones all.
        second: SHA-256 of others.
        captions: Captions by SHA-256; a picture without an entry has none.
        seed: Seed of the folds.
        between: What to call the two sets.
        families: As for `blind_trial`.
    """
    trial, groups = start_trial(looked_at(first), looked_at(second), families)
    if trial.reason:
        return trial
    texts = [captions.get(image_id, ()) for image_id in trial.image_ids]
    n_first = int(trial.is_first.sum())
    report = caption_baseline(
        texts[:n_first], texts[n_first:], seed, groups=groups, between=between
    )
    return replace(trial, report=report)


def caption_check(
    suspects: Iterable[str],
    control: Iterable[str],
    captions: Mapping[str, tuple[str, ...]],
    seed: int,
) -> BlindCheck:
    """Whether suspects can be told from control by their captions; see `caption_trial`.

    With too few pictures for classifiers, whether captions differ in how they are written, or in
    a word.
    """
    trial = caption_trial(suspects, control, captions, seed, ("suspects", "control"))
    if trial.report is not None:
        return check_of(trial.report)
    if trial.is_too_small:
        return BlindCheck("too few", trial.reason)
    texts = [captions.get(image_id, ()) for image_id in trial.image_ids]
    style = np.stack([caption_statistics(each) for each in texts])
    return check_few(trial, *_with_words(texts, style), "style and words", seed)


def style_check(
    suspects: Iterable[str],
    known: Iterable[str],
    styles: Mapping[str, FloatArray],
    seed: int,
) -> BlindCheck:
    """Whether two sets differ in how their captions are written, where no word of one is known.

    Args:
        suspects: SHA-256 of pictures, different ones all.
        known: SHA-256 of others.
        styles: `caption_statistics` by SHA-256; a picture without an entry is passed over.
        seed: Seed of the folds.
    """
    first, second = (
        [key for key in looked_at(side) if key in styles] for side in (suspects, known)
    )
    trial, _ = start_trial(first, second)
    if trial.is_too_small:
        return BlindCheck("too few", trial.reason)
    style = np.stack([styles[image_id] for image_id in trial.image_ids])
    if trial.reason:
        return check_few(trial, style, CAPTION_STATISTICS, "how captions are written", seed)
    order = canonical_order([row.tobytes() for row in style], trial.is_first)
    style, truth = style[order], trial.is_first[order]
    tried = try_classifiers(_of_style(style), truth, np.arange(len(order)), seed)
    return check_of(
        BlindReport(
            overall=tried.overall,
            by_classifier=tried.by_classifier,
            telling=find_telling(style, CAPTION_STATISTICS, truth),
            scores=tried.scores,
            between=("suspects", "known non-members"),
            n=(int(truth.sum()), int((~truth).sum())),
            basis="captions",
        )
    )


def _of_style(style: FloatArray) -> tuple[Attempt, Attempt]:
    """The classifiers that read how captions are written."""
    return (
        Attempt("style, linear", linear, style),
        Attempt("style, boosted trees", boosted_trees, style),
    )


def _with_words(
    texts: Sequence[Sequence[str]], style: FloatArray
) -> tuple[FloatArray, tuple[Statistic, ...]]:
    """Style and words as columns; a word before what else tells as much, for it says more."""
    present, words = words_present(texts)
    missing, *others = CAPTION_STATISTICS
    return np.hstack([style[:, :1], present, style[:, 1:]]), (missing, *words, *others)


def _of_words(documents: Sequence[str]) -> Iterator[Attempt]:
    """The classifiers that read the text itself, where there is any that two pictures share."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    for name, settings in (
        ("words", {"token_pattern": r"(?u)\w+", "ngram_range": (1, 2)}),
        ("characters", {"analyzer": "char_wb", "ngram_range": (2, 4), "lowercase": False}),
    ):
        shared = {"min_df": 2, "max_features": _MOST_COLUMNS, "sublinear_tf": True}
        vectorizer = TfidfVectorizer(**shared, **settings)
        try:
            values = vectorizer.fit_transform(documents)
        except ValueError:  # scikit-learn's word for: nothing is left
            continue
        yield Attempt(name, logistic, values)
