"""The manifest of a set: a row a picture, with where it is from and why it has its label."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from clipaudit._version import SCHEMA_VERSION
from clipaudit.errors import InputError
from clipaudit.files import as_type, load_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clipaudit.evaluation_sets.collecting import Picture

PARQUET = "manifest.parquet"
JSON_LINES = "manifest.jsonl"

Label = Literal["potential-member", "member", "non-member"]
"""`potential-member`: public when the encoder was trained, so perhaps used. `member`: listed in
the published training data, and unchanged since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One picture of a source, as it was found.

    Attributes:
        original_sha256: Hash of the downloaded file, in hex; it is in `sources/originals/`.
        keyword: It was found for.
        rank: Its place among what was found for the keyword, from 1.
        source: Name of the source.
        source_id: What the source calls it.
        image_url: Where its bytes were.
        page_url: The page that shows it.
        title: Title of the picture.
        author: Whoever made the picture.
        author_url: Page of the author.
        license: As in `ImageRecord.license`; `unknown` where the source does not say.
        license_version: Version of the licence.
        license_url: Text of the licence.
        credit: The credit line.
        uploaded: When it was put online, ISO 8601.
        taken: When it was made, ISO 8601.
        width_px: Width of the original.
        height_px: Height of the original.
        n_bytes: Size of the original's file.
        format: Format of the original's file.
    """

    original_sha256: str
    keyword: str
    rank: int
    source: str
    source_id: str
    image_url: str
    page_url: str | None
    title: str | None
    author: str | None
    author_url: str | None
    license: str
    license_version: str | None
    license_url: str | None
    credit: str | None
    uploaded: str | None
    taken: str | None
    width_px: int
    height_px: int
    n_bytes: int
    format: str

    @classmethod
    def of(cls, picture: Picture) -> Self:
        """The origin of a picture that was accepted."""
        record, file = picture.record, picture.file
        return cls(
            original_sha256=file.sha256,
            keyword=picture.keyword,
            rank=picture.rank,
            source=record.source,
            source_id=_text(record.source_id),
            image_url=_text(record.image_url),
            page_url=_text(record.page_url),
            title=_text(record.title),
            author=_text(record.author),
            author_url=_text(record.author_url),
            license=_text(record.license or "unknown"),
            license_version=_text(record.license_version),
            license_url=_text(record.license_url),
            credit=_text(record.credit),
            uploaded=_text(record.uploaded),
            taken=_text(record.taken),
            width_px=file.width_px,
            height_px=file.height_px,
            n_bytes=file.n_bytes,
            format=file.format,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One picture of the set.

    Attributes:
        path: Within the set, with `/` between.
        sha256: Hash of the file at `path`, in hex.
        phash: Perceptual hash of that file, 16 hex digits.
        label: What the picture counts as.
        reason: Why it does, for people.
        origin: Where a natural picture is from; None for a joined one.
        parents: Parents of a joined picture, in the order in which they were joined; else empty.
        layout: How they were joined.
    """

    path: str
    sha256: str
    phash: str
    label: Label
    reason: str
    origin: Origin | None = None
    parents: tuple[Origin, ...] = ()
    layout: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """All rows of a set, by path, and what they have in common.

    Attributes:
        rows: Members and non-members.
        parameters: What the set was made from, as in `set.json`.
        seed: What the draws depended on.
        version: Version of clipaudit.
    """

    rows: tuple[Row, ...]
    parameters: Mapping[str, Any]
    seed: int
    version: str

    def to_dicts(self) -> list[dict[str, Any]]:
        """A flat dict a row, as in the files: the origin's fields stand beside the row's own."""
        common = {
            "size_px": self.parameters["size_px"],
            "parameters": json.dumps(self.parameters, sort_keys=True, ensure_ascii=False),
            "seed": self.seed,
            "clipaudit_version": self.version,
            "schema_version": SCHEMA_VERSION,
        }
        return [{**_flat(row), **common} for row in self.rows]

    def write_parquet(self) -> bytes:
        """The file `manifest.parquet`."""
        import pyarrow.parquet

        table = pyarrow.Table.from_pylist(self.to_dicts(), schema=_schema())
        file = BytesIO()
        pyarrow.parquet.write_table(table, file, compression="zstd")
        return file.getvalue()

    def write_json_lines(self) -> bytes:
        """The file `manifest.jsonl`: a JSON object a line, the same fields."""
        lines = (json.dumps(row, ensure_ascii=False) for row in self.to_dicts())
        return "".join(f"{line}\n" for line in lines).encode()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished set.

    Raises:
        InputError: The folder holds none, or one that clipaudit did not write.
    """
    path = folder / JSON_LINES
    try:
        lines = [load_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        first = lines[0] if lines else {}
        if lines and first["schema_version"] != SCHEMA_VERSION:
            raise InputError(
                f"{str(path)!r} has version {first['schema_version']} of the manifest",
                f"This clipaudit reads version {SCHEMA_VERSION}: build the set anew.",
            )
        return Manifest(
            rows=tuple(map(_row, lines)),
            parameters=load_json(first.get("parameters", "{}")),
            seed=first.get("seed", 0),
            version=first.get("clipaudit_version", ""),
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{str(folder)!r} holds no {JSON_LINES}",
            "Name a folder that `clipaudit build-eval` has finished.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{str(path)!r} is not a manifest that clipaudit wrote", "Build the set anew."
        ) from error


def origins(rows: Iterable[Row]) -> list[Origin]:
    """The natural pictures in some rows or behind them, each once, by keyword and rank."""
    found = {
        origin.original_sha256: origin
        for row in rows
        for origin in ((row.origin,) if row.origin else row.parents)
    }
    return sorted(found.values(), key=lambda origin: (origin.keyword.casefold(), origin.rank))


Text = TypeVar("Text", str, str | None)


def _text(said: Text) -> Text:
    """What a source said, with halves of characters replaced that no file could hold."""
    return said if said is None else said.encode("utf-8", "replace").decode()


_OWN = ("path", "sha256", "phash", "label", "reason", "layout")
_NUMBERS = {"rank", "width_px", "height_px", "n_bytes"}


def _flat(row: Row) -> dict[str, Any]:
    origin = asdict(row.origin) if row.origin else dict.fromkeys(Origin.__dataclass_fields__)
    own = {name: getattr(row, name) for name in _OWN}
    return {**own, **origin, "parents": [asdict(parent) for parent in row.parents]}


def _row(flat: dict[str, Any]) -> Row:
    own = {name: flat[name] for name in _OWN}
    origin = {name: flat[name] for name in Origin.__dataclass_fields__}
    more = {"origin": None if flat["parents"] else origin, "parents": flat["parents"]}
    return as_type(own | more, Row, unknown="forbid")


def _schema() -> Any:
    import pyarrow as pa

    def fields(names: Sequence[str]) -> list[Any]:
        return [pa.field(name, pa.int64() if name in _NUMBERS else pa.string()) for name in names]

    origin = fields(list(Origin.__dataclass_fields__))
    return pa.schema(
        [
            *fields(_OWN),
            *origin,
            pa.field("parents", pa.list_(pa.struct(origin))),
            pa.field("size_px", pa.int64()),
            pa.field("parameters", pa.string()),
            pa.field("seed", pa.int64()),
            pa.field("clipaudit_version", pa.string()),
            pa.field("schema_version", pa.string()),
        ]
    )
