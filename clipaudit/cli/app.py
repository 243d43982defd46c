"""`clipaudit`: the list of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from clipaudit._version import __version__
from clipaudit.cli import memory, streams
from clipaudit.cli.messages import safe_lines
from clipaudit.cli.values import check_values
from clipaudit.errors import ClipAuditError, extra_imports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

COMMANDS = {
    "score": (
        "clipaudit.cli.score:score",
        "Say which pictures the encoder was probably trained on.",
    ),
    "demo": (
        "clipaudit.cli.demo:demo",
        "Show the whole chain on pictures and encoders made here, where the truth is known.",
    ),
    "calibrate": (
        "clipaudit.cli.calibrate:calibrate",
        "Learn from known non-members how high scores of an encoder run by chance.",
    ),
    "calibrations": (
        "clipaudit.cli.calibrations:app",
        "List, show and remove the calibrations that `clipaudit calibrate` made.",
    ),
    "control": (
        "clipaudit.cli.control:control",
        "Pick a control: pictures of a pile that match the suspects, with no score seen.",
    ),
    "evaluate": (
        "clipaudit.cli.evaluate:evaluate",
        "Say how well inferrers tell known members of an encoder from known non-members.",
    ),
    "merge": (
        "clipaudit.cli.merge:merge",
        "Put the results of several runs together: those of `clipaudit score --shard`.",
    ),
    "report": (
        "clipaudit.cli.report:report",
        "Make a report again from saved results, with no encoder and no network.",
    ),
    "lookup": (
        "clipaudit.cli.lookup:lookup",
        (
            "Say whether pictures are in a published list of training pictures, and which rows "
            "name them."
        ),
    ),
    "build-eval": (
        "clipaudit.cli.build_eval:build_eval",
        "Build an evaluation set: pictures from the web by keyword, with where each is from.",
    ),
    "train": (
        "clipaudit.cli.train:train",
        "Train inferrers of your own on a data set whose use you decide.",
    ),
    "lab": (
        "clipaudit.cli.lab:app",
        "Run the experiments of the EncoderMI paper, and show them beside its own numbers.",
    ),
    "expect": (
        "clipaudit.cli.expect:expect",
        "Say before the run what an audit of an encoder can be expected to find.",
    ),
    "encoders": ("clipaudit.cli.encoders:app", "List the encoders that can be audited."),
    "inferrers": (
        "clipaudit.cli.inferrers:app",
        "List the methods and the inferrers that ship, and show their cards.",
    ),
    "cache": ("clipaudit.cli.cache:app", "See or empty the store of features."),
    "doctor": ("clipaudit.cli.doctor:doctor", "Say what was found, and what is wrong."),
}
"""Name → where it is, and its first line in `--help`. Imported when it is called, and not before:
`--help` is instant."""

EXIT_CODES = """Exit codes:
  0    done
  2    usage: a wrong option or value
  3    input: no usable picture, or a bad one under --strict
  4    encoder or machine: weights, memory, disk
  5    inferrer or calibration: missing, broken, or it does not fit
  6    network, or a source of data
  70   a bug of clipaudit
  130  stopped by Ctrl-C; what was done is printed
  141  the reader of the pipe went away
  143  stopped by SIGTERM
"""


class LazyGroup(TyperGroup):
    """A group that imports a command when it is called or completed, not to list it."""

    # Any: the types are those of the Click that typer carries inside, which has no public name.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the command line as it was given; commands find it in `ctx.obj`."""
        ctx.obj = ("clipaudit", *args)
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Put the real command in the place of its entry in the list."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = _load(args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            Console(stderr=True).print("stopped")
            raise SystemExit(130) from None
        return result


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clipaudit {__version__}")
        raise typer.Exit


@app.callback()
def clipaudit(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Were these pictures used to train that image encoder?"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; every error ends here, and only here."""
    streams.set_up()
    # Before torch is loaded: threads that wait for each other sleep, and do not take the cores from
    # each other and from whatever else runs (benchmarks/README.md, "Threads that wait").
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _terminate)
    try:
        app(args=argv)
    except ClipAuditError as error:
        _end(error)
    except Exception as error:
        if memory.is_short(error):
            _end(memory.TooLittleMemoryError())
        print(safe_lines("".join(traceback.format_exception(error))), file=sys.stderr)
        plea = (
            f"This is a bug of clipaudit {__version__}. Please report it with the lines above and "
            "the output of `clipaudit doctor`."
        )
        Console(stderr=True).print(Text(plea, style="bold"), soft_wrap=True)
        raise SystemExit(70) from error


def _end(error: ClipAuditError) -> NoReturn:
    note = Text.assemble(
        ("error: ", "red"),
        safe_lines(str(error)),
        ("\nhint:  ", "bold"),
        safe_lines(error.hint),
    )
    Console(stderr=True).print(note, soft_wrap=True)
    raise SystemExit(error.exit_code) from error


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


def _load(name: str) -> Any:
    memory.require(name)
    module, _, attribute = COMMANDS[name][0].partition(":")
    with extra_imports(f"clipaudit {name}"):
        commands = getattr(import_module(module), attribute)
    if not isinstance(commands, typer.Typer):
        function = commands
        commands = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
        commands.command(name, context_settings={"help_option_names": ["-h", "--help"]})(function)
    command = typer.main.get_command(commands)
    command.name = name
    check_values(command)
    return command


def _add_entry(name: str, text: str) -> None:
    @app.command(name, help=text)
    def entry() -> None:
        """Never called: `LazyGroup.resolve_command` puts the command itself in its place."""


for _name, (_where, _text) in COMMANDS.items():
    _add_entry(_name, _text)
