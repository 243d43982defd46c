"""What `--bank` names → other pictures and captions, as each encoder of a run sees them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.captions.choosing import open_captions
from clipaudit.captions.cleaning import clean
from clipaudit.captions.rows import read_rows
from clipaudit.errors import InputError
from clipaudit.features.caption_signals import Bank
from clipaudit.features.embedder import usable
from clipaudit.features.stored_captions import caption_id
from clipaudit.files import expand_home
from clipaudit.pictures.base import BadImage
from clipaudit.pictures.decoder_pool import DecoderPool
from clipaudit.pictures.finding import find_images, read_path_list
from clipaudit.pictures.preparing import Wanted
from clipaudit.pictures.reading import content_id, read_file
from clipaudit.text.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clipaudit.features.caption_meter import TextReader
    from clipaudit.features.observers import Observer
    from clipaudit.features.optional_store import OptionalStore
    from clipaudit.features.signals import Float32Array
    from clipaudit.pictures.base import Frame, UInt8Array
    from clipaudit.pipelines.config import ScoreConfig

MOST = 500
"""Captions of a bank, and pictures of one; of more, the first by their hash."""

_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class BankEntries:
    """A bank before any encoder.

    Attributes:
        origin: Where it comes from, in words.
        captions: Different captions, by their hash.
        pictures: Files by the SHA-256 of their bytes, by that hash.
        ships: Whether it is the one that comes with the package.
    """

    origin: str
    captions: tuple[str, ...]
    pictures: dict[str, str]
    ships: bool = False

    @property
    def sha256(self) -> str:
        """SHA-256 in hex over the hashes of all that it holds."""
        ids = [*map(caption_id, self.captions), "", *self.pictures]
        return sha256("\n".join(ids).encode()).hexdigest()


def read_bank(choice: str | None, config: ScoreConfig) -> BankEntries:
    """The bank that was named; None names the neutral one that ships.

    It is not made of the pictures that are scored, nor of their control: what is part of the bank
    has one caption fewer to be told from, and would no longer be exchangeable with the others.

    Args:
        choice: A folder of pictures with captions, a caption file, or a text file with a caption a
            line.
        config: How files are found and read.

    Raises:
        InputError: There is no such file, or it holds no captions.
    """
    if choice is None:
        text = resources.files("clipaudit").joinpath("features/neutral_captions.txt").read_text()
        origin = "the neutral captions that ship with clipaudit"
        return replace(_entries(origin, text.splitlines(), {}), ships=True)
    path = expand_home(choice)
    name = shown(str(path))
    if path.is_dir():
        captions, pictures = _read_folder(path, config)
        return _entries(f"the pictures and captions in {name}", captions, pictures)
    if path.suffix.lower() == ".txt" and path.is_file():
        with path.open("rb") as file:
            lines = [clean(line) for line in read_path_list(file)]
        captions = [line for line in lines if line]
        if not captions:
            raise InputError(f"the bank {name} holds no caption", "Write a caption a line.")
    else:
        captions = [text for texts in read_rows(path).captions.values() for text in texts]
    return _entries(f"the captions in {name}", captions, {})


def _entries(origin: str, captions: Iterable[str], pictures: dict[str, str]) -> BankEntries:
    different = sorted(set(captions), key=caption_id)[:MOST]
    return BankEntries(origin, tuple(different), dict(sorted(pictures.items())[:MOST]))


def _read_folder(folder: Path, config: ScoreConfig) -> tuple[list[str], dict[str, str]]:
    """Captions of the pictures in a folder, and those of them that have one."""
    source = open_captions("auto", [folder])
    if source is None:
        raise InputError(
            f"the bank {shown(str(folder))} holds no captions",
            "Put a metadata.csv with file_name and text into the folder, or a .txt beside each "
            "picture; or name a text file with a caption a line.",
        )
    captions: list[str] = []
    pictures: dict[str, str] = {}
    for found in find_images([folder], include_hidden=config.include_hidden, within=[folder]):
        with suppress(BadImage):
            data = read_file(found.path, config.limits)
            if found.problem is None and (own := source.captions_of(found.path, data)):
                captions += own
                pictures[content_id(data)] = found.path
    if not captions:
        raise InputError(
            f"no picture of the bank {shown(str(folder))} has a caption",
            "The captions that lie there are of other files.",
        )
    return captions, pictures


def embed_bank(
    entries: BankEntries,
    observers: Sequence[Observer],
    readers: Sequence[TextReader],
    config: ScoreConfig,
    store: OptionalStore,
) -> tuple[Bank, ...]:
    """The bank as each encoder sees it.

    Args:
        entries: What is in it.
        observers: The encoders.
        readers: Their text towers, in the same order.
        config: How pictures are decoded.
        store: Keeps what towers make of the captions that ship; none of a user's.

    Raises:
        EncoderError: A tower does not run on it.
    """
    pixels = _decode(entries, observers, config)
    banks = []
    for observer, reader in zip(observers, readers, strict=True):
        ids = tuple(map(caption_id, entries.captions))
        _read(reader, entries, ids, store)
        images = _embed(observer, pixels)
        dim = reader.tower.info.dim
        banks.append(
            Bank(
                entries.sha256,
                entries.origin,
                tuple(images),
                np.array([*images.values()], dtype=np.float32).reshape(-1, dim),
                ids,
                np.stack([reader.vectors[key] for key in ids]),
            )
        )
    return tuple(banks)


def _read(
    reader: TextReader, entries: BankEntries, ids: Sequence[str], store: OptionalStore
) -> None:
    tower = reader.tower.info
    if entries.ships:
        for key, blob in store.get_texts(tower.fingerprint).items():
            vector = np.frombuffer(blob, "<f4").astype(np.float32)
            if len(vector) == tower.dim:
                reader.vectors[key] = vector
    is_new = any(key not in reader.vectors for key in ids)
    reader.read(entries.captions)
    if entries.ships and is_new:
        blobs = {key: reader.vectors[key].astype("<f4").tobytes() for key in ids}
        store.put_texts(tower.fingerprint, blobs)


def _decode(
    entries: BankEntries, observers: Sequence[Observer], config: ScoreConfig
) -> dict[str, dict[Frame, UInt8Array]]:
    """The pictures that can be decoded, in the frames of all observers."""
    if not entries.pictures:
        return {}
    wanted = Wanted(tuple(dict.fromkeys(observer.frame for observer in observers)))
    decoded: dict[str, dict[Frame, UInt8Array]] = {}
    with DecoderPool(config.n_workers, config.limits) as pool:
        futures = {}
        for image_id, path in entries.pictures.items():
            with suppress(BadImage):
                futures[image_id] = pool.submit(read_file(path, config.limits), wanted)
        for image_id, future in futures.items():
            with suppress(BadImage):
                decoded[image_id] = future.result().images
    return decoded


def _embed(
    observer: Observer, pixels: dict[str, dict[Frame, UInt8Array]]
) -> dict[str, Float32Array]:
    """Embeddings by image, of those that can be compared."""
    found: dict[str, Float32Array] = {}
    ids = [*pixels]
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        images = np.stack([pixels[key][observer.frame].transpose(2, 0, 1) for key in part])
        embeddings = observer.embed_plain(part, images)
        fine = usable(embeddings)
        found |= {key: embeddings.plain[row] for row, key in enumerate(part) if fine[row]}
    return found
