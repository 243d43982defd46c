"""Where clipaudit keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_dir


def cache_dir() -> Path:
    """The user's cache folder; `CLIPAUDIT_CACHE_DIR` moves it. It may not exist yet."""
    return Path(os.environ.get("CLIPAUDIT_CACHE_DIR") or user_cache_dir("clipaudit"))
