"""`clipaudit build-eval`: evaluation sets from the open web, from folders, from published lists."""

from __future__ import annotations

import os
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from clipaudit_crawlers import SOURCES
from clipaudit_crawlers.licenses import LICENSES
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clipaudit.cli import messages
from clipaudit.cli.build_eval_progress import progress
from clipaudit.cli.words import among, command_line
from clipaudit.errors import UsageError
from clipaudit.evaluation_sets.collecting import all_dropped
from clipaudit.evaluation_sets.joining import Layout
from clipaudit.evaluation_sets.keywords import read_keywords
from clipaudit.evaluation_sets.request import BuildConfig, NonMembers
from clipaudit.listings.columns import parse_columns
from clipaudit.pipelines import build_eval as pipeline
from clipaudit.pipelines.build_eval import meaning_of
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clipaudit.evaluation_sets.collecting import Tally
    from clipaudit.pipelines.build_eval import Built, Plan

DEFAULT = BuildConfig(output=Path(), keywords=("",))
DAY = ["%Y-%m-%d"]

_NAMES_SHOWN = 3
_NO_PROXY = (
    "No proxy is used, though {} is set: build-eval connects to the addresses that it has checked "
    "itself."
)


def build_eval(
    ctx: typer.Context,
    keywords: Annotated[
        str | None,
        typer.Option(
            "--keywords", "-k", help="cifar10, cifar100, a file with one a line, or words: a,b,c."
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            "-s",
            help=f"{', '.join(SOURCES)}, folder:PATH or urls:FILE.",
        ),
    ] = DEFAULT.source,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the set; gone on with if it exists."),
    ] = None,
    per_keyword: Annotated[
        int, typer.Option(max=1_000_000, help="Members a keyword; as many non-members are made.")
    ] = DEFAULT.per_keyword,
    nonmembers: Annotated[
        NonMembers,
        typer.Option(
            help="concat joins further pictures, as the paper did; after-cutoff takes pictures "
            "newer than the training data; none leaves them out."
        ),
    ] = DEFAULT.nonmembers,
    layout: Annotated[
        Layout, typer.Option(help="How pictures are joined: side by side, …")
    ] = DEFAULT.layout,
    size: Annotated[int, typer.Option(help="Side of the pictures, in pixels.")] = DEFAULT.size_px,
    license: Annotated[  # noqa: A002 - the name of the option
        list[str] | None,
        typer.Option("--licenses", help=f"Only pictures under these: {', '.join(LICENSES)}."),
    ] = None,
    uploaded_after: Annotated[
        datetime | None,
        typer.Option(formats=DAY, help="Only pictures put online on this day or later."),
    ] = None,
    uploaded_before: Annotated[
        datetime | None, typer.Option(formats=DAY, help="Only pictures put online before it.")
    ] = None,
    cutoff: Annotated[
        datetime | None,
        typer.Option(
            formats=DAY,
            help="First day that is certainly not in the training data; else that of --encoder.",
        ),
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="The encoder whose cut-off counts; see `clipaudit encoders show`.")
    ] = "ViT-B-32/openai",
    from_metadata: Annotated[
        list[Path] | None,
        typer.Option(help="Published list of training pictures: true members. May be repeated."),
    ] = None,
    nonmembers_from: Annotated[
        list[Path] | None,
        typer.Option(help="List whose other rows are true non-members. May be repeated."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names of a list's columns: url=URL,sha256=…")
    ] = None,
    count: Annotated[
        int, typer.Option(max=100_000_000, help="Members from the lists.")
    ] = DEFAULT.count,
    dry_run: Annotated[
        bool, typer.Option(help="Say how many requests, bytes and days it will take, and end.")
    ] = False,
    max_bytes: Annotated[
        str | None, typer.Option(help="Budget for downloads, such as 500MB.")
    ] = None,
    jobs: Annotated[int, typer.Option(max=256, help="Downloads at a time.")] = DEFAULT.jobs,
    seed: Annotated[int, typer.Option(help="Decides what is drawn and joined.")] = DEFAULT.seed,
    retry_failed: Annotated[
        bool, typer.Option(help="Ask again for what failed for a passing reason.")
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            envvar=["CLIPAUDIT_OFFLINE", "HF_HUB_OFFLINE"],
            help="Build from kept answers and files alone.",
        ),
    ] = False,
    ignore_opt_outs: Annotated[
        bool, typer.Option(help="Take pictures too whose site says no to machine learning.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option(help="Let addresses of this machine and of private networks be asked.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="More said.")] = 0,
) -> None:
    """Build an evaluation set: pictures from the web by keyword, with where each is from.

    Potential members are found by keyword; non-members are made by joining pictures, as in the
    paper, or are newer than the encoder's training data, or come from a published list. A build
    that was stopped goes on with the same command, and fetches nothing twice.

    Keys are read from the environment alone: FLICKR_API_KEY, GOOGLE_API_KEY and GOOGLE_CSE_ID,
    SERPAPI_API_KEY, BRAVE_API_KEY, OPENVERSE_CLIENT_ID and OPENVERSE_CLIENT_SECRET.
    CLIPAUDIT_CONTACT, an e-mail address or page, tells services who asks; Wikimedia wants it.
    """
    console = messages.set_up(quiet=quiet, verbosity=verbose)
    config = BuildConfig(
        output=output or _folder(keywords, source),
        keywords=read_keywords(keywords) if keywords is not None else (),
        source=source,
        per_keyword=per_keyword,
        nonmembers=nonmembers,
        layout=layout,
        size_px=size,
        licenses=among(
            [word for words in license or [] for word in words.split(",")], LICENSES, "--licenses"
        ),
        uploaded_from=_day(uploaded_after),
        uploaded_before=_day(uploaded_before),
        cutoff=_cutoff(cutoff, encoder) if nonmembers == "after-cutoff" else None,
        seed=seed,
        max_bytes=None if max_bytes is None else _n_bytes(max_bytes),
        jobs=jobs,
        retry_failed=retry_failed,
        offline=offline,
        allow_private=allow_private,
        honour_opt_outs=not ignore_opt_outs,
        from_metadata=tuple(from_metadata or ()),
        nonmembers_from=tuple(nonmembers_from or ()),
        columns=tuple(parse_columns(columns).items()) if columns else (),
        count=count,
        command=command_line(ctx),
    )
    if dry_run:
        _print_plan(pipeline.plan(config), config)
        return
    if not quiet and (notice := pipeline.plan(config).facts.notice):
        console.print(Text(notice, style="yellow"), soft_wrap=True)
    if not (quiet or offline or source.startswith("folder:")) and (proxies := _proxies(os.environ)):
        console.print(
            Text(_NO_PROXY.format(shown(", ".join(proxies))), style="yellow"), soft_wrap=True
        )
    searches = 2 if nonmembers == "after-cutoff" else 1
    with progress(console, max(1, len(config.keywords)) * searches, quiet=quiet) as on_step:
        built = pipeline.build(config, on_step=on_step)
    _print_built(built)


