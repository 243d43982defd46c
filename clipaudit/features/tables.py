"""The tables of the store. A table may be added; what a table holds is changed by a new version."""

from __future__ import annotations

SCHEMA_VERSION = 3
"""Raised with the tables, and with what is measured: signals, hash, statistics."""

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS feature_sets (
        id INTEGER PRIMARY KEY,
        encoder TEXT NOT NULL,
        recipe TEXT NOT NULL,
        n_views INTEGER NOT NULL,
        seed TEXT NOT NULL,
        encoder_name TEXT NOT NULL,
        UNIQUE (encoder, recipe, n_views, seed)
    )""",
    """CREATE TABLE IF NOT EXISTS signals (
        set_id INTEGER NOT NULL REFERENCES feature_sets (id),
        image_id TEXT NOT NULL,
        cosine BLOB NOT NULL,
        pearson BLOB NOT NULL,
        euclidean BLOB NOT NULL,
        norms BLOB NOT NULL,
        plain_norm BLOB NOT NULL,
        notes TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (set_id, image_id)
    )""",
    """CREATE TABLE IF NOT EXISTS hashes (
        image_id TEXT PRIMARY KEY,
        phash BLOB NOT NULL,
        n_pixels BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS appearances (
        image_id TEXT PRIMARY KEY,
        statistics BLOB NOT NULL,
        embedding BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS looks (
        image_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        look BLOB NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (kind, image_id)
    )""",
    """CREATE TABLE IF NOT EXISTS caption_sets (
        id INTEGER PRIMARY KEY,
        encoder TEXT NOT NULL,
        tower TEXT NOT NULL,
        bank TEXT NOT NULL,
        encoder_name TEXT NOT NULL,
        UNIQUE (encoder, tower, bank)
    )""",
    """CREATE TABLE IF NOT EXISTS caption_signals (
        set_id INTEGER NOT NULL REFERENCES caption_sets (id),
        image_id TEXT NOT NULL,
        captions TEXT NOT NULL,
        measured BLOB NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (set_id, image_id, captions)
    )""",
    """CREATE TABLE IF NOT EXISTS texts (
        tower TEXT NOT NULL,
        caption_id TEXT NOT NULL,
        vector BLOB NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (tower, caption_id)
    )""",
    """CREATE TABLE IF NOT EXISTS encoders (
        key TEXT PRIMARY KEY,
        facts TEXT NOT NULL,
        checksum INTEGER NOT NULL
    )""",
)
TABLES = (
    "signals",
    "feature_sets",
    "hashes",
    "appearances",
    "looks",
    "caption_signals",
    "caption_sets",
    "texts",
    "encoders",
)
