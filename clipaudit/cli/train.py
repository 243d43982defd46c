"""`clipaudit train`: shadow encoder and inferrers from a data set."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

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
from clipaudit.pipelines.train_config import TrainConfig
from clipaudit.shadow.architectures import ARCHITECTURES, PAIR_ARCHITECTURES
from clipaudit.shadow.config import (
    Algorithm,
    PairConfig,
    PretrainConfig,
    TrainingConfig,
    TrainingPrecision,
)
from clipaudit.shadow.pretrain import Epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PRETRAIN = PretrainConfig()
PAIRS = PairConfig()
MOST = 10_000_000
DEFAULT = TrainConfig(data="", output=Path())
WITHOUT_REFERENCE = [kind for kind in RULES if forms(kind, has_reference=False)]
KINDS_WITH_CAPTIONS = [
    *(kind for kind in RULES if kind in DEFAULT.kinds),
    *("norm", "combined", "caption", "caption-loss"),
]
SIMILARITY: list[str] = list(DEFAULT.similarities)


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
        str | None,
        typer.Option(
            help=f"{either(ARCHITECTURES)}; the small and tiny ones are for CPUs. For clip "
            f"{either(PAIR_ARCHITECTURES)}. By default "
            f"{PRETRAIN.architecture} or {PAIRS.architecture}."
        ),
    ] = None,
    algorithm: Annotated[
        str,
        typer.Option(
            help="simclr, mocov1, mocov2, mocov2-split, whose batch norm sees an eighth of a "
            "batch, or byol, which has no negatives; clip, on pictures with captions."
        ),
    ] = PRETRAIN.algorithm,
    captions: Annotated[
        str,
        typer.Option(help="For clip: where captions come from, as `score --captions` takes it."),
    ] = DEFAULT.captions,
    bank_size: Annotated[
        int,
        typer.Option(
            min=2,
            max=MOST,
            help="For clip: other pictures with captions, against which the loss of a pair is "
            "taken.",
        ),
    ] = DEFAULT.n_bank,
    epochs: Annotated[
        int | None,
        typer.Option(
            max=MOST,
            help=f"Passes over the members; {PRETRAIN.epochs} by default, {PAIRS.epochs} for clip.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            max=MOST_IN_A_BATCH,
            help="Pictures a step, two views of each, or pairs of picture and caption; "
            f"{PRETRAIN.batch_size} by default, {PAIRS.batch_size} for clip.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help=f"Highest learning rate of AdamW; {PRETRAIN.learning_rate:g} by default, "
            f"{PAIRS.learning_rate:g} for clip."
        ),
    ] = None,
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
        TrainingPrecision, typer.Option(help="float32, or bfloat16 where the processor has it.")
    ] = PRETRAIN.precision,
    views: Annotated[int, typer.Option(help="Views an image.")] = DEFAULT.n_views,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{either(WITHOUT_REFERENCE)}, and with --references "
            f"{either(kind for kind in RULES if kind not in WITHOUT_REFERENCE)}; may be repeated. "
            f"By default {', '.join(DEFAULT.kinds)}; for clip also norm, combined, caption and "
            "caption-loss."
        ),
    ] = None,
    similarity: Annotated[
        list[str], typer.Option(help="cosine, pearson or euclidean; may be repeated.")
    ] = SIMILARITY,
    encoder_output: Annotated[
        list[str] | None,
        typer.Option(
            help="Output of the shadow encoder: embedding or trunk; may be repeated. Both by "
            "default, for clip the embedding."
        ),
    ] = None,
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
    known = (*get_args(Algorithm), PAIRS.algorithm)
    (algorithm,) = among([algorithm], known, "--algorithm")
    is_clip = algorithm == PAIRS.algorithm
    usual = PAIRS if is_clip else PRETRAIN
    common: dict[str, Any] = {
        "architecture": architecture or usual.architecture,
        "epochs": usual.epochs if epochs is None else epochs,
        "batch_size": usual.batch_size if batch_size is None else batch_size,
        "learning_rate": usual.learning_rate if learning_rate is None else learning_rate,
        "seed": seed,
    }
    pretrain: TrainingConfig = (
        PairConfig(**common)
        if is_clip
        else PretrainConfig(
            **common,
            algorithm=cast("Algorithm", algorithm),
            temperature=temperature,
            queue=queue,
            precision=precision,
        )
    )
    config = TrainConfig(
        data=data,
        output=output,
        data_name=data_name,
        size_px=size,
        n_members=members,
        n_nonmembers=nonmembers,
        n_references=references,
        captions=captions,
        n_bank=bank_size,
        pretrain=pretrain,
        kinds=among(
            kind or (KINDS_WITH_CAPTIONS if is_clip else list(DEFAULT.kinds)),
            tuple(RULES),
            "--kind",
        ),
        similarities=among(similarity, SIMILARITIES, "--similarity"),
        outputs=among(
            encoder_output or (["embedding"] if is_clip else list(DEFAULT.outputs)),
            OUTPUTS,
            "--encoder-output",
        ),
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
        typer.echo(
            f"{trained.folder / card.name}: accuracy {card.evidence.accuracy} on {card.judged_on}"
        )


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
