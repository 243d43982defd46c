"""`clipaudit control`: a fair control out of a pile of later or unpublished pictures."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from clipaudit.cli import messages, options
from clipaudit.cli.progress import progress
from clipaudit.pictures.base import Limits
from clipaudit.pipelines.control import ControlConfig, pick_control
from clipaudit.pipelines.scoring_options import MOST_WORKERS, RUN
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipaudit.results.control import Control

DEFAULT = ControlConfig()

_MOST_SHOWN = 5


def control(
    suspects: Annotated[
        list[Path],
        typer.Argument(help="The pictures in question, and folders of them.", show_default=False),
    ],
    *,
    pile: Annotated[
        list[Path],
        typer.Option(
            "--from",
            help="Pictures to pick from, or folders of them, that cannot have been in the training "
            "set: later ones, or such as were never published; may be repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            min=1,
            help="Pictures to pick, be they near or far.",
            show_default="one for each suspect that has one near",
        ),
    ] = None,
    equalise: Annotated[
        bool,
        typer.Option(
            "--equalise",
            help="Bring suspects and control to one format and size, without metadata: the folder "
            "then holds both, and scores are of the re-saved pictures.",
        ),
    ] = DEFAULT.equalise,
    seed: Annotated[int, typer.Option(help="Seed of the blind check.")] = DEFAULT.seed,
    include_hidden: Annotated[
        bool, typer.Option("--include-hidden", help="Hidden files and folders too.")
    ] = DEFAULT.include_hidden,
    follow_links: Annotated[
        bool,
        typer.Option(
            "--follow-links",
            help="Go after links that lead out of the folders; they are skipped otherwise.",
        ),
    ] = DEFAULT.follow_links,
    max_megapixels: Annotated[
        float, typer.Option(min=0.001, max=100_000, help="Pass over larger pictures.")
    ] = round(DEFAULT.limits.max_pixels / 1e6, 1),
    force: Annotated[
        bool, typer.Option("--force", help="Replace a control that is in the folder already.")
    ] = DEFAULT.force,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_WORKERS,
            help="Processes that decode pictures.",
            envvar="CLIPAUDIT_WORKERS",
            show_default="one a core",
            rich_help_panel=RUN,
        ),
    ] = None,
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Neither read nor keep what was seen of pictures; see `clipaudit cache`.",
            envvar="CLIPAUDIT_NO_CACHE",
            rich_help_panel=RUN,
        ),
    ] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Pick a control: pictures of a pile that match the suspects, with no score seen.

    Each suspect gets the picture of the pile that is nearest to it in format, size, compression,
    margins and statistics of the picture; none is taken twice, and none that looks like a suspect.
    What could not be matched is said, and whether the two folders can still be told apart without
    the encoder. The originals are copied, with a control.json that says how they were picked.
    """
    options.refuse_addresses([*suspects, *pile])
    limits = DEFAULT.limits
    if max_megapixels != round(limits.max_pixels / 1e6, 1):
        limits = Limits(max_pixels=round(max_megapixels * 1e6))
    config = ControlConfig(
        n=n,
        equalise=equalise,
        seed=seed,
        include_hidden=include_hidden,
        follow_links=follow_links,
        limits=limits,
        workers=workers,
        use_store=not no_cache,
        force=force,
    )
    console = messages.set_up(quiet=quiet, verbosity=verbose)
    with progress(console, quiet=quiet, doing="looking at pictures") as advance:
        made = pick_control(suspects, pile, out, config, advance)
    say = partial(Console().print, soft_wrap=True, markup=False, highlight=False)
    for line in _lines(made, suspects):
        say(line)


def _lines(made: Control, suspects: list[Path]) -> Iterator[str]:
    n_matched = made.n_suspects - len(made.unmatched)
    yield (
        f"{count(len(made), 'picture')} picked of {made.n_pile:,}; {n_matched:,} of "
        f"{count(made.n_suspects, 'suspect')} {'has' if n_matched == 1 else 'have'} one near"
    )
    yield from _left_out(made)
    yield f"without the encoder, before: {made.before.outcome} ({made.before.text})"
    yield f"                      after: {made.after.outcome} ({made.after.text})"
    yield from _not_matched(made)
    if made.equalised:
        box = made.equalised
        yield (
            f"all were brought to {box.size_px} × {box.size_px} pixels, {box.format} of quality "
            f"{box.quality}, {box.subsampling}, no metadata: scores will be of the re-saved "
            "pictures, and some of the trace of membership may be lost"
        )
    yield f"written to {shown(str(made.folder))}"
    named = [made.suspects] if made.suspects else suspects
    words = ["clipaudit", "score", *map(os.fspath, named), "--control", os.fspath(made.control)]
    yield f"next: {shown(shlex.join(words))}"


def _left_out(made: Control) -> Iterator[str]:
    left_out = made.left_out
    if left_out.shared:
        yield f"{left_out.shared:,} of the pile left out, which are or look like suspects"
    if left_out.repeated:
        same = count(left_out.repeated, "copy or near-duplicate", "copies and near-duplicates")
        yield f"{same} passed over"
    if left_out.unreadable:
        verb = "gives" if left_out.unreadable == 1 else "give"
        yield f"{count(left_out.unreadable, 'file')} passed over that {verb} no picture"
    if left_out.too_small and made.equalised:
        yield f"{left_out.too_small:,} of the pile left out, below {made.equalised.size_px} pixels"


def _not_matched(made: Control) -> Iterator[str]:
    if made.n_pile < made.n_suspects:
        yield (
            f"the pile is smaller than the suspects: {made.n_pile:,} against {made.n_suspects:,}; "
            "more pictures to pick from would match better"
        )
    if made.n_of_other_kind:
        yield (
            f"{count(made.n_of_other_kind, 'picture')} of another kind than the suspect (format, "
            "colour, margin or metadata), for want of better ones"
        )
    worst = made.imbalances
    if not worst:
        yield "matched in every statistic: no mean differs by more than a quarter of its spread"
        return
    yield "not matched, as the difference of the means in spreads:"
    for balance in worst[:_MOST_SHOWN]:
        yield f"  {balance.words}: {balance.before:+.2f} before, {balance.after:+.2f} after"
    if len(worst) > _MOST_SHOWN:
        yield f"  and {len(worst) - _MOST_SHOWN:,} more, in control.json"
    if made.after.outcome == "different":
        yield (
            "The two can still be told apart without the encoder, so a difference in scores would "
            "prove nothing. Add pictures like the suspects to the pile, or pass --equalise."
        )
