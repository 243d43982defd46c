"""How far a run has come, as a bar: for Python, where no command draws one."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipaudit.pipelines.score import Progress


class ProgressBar:
    """A bar where somebody looks, in a notebook or on a terminal; it starts anew for each part."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._began = time.time()

    def __call__(self, progress: Progress) -> None:
        """Draw how far the run has come."""
        from tqdm import tqdm

        if self._bar is None:
            is_terminal = sys.stderr is not None and sys.stderr.isatty()
            is_seen = is_terminal or "ipykernel" in sys.modules
            self._bar = tqdm(desc="scoring", unit=" images", disable=not is_seen)
            self._bar.start_t = self._began  # the first call comes when some are done
        self._bar.total = progress.total
        self._bar.update(progress.done - self._bar.n)
        if progress.done == progress.total:
            self._bar.close()
            self._bar, self._began = None, time.time()
