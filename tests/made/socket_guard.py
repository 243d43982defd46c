"""A process that ends at once when it opens a socket."""

from __future__ import annotations

from pathlib import Path

GUARD = """
import os, sys
def guard(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        os.write(2, f"opened a socket: {event} {args}".encode())
        os._exit(99)
sys.addaudithook(guard)
"""


def write_guard(folder: Path, more: str = "") -> Path:
    """Folder for PYTHONPATH, whose sitecustomize ends a process that opens a socket.

    Args:
        folder: To be made.
        more: What else is to happen as a process starts.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(GUARD + more)
    return folder
