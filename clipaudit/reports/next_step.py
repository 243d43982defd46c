"""The one command that would make an answer stronger, with the words that the user typed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from clipaudit.encoders.spec import find_scheme, parse
from clipaudit.errors import EncoderError
from clipaudit.reports.wording import can_decide
from clipaudit.statistics.calibration import needed
from clipaudit.text.escaping import common_folder

if TYPE_CHECKING:
    from clipaudit.results.audit import Audit, Run
    from clipaudit.results.evidence import AgainstControl

Words = tuple[str, ...]

_UNSEEN = "UNSEEN"
_MORE = "MORE"
_UNSEEN_IS = (
    f"{_UNSEEN}: pictures of the same kind that cannot have been used; `clipaudit control` picks "
    "some out of a pile"
)
_REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do next.

    Attributes:
        words: The command, a word each. What is in capital letters is for the user to fill in.
        reason: What it would bring, and what to fill in.
    """

    words: Words
    reason: str

    @property
    def command(self) -> str:
        """The command in a line, as a shell takes it."""
        return shlex.join(self.words)


def next_step(audit: Audit) -> NextStep | None:
    """What would make the answer stronger; None where no picture was scored, or all is done."""
    if not audit.scored:
        return None
    if audit.comparison is not None:
        return _after_a_control(audit, audit.comparison)
    if not audit.run.inferrers:
        words = _without(typed(audit), "--inferrer")
        return NextStep(_with(words, "--control", _UNSEEN), f"with an inferrer; {_UNSEEN_IS}")
    if audit.calibrations and audit.levels is not None:
        facts = audit.calibrations[0]
        if facts.is_of_another_kind or not can_decide(facts, audit.levels):
            return _calibrate(audit.run, needed(audit.levels.fpr))
        reason = f"the pictures as a set, which shows fainter traces; {_UNSEEN_IS}"
        return NextStep(_with(typed(audit), "--control", _UNSEEN), reason)
    return NextStep(_with(typed(audit), "--control", _UNSEEN), _UNSEEN_IS)


def typed(audit: Audit) -> Words:
    """The command of the run; of a run that no command made, one that would be much the same."""
    try:
        words = tuple(shlex.split(audit.run.command))
    except ValueError:
        words = ()
    if words[:2] != ("clipaudit", "score"):
        paths = [row.path for row in audit] if words else []
        folder = common_folder(paths) or (paths[0] if len(paths) == 1 else "PICTURES")
        words = ("clipaudit", "score", folder, "--encoder", audit.run.encoder.spec)
    return tuple(word if word.isprintable() else "PICTURES" for word in words)


def command_lines(words: Words, width: int) -> list[str]:
    r"""A command in lines that can be pasted: each but the last ends in a backslash.

    A word that is longer than a line is cut, and the shell joins it again.

    >>> command_lines(("clipaudit", "score", "my pictures"), 18)
    ['clipaudit score \\', "'my pictures'"]
    """
    room = max(width - 2, 8)
    lines, line = [], ""
    for word in words:
        rest, quoted = word, shlex.quote(word)
        if line and cell_len(f"{line} {quoted}") <= room:
            line += f" {quoted}"
            continue
        if line:
            lines.append(f"{line} \\")
        while cell_len(quoted) > room:
            n = len(rest)
            while n > 1 and cell_len(shlex.quote(rest[:n])) > room:
                n -= 1
            lines.append(f"{shlex.quote(rest[:n])}\\")
            rest = rest[n:]
            quoted = shlex.quote(rest)
        line = quoted
    return [*lines, line]


def _after_a_control(audit: Audit, comparison: AgainstControl) -> NextStep | None:
    words, run, grade = typed(audit), audit.run, comparison.grade
    result = comparison.by_inferrer[0].unpaired
    other = _with(_without(words, "--control"), "--control", _UNSEEN)
    negative, captions = comparison.negative_control, comparison.captions
    if result.outcome == "too few":
        if result.n_control < max(result.n_minimum, result.n_suspects):
            return NextStep(_with(words, "--control", _MORE), f"{_MORE}: more of the control")
        return NextStep((*words[:2], _MORE, *words[2:]), f"{_MORE}: more of your pictures")
    if captions is not None and captions.outcome == "different":
        without = _with(_without(words, "--captions"), "--captions", "none")
        return NextStep(without, "the pictures alone, without what their captions give away")
    is_lowered = grade == "weak evidence" and negative is not None
    if is_lowered or (negative is not None and negative.outcome == "speaks"):
        return NextStep(other, _UNSEEN_IS + ", and are saved as yours are")
    if negative is None:
        spec = "auto" if _is_published(run.encoder.spec) else "SPEC"
        reason = "a reference encoder, which saw neither set, tells whether they differ in content"
        if spec == "SPEC":
            reason += "; `clipaudit encoders references` lists some"
        return NextStep(_with(words, "--reference", spec), reason)
    if grade == "no conclusion":  # whether the control is a fair one could not be tried
        return NextStep(_with(words, "--control", _MORE), f"{_MORE}: more of the control")
    if grade == "evidence" and not _has(words, "-o", "--out"):
        return NextStep(_with(words, "-o", _REPORT), "the report, to hand on")
    if grade == "no evidence" and len(comparison.seeds) < 2 and run.n_views:
        reason = "the mean over five draws of views, in five times the time: fainter traces show"
        return NextStep(_with(_without(words, "--seeds"), "--seeds", "5"), reason)
    return None


def _calibrate(run: Run, n: int) -> NextStep:
    words = ("clipaudit", "calibrate", "--encoder", run.encoder.spec, "--nonmembers", _UNSEEN)
    return NextStep(words, f"{_UNSEEN_IS}, {n:,} at least; all other options as in this run")


def _is_published(spec: str) -> bool:
    try:
        return bool(find_scheme(parse(spec)[0]).published)
    except EncoderError:  # a name that another version gave
        return False


def _has(words: Words, *options: str) -> bool:
    return any(word.partition("=")[0] in options for word in words)


def _with(words: Words, *option: str) -> Words:
    """The words and one option more; before the pictures where nothing behind them is an option."""
    return (*words[:2], *option, *words[2:]) if "--" in words else (*words, *option)


def _without(words: Words, option: str) -> Words:
    others, is_value = [], False
    for word in words:
        if not is_value and word != option and not word.startswith(f"{option}="):
            others.append(word)
        is_value = word == option
    return tuple(others)
