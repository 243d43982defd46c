"""`clipaudit cache`: the store of features."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from clipaudit._version import SCHEMA_VERSION
from clipaudit.features import store
from clipaudit.text.escaping import shown
from clipaudit.text.numbers import count

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="See or empty the store of features.\n\nFeatures that were computed once are kept, so "
    "that a second run, another inferrer or a run that was stopped computes nothing twice. "
    "CLIPAUDIT_CACHE_DIR moves the store.",
)


@app.command()
def info(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say where the store is, how large, and what it holds."""
    path = store.default_path()
    encoders: tuple[store.StoredEncoder, ...] = ()
    size_bytes = n_images = 0
    if path.exists():
        with store.FeatureStore(path) as opened:
            facts = opened.info()
        encoders, size_bytes, n_images = facts.encoders, facts.size_bytes, facts.n_images
    if as_json:
        document = {
            "schema_version": SCHEMA_VERSION,
            "path": str(path),
            "size_bytes": size_bytes,
            "n_images": n_images,
            "encoders": [
                {"name": e.name, "fingerprint": e.fingerprint, "n_images": e.n_images}
                for e in encoders
            ],
        }
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(shown(str(path)))
    typer.echo(f"{size_bytes / 1e6:.1f} MB, features of {count(n_images, 'image')}")
    for encoder in encoders:
        name = shown(encoder.name) or "(unnamed)"
        typer.echo(f"  {encoder.n_images:,} by {name}, fingerprint {encoder.fingerprint[:12]}")


@app.command()
def clear() -> None:
    """Empty the store, broken or not; only time is lost."""
    path = store.default_path()
    store.clear(path)
    typer.echo(f"{shown(str(path))} is empty")
