"""Stage 5: inferrers. To add a kind, write its module and one line in `RULES`."""

from __future__ import annotations

from pkgutil import resolve_name

from clipaudit.encoders.base import Output
from clipaudit.features.signals import Similarity
from clipaudit.inferrers.base import Kind, Reads
from clipaudit.inferrers.rules import Rule

RULES: dict[Kind, str] = {
    "V": "clipaudit.inferrers.vector:VectorRule",
    "S": "clipaudit.inferrers.deepset:DeepSetRule",
    "T": "clipaudit.inferrers.threshold:MeanRule",
    "norm": "clipaudit.inferrers.norm:NormRule",
    "difference": "clipaudit.inferrers.difference:DifferenceRule",
    "adjusted": "clipaudit.inferrers.difference:AdjustedRule",
    "combined": "clipaudit.inferrers.combined:CombinedRule",
    "caption": "clipaudit.inferrers.caption:CaptionRule",
    "fine-tune": "clipaudit.inferrers.caption:FineTuneRule",
    "caption-loss": "clipaudit.inferrers.caption:CaptionLossRule",
}
"""Where the `Rule` of each kind is; it carries all that is known of its kind."""

PAPER: tuple[Kind, ...] = ("V", "S", "T")
"""The inferrers of EncoderMI."""


def find_rule(kind: Kind) -> type[Rule]:
    """The rule of a kind, imported at the first call.

    >>> find_rule("T").__name__
    'MeanRule'
    """
    rule: type[Rule] = resolve_name(RULES[kind])
    return rule


def forms(kind: Kind, *, has_reference: bool) -> tuple[bool, ...]:
    """The forms in which a kind exists: without a reference, and with one where one is there.

    >>> forms("V", has_reference=True), forms("T", has_reference=True)
    ((False, True), (False,))
    """
    reference = find_rule(kind).reference
    without = () if reference == "always" else (False,)
    return without if reference == "never" or not has_reference else (*without, True)


def reads_of(
    kind: Kind,
    similarity: Similarity,
    n_views: int,
    recipe: str,
    output: Output,
    *,
    has_reference: bool = False,
) -> Reads:
    """The features that an inferrer of a kind reads where so many views are made."""
    what = find_rule(kind).reads
    if what not in ("similarities", "summary"):
        similarity, n_views = "cosine", 0  # it reads neither
    return Reads(similarity, n_views, recipe, output, what, has_reference)
