"""`clipaudit report`: a report again, from a saved result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipaudit.cli import messages, options
from clipaudit.cli.delivery import deliver
from clipaudit.errors import UsageError
from clipaudit.reports import formats as reports
from clipaudit.text.escaping import shown

N_PICTURES = 5
_ENDINGS = reports.listed(reports.endings(reports.AUDIT))


def report(
    results: Annotated[
        Path,
        typer.Argument(
            help="A result that `clipaudit score -o` wrote, .json or .jsonl.", show_default=False
        ),
    ],
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            help="With --check: the pictures that it is of, and folders of them.",
            show_default=False,
        ),
    ] = None,
    *,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Make no report: say whether the saved result is true, as far as that can be told "
            "without the encoder. Exit code 3 where it is not.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help=f"The file to write: {_ENDINGS}, by its ending.",
            show_default="RESULTS with the ending .html",
        ),
    ] = None,
    pictures: Annotated[
        int,
        typer.Option(
            min=0,
            help="Pictures to show in HTML at each end of the ranking; 0 shows none, for a report "
            "that others may see.",
        ),
    ] = N_PICTURES,
    details: Annotated[
        bool,
        typer.Option(
            "--details",
            help="Print the table of `clipaudit score` with all facts of the run; a file is "
            "written only where -o names one.",
        ),
    ] = False,
    paths: options.Paths = "names",
    force: options.Force = False,
) -> None:
    """Make a report again from saved results, with no encoder and no network.

    Pictures are shown where the files are still where they were scored, seen from the working
    folder, and have not changed.
    """
    messages.set_up()
    if results.suffix.lower() in reports.endings(reports.AUDIT) and not _is_saved(results):
        raise UsageError(
            f"{shown(str(results))} is a report by its ending, and no saved result",
            "Name the .json or .jsonl file that `clipaudit score -o results.json` wrote.",
        )
    if check:
        _check(results, images)
        return
    if images:
        raise UsageError(
            "pictures are named, and without --check nothing is done with them",
            "Pass --check, or name the saved result alone.",
        )
    if details and out is None:
        from clipaudit.reports.audit.saved import read

        deliver(read(results), "table", details=True)
        return
    target = results.with_suffix(".html") if out is None else out
    reports.check_destination(target, force=force)
    if target.exists() and results.exists() and target.samefile(results):
        raise UsageError(
            f"{shown(str(target))} would replace the results", "Name another file with -o."
        )
    from clipaudit.reports.audit.saved import read

    result = read(results)
    reports.write(result, target, n_pictures=pictures, paths=paths)
    if details:
        deliver(result, "table", details=True)
    typer.echo(shown(str(target)))


def _check(results: Path, images: list[Path] | None) -> None:
    """Print what is true, and end with 3 where anything is not."""
    from clipaudit.reports.audit.json_document import summary
    from clipaudit.reports.audit.saved import read, read_summary
    from clipaudit.verdicts.checking import check_result

    audit = read(results)
    hashes = None if not images else options.hash_all(images)
    checks = check_result(audit, read_summary(results), summary(audit), hashes)
    for found in checks:
        typer.echo(shown(f"{found.state:>17}  {found.what}: {found.text}"))
    if any(found.state == "differs" for found in checks):
        raise typer.Exit(3)


def _is_saved(path: Path) -> bool:
    return path.suffix.lower() in {".json", ".jsonl"}
