"""Options of more than one command: what they are called, and what `--help` says of them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from clipaudit.encoders.base import Output
from clipaudit.features.signals import Similarity
from clipaudit.pictures.base import Interpolation, Limits

Backend = Literal["auto", "torch", "onnx"]
Channels = tuple[float, float, float]

MEGAPIXELS = round(Limits().max_pixels / 1e6, 1)
"""The usual limit of a picture, as the help shows it."""

_ENCODER = "Encoder"
_VIEWS = "Views and inferrers"
_RUN = "Run"

IncludeHidden = Annotated[
    bool, typer.Option("--include-hidden", help="Hidden files and folders too.")
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Stop after this many files.", show_default="all")
]
MaxMegapixels = Annotated[
    float,
    typer.Option(min=0.001, help="Skip larger pictures, which may be decompression bombs."),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first file that gives no picture.")
]
Encoder = Annotated[
    str,
    typer.Option(
        envvar="CLIPAUDIT_ENCODER",
        help="The encoder that is audited: MODEL/TAG of open_clip, or SCHEME:NAME; "
        "`clipaudit encoders` lists them.",
        rich_help_panel=_ENCODER,
    ),
]
References = Annotated[
    list[str] | None,
    typer.Option(
        help="An encoder like it that was not trained on these pictures. It sees the very same "
        "views, and inferrers that read both tell more; may be repeated.",
        show_default="none",
        rich_help_panel=_ENCODER,
    ),
]
OutputOf = Annotated[
    Output | None,
    typer.Option(
        help="Which output of the encoder to read.",
        show_default="what its loss saw",
        rich_help_panel=_ENCODER,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        envvar="CLIPAUDIT_DEVICE",
        help="auto, cpu, cuda, cuda:1 or mps.",
        rich_help_panel=_ENCODER,
    ),
]
BackendOf = Annotated[
    Backend,
    typer.Option(
        envvar="CLIPAUDIT_BACKEND", help="What runs the encoder.", rich_help_panel=_ENCODER
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        envvar=["CLIPAUDIT_OFFLINE", "HF_HUB_OFFLINE"],
        help="Open no connection; take the weights that are on this machine.",
        rich_help_panel=_ENCODER,
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Load a file that is a program (TorchScript). Only from people you trust.",
        rich_help_panel=_ENCODER,
    ),
]
Architecture = Annotated[
    str | None,
    typer.Option(
        help="Of a file that is a bare state dict: ViT-B-32, timm:NAME, torchvision:NAME.",
        rich_help_panel=_ENCODER,
    ),
]
InputSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Side of the encoder's input in pixels; this and the next three are for files "
        "that carry no preprocessing.",
        rich_help_panel=_ENCODER,
    ),
]
Mean = Annotated[
    Channels | None,
    typer.Option(help="Mean of its input: three numbers, R G B.", rich_help_panel=_ENCODER),
]
Std = Annotated[
    Channels | None,
    typer.Option(help="Standard deviation of its input: three numbers.", rich_help_panel=_ENCODER),
]
InterpolationOf = Annotated[
    Interpolation | None,
    typer.Option(help="How its input is resized.", rich_help_panel=_ENCODER),
]
Inferrers = Annotated[
    list[str] | None,
    typer.Option(
        help="A shipped inferrer, or the folder of another; may be repeated. "
        "`clipaudit inferrers` lists them.",
        show_default="all shipped ones that fit",
        rich_help_panel=_VIEWS,
    ),
]
Views = Annotated[int, typer.Option(min=2, help="Views an image.", rich_help_panel=_VIEWS)]
SimilarityOf = Annotated[
    Similarity | None,
    typer.Option(
        help="How two views are compared.",
        show_default="what the inferrers read",
        rich_help_panel=_VIEWS,
    ),
]
Seed = Annotated[int, typer.Option(help="Of the views.", rich_help_panel=_VIEWS)]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        envvar="CLIPAUDIT_BATCH_SIZE",
        help="Images a forward pass; no score depends on it.",
        show_default="what suits the device",
        rich_help_panel=_RUN,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        envvar="CLIPAUDIT_WORKERS",
        help="Processes that decode pictures.",
        show_default="one a core",
        rich_help_panel=_RUN,
    ),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        envvar="CLIPAUDIT_NO_CACHE",
        help="Neither read nor keep features; see `clipaudit cache`.",
        rich_help_panel=_RUN,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, no warnings.", rich_help_panel=_RUN),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        help="Say what is done; twice: all details.",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]


def pixels(megapixels: float) -> int:
    """The limit itself where it was left as it is: the help shows it rounded."""
    limits = Limits() if megapixels == MEGAPIXELS else Limits(int(megapixels * 1e6))
    return limits.max_pixels
