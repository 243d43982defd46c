"""What set to build, from what, and how."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from clipaudit.errors import UsageError
from clipaudit.evaluation_sets.joining import N_PARENTS, Layout

NonMembers = Literal["concat", "after-cutoff", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """What set to build, from what, and how.

    Attributes:
        output: Folder of the set.
        keywords: What is searched for; empty where the pictures come from a list.
        source: Name of a source, with its argument behind a colon: `openverse`, `folder:PATH`.
        per_keyword: Members wanted for each keyword.
        nonmembers: `concat` joins further pictures; `after-cutoff` takes pictures that are newer
            than the encoder's training data; `none` leaves them out.
        layout: How pictures are joined.
        size_px: Side of the pictures in the set.
        licenses: Only pictures under these.
        uploaded_from: Only pictures put online on this day or later.
        uploaded_before: Only pictures put online before this day.
        cutoff: First day that is certainly not in the training data; for `after-cutoff`.
        seed: Decides which pictures are members, and which are joined.
        max_bytes: Budget for downloads; None for none.
        jobs: Downloads at a time.
        retry_failed: Whether a finished set asks again for what failed for a passing reason.
        offline: Whether to build from kept answers and files alone.
        allow_private: Whether addresses of this machine and of private networks may be asked.
        honour_opt_outs: Whether pictures that say no to machine learning are left out.
        from_metadata: Published lists of an encoder's training pictures: true members.
        nonmembers_from: Lists whose other rows are true non-members.
        columns: Names of the lists' columns, where they cannot be told.
        count: Members wanted from the lists.
        command: For the data card.
    """

    output: Path
    keywords: tuple[str, ...] = ()
    source: str = "openverse"
    per_keyword: int = 10
    nonmembers: NonMembers = "concat"
    layout: Layout = "horizontal"
    size_px: int = 224
    licenses: tuple[str, ...] = ()
    uploaded_from: date | None = None
    uploaded_before: date | None = None
    cutoff: date | None = None
    seed: int = 0
    max_bytes: int | None = None
    jobs: int = 4
    retry_failed: bool = False
    offline: bool = False
    allow_private: bool = False
    honour_opt_outs: bool = True
    from_metadata: tuple[Path, ...] = ()
    nonmembers_from: tuple[Path, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    count: int = 1000
    command: str = ""

    def __post_init__(self) -> None:
        for option, value in (
            ("--per-keyword", self.per_keyword),
            ("--count", self.count),
            ("--jobs", self.jobs),
            ("--max-bytes", 1 if self.max_bytes is None else self.max_bytes),
        ):
            if value < 1:
                raise UsageError(f"{option} {value} does not work", "Pass 1 or more.")
        if not 16 <= self.size_px <= 4096:
            raise UsageError(
                f"pictures of {self.size_px} pixels do not work",
                "Pass --size within 16 and 4096; CLIP ViT-B/32 reads 224.",
            )
        if bool(self.keywords) == bool(self.from_metadata):
            raise UsageError(
                "a set is made of keywords or of a published list",
                "Pass either --keywords or --from-metadata.",
            )
        if self.nonmembers_from and not self.from_metadata:
            raise UsageError(
                "--nonmembers-from needs a list of members to hold it against",
                "Pass --from-metadata too.",
            )
        if self.nonmembers == "after-cutoff" and (self.from_metadata or self.cutoff is None):
            raise UsageError(
                "--nonmembers after-cutoff needs keywords and the day on which the training data "
                "was complete",
                "Pass --keywords, and --cutoff DATE or an --encoder whose cut-off is known.",
            )
        since, before = self.uploaded_from, self.uploaded_before
        if since and before and since >= before:
            raise UsageError(
                f"no picture was put online from {since} on and before {before}",
                "Look at --uploaded-after and --uploaded-before.",
            )

    @property
    def n_parents(self) -> int:
        """Pictures that make one joined non-member; 0 where none is made."""
        joins = self.nonmembers == "concat" and not self.nonmembers_from
        return N_PARENTS[self.layout] if joins else 0

    def identity(self) -> dict[str, Any]:
        """What decides what is in the set: the facts that one folder holds one of."""
        aside = {"output", "max_bytes", "jobs", "retry_failed", "offline", "allow_private"}
        aside |= {"count"} if self.keywords else {"source", "per_keyword"}
        facts = {
            name: value
            for name, value in asdict(self).items()
            if name not in {*aside, "command"} and value not in (None, ())
        }
        return {name: _plain(value) for name, value in facts.items()}


def _plain(value: object) -> object:
    """The value as JSON holds it, so that what was read compares equal."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path | date) else value