def _proxies(environ: Mapping[str, str]) -> list[str]:
    """The variables that name a proxy."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    return [name for name, value in environ.items() if name.lower() in names and value.strip()]


def _folder(keywords: str | None, source: str) -> Path:
    """Where a set goes that was given no place: named after what it is made from."""
    words = "list" if keywords is None else Path(keywords).stem
    name = f"eval-{source.partition(':')[0]}-{words}"
    return Path("".join(c if c.isalnum() or c in "-_" else "-" for c in name)[:60])


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _cutoff(day: datetime | None, encoder: str) -> date:
    if day is not None:
        return day.date()
    from clipaudit.encoders.training_data import training_facts

    known = training_facts(encoder).cutoff
    if known is None:
        raise UsageError(
            f"nothing is published about when the training data of {encoder} was complete",
            "Pass --cutoff DATE: the first day that is certainly not in it.",
        )
    return known


def _n_bytes(text: str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError as error:
        raise UsageError(
            f"--max-bytes must be a size, got {text!r}",
            "Write it as 500MB, 2GiB, or a number of bytes.",
        ) from error


# --- the plan ------------------------------------------------------------------------------------


def _print_plan(plan: Plan, config: BuildConfig) -> None:
    facts = plan.facts
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("source", facts.title)
    table.add_row("pictures", f"{plan.n_pictures:,}")
    if not facts.is_local:
        table.add_row("requests", _pace(plan))
    if facts.typical_bytes:
        each = size(facts.typical_bytes)
        table.add_row("download", f"about {size(plan.n_bytes)} ({each} each)")
    table.add_row("folder", shown(str(config.output)))
    if plan.short_by:
        table.add_row(
            "short by", f"{plan.short_by} a keyword at least: the source gives no more for one"
        )
    if plan.missing_keys:
        where = f", from {facts.keys_from}" if facts.keys_from else ""
        table.add_row("missing", f"{' and '.join(plan.missing_keys)}{where}")
    if facts.notice:
        table.add_row("note", facts.notice)
    Console().print(table)


def _pace(plan: Plan) -> str:
    least = f"{plan.n_requests:,} or more"
    if plan.days > 1:
        a_day = plan.facts.requests_per_day
        return f"{least}, over {count(plan.days, 'day')}: the source allows {a_day:,} a day"
    if plan.minutes >= 1:
        a_minute = plan.facts.requests_per_minute
        return f"{least}, in {plan.minutes:.0f} min: the source allows {a_minute:g} a minute"
    return f"{least}, within a minute"


# --- the result ----------------------------------------------------------------------------------


def _print_built(built: Built) -> None:
    labels = Counter(row.label for row in built.manifest.rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("label")
    table.add_column("pictures", justify="right")
    for label, n in sorted(labels.items()):
        table.add_row(label, f"{n:,}")
    out = Console()
    out.print(Text.assemble(("Evaluation set in ", "bold"), shown(str(built.folder))))
    out.print(table)
    if not built.tallies:
        out.print("It was finished before, and nothing was fetched.", style="dim")
    _print_shortfall(built.tallies, out)
    _print_dropped(built.tallies, out)
    if built.n_unused:
        out.print(f"Left over, to keep both sides equal: {built.n_unused:,} more that came.")
    out.print("README.md in it says what it can show, and what not.", style="dim")


def _print_shortfall(tallies: tuple[Tally, ...], out: Console) -> None:
    short = [tally for tally in tallies if tally.missing > 0]
    if not short:
        return
    missing = sum(tally.missing for tally in short)
    names = ", ".join(f"{shown(tally.keyword)} ({tally.missing})" for tally in short[:8])
    more = f" and {len(short) - 8} more" if len(short) > 8 else ""
    out.print(
        Text(f"{count(missing, 'picture')} fewer than asked for: {names}{more}", style="yellow")
    )


def _print_dropped(tallies: tuple[Tally, ...], out: Console) -> None:
    dropped = all_dropped(tallies)
    if not dropped:
        return
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left")
    table.add_column("left out", justify="right")
    table.add_column("reason")
    table.add_column("what it means, and which", overflow="fold")
    for found in dropped:
        meaning = Text(meaning_of(found.reason), style="dim")
        meaning.append(f"\n{shown(found.name_some(_NAMES_SHOWN))}", style="not dim")
        table.add_row(f"{found.count:,}", shown(found.reason), meaning)
    out.print(table)
