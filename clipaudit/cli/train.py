"""`clipaudit train`: shadow encoder and inferrers from a data set."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from clipaudit.cli import messages
from clipaudit.cli.progress import Log
from clipaudit.cli.words import among, command_line, either
from clipaudit.encoders.base import OUTPUTS
from clipaudit.features.signals import SIMILARITIES
from clipaudit.inferrers import RULES, forms
from clipaudit.pipelines import train as pipeline
from clipaudit.pipelines.scoring_options import MOST_IN_A_BATCH, MOST_PX
from clipaudit.pipelines.train import TrainConfig
from clipaudit.shadow.architectures import Architecture
from clipaudit.shadow.config import Algorithm, Precision, PretrainConfig
from clipaudit.shadow.pretrain import Epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PRETRAIN = PretrainConfig()
MOST = 10_000_000
DEFAULT = TrainConfig(data="", output=Path())
WITHOUT_REFERENCE = [kind for kind in RULES if forms(kind, has_reference=False)]
ALL_KINDS: list[str] = list(DEFAULT.kinds)
SIMILARITY: list[str] = list(DEFAULT.similarities)
BOTH_OUTPUTS: list[str] = list(DEFAULT.outputs)


def train(
    ctx: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="Shadow data set: a folder or zip file of pictures, or cifar10, cifar100, stl10, "
            "tiny-imagenet.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; continued if it exists.")
    ],
    data_name: Annotated[str | None, typer.Option(help="What the cards call the data set.")] = None,
    members: Annotated[
        int, typer.Option(max=MOST, help="Pictures that pre-train the shadow encoder.")
    ] = DEFAULT.n_members,
    nonmembers: Annotated[
        int, typer.Option(max=MOST, help="Pictures of the same set that do not.")
    ] = DEFAULT.n_nonmembers,
    references: Annotated[
        int,
        typer.Option(
            max=100,
            help="Reference encoders to pre-train beside it, each on as many other pictures, for "
            "inferrers that read both.",
        ),
    ] = DEFAULT.n_references,
    size: Annotated[
        int, typer.Option(max=MOST_PX, help="Side of the pictures, in pixels.")
    ] = DEFAULT.size_px,
    architecture: Annotated[
        Architecture,
        typer.Option(help="resnet18 or vgg11; their small and tiny versions are for CPUs."),
    ] = PRETRAIN.architecture,
    algorithm: Annotated[
        Algorithm, typer.Option(help="simclr, mocov1, mocov2, or byol, which has no negatives.")
    ] = PRETRAIN.algorithm,
    epochs: Annotated[
        int, typer.Option(max=MOST, help="Passes over the members.")
    ] = PRETRAIN.epochs,
    batch_size: Annotated[
        int, typer.Option(max=MOST_IN_A_BATCH, help="Pictures a step; two views of each.")
    ] = PRETRAIN.batch_size,
    learning_rate: Annotated[
        float, typer.Option(help="Learning rate of AdamW, at the start.")
    ] = PRETRAIN.learning_rate,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Temperature of the contrastive loss; 0.07 for mocov1 and else 0.2, if not given."
        ),
    ] = None,
    queue: Annotated[
        int,
        typer.Option(
            max=MOST,
            help="For MoCo: earlier keys that serve as negatives; at most half of the members.",
        ),
    ] = PRETRAIN.queue,
    precision: Annotated[
        Precision, typer.Option(help="float32, or bfloat16 where the processor has it.")
    ] = PRETRAIN.precision,
    views: Annotated[int, typer.Option(help="Views an image.")] = DEFAULT.n_views,
    kind: Annotated[
        list[str],
        typer.Option(
            help=f"{either(WITHOUT_REFERENCE)}, and with --references "
            f"{either(kind for kind in RULES if kind not in WITHOUT_REFERENCE)}; may be repeated."
        ),
    ] = ALL_KINDS,
    similarity: Annotated[
        list[str], typer.Option(help="cosine, pearson or euclidean; may be repeated.")
    ] = SIMILARITY,
    encoder_output: Annotated[
        list[str],
        typer.Option(help="Output of the shadow encoder: embedding or trunk; may be repeated."),
    ] = BOTH_OUTPUTS,
    without: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of an earlier run whose pictures must not be used."),
    ] = None,
    checkpoint_every: Annotated[
        float, typer.Option(min=0, help="Seconds between checkpoints of the pre-training.")
    ] = DEFAULT.checkpoint_every_s,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = DEFAULT.device,
    seed: Annotated[int, typer.Option(help="Seed of the split, the training and the fits.")] = 0,
) -> None:
    """Train inferrers of your own on a data set whose use you decide.

    Splits the data set into shadow members and non-members, pre-trains a shadow encoder on the
    members alone, and learns to tell the two apart. A run that was stopped continues with the
    same command.
    """
    config = TrainConfig(
        data=data,
        output=output,
        data_name=data_name,
        size_px=size,
        n_members=members,
        n_nonmembers=nonmembers,
        n_references=references,
        pretrain=PretrainConfig(
            architecture=architecture,
            algorithm=algorithm,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            temperature=temperature,
            queue=queue,
            precision=precision,
            seed=seed,
        ),
        kinds=among(kind, tuple(RULES), "--kind"),
        similarities=among(similarity, SIMILARITIES, "--similarity"),
        outputs=among(encoder_output, OUTPUTS, "--encoder-output"),
        n_views=views,
        without=tuple(without or ()),
        checkpoint_every_s=checkpoint_every,
        device=device,
        seed=seed,
        command=command_line(ctx),
    )
    with _progress(messages.set_up()) as (on_epoch, on_step):
        trained = pipeline.train(config, on_epoch, on_step)
    for inferrer in trained.inferrers:
        card = inferrer.card
        typer.echo(f"{trained.folder / card.name}: accuracy {card.evidence.accuracy}")


@contextmanager
def _progress(
    console: Console,
) -> Iterator[tuple[Callable[[Epoch], None], Callable[[str], None]]]:
    """Functions to call after every epoch and before later steps: a bar, or lines in a log."""
    if not console.is_terminal:
        log = Log(console)
        yield partial(_write, log), log.write
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("reading pictures", total=None, loss="")

        def on_epoch(epoch: Epoch) -> None:
            bar.update(
                task,
                description=f"pre-training, epoch {epoch.number} of {epoch.of}",
                completed=epoch.number,
                total=epoch.of,
                loss=f"loss {epoch.loss:.3f}",
            )

        def on_step(step: str) -> None:
            bar.update(task, description=step, total=None, loss="")

        yield on_epoch, on_step


def _write(log: Log, epoch: Epoch) -> None:
    line = (
        f"pre-training: epoch {epoch.number} of {epoch.of}, loss {epoch.loss:.3f}, "
        f"{epoch.seconds:.1f} s an epoch"
    )
    if epoch.number == epoch.of:
        log.write(line)
    else:
        log.write_if_due(lambda _elapsed_s: line)
