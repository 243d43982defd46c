"""Libraries that report on their users by themselves, kept from doing so.

onnxruntime 1.29 and later writes an id of the machine into the user's cache when it is imported,
and within seconds sends events to its makers, which hold the file name of the encoder. A variable
of the environment keeps it from that if it is there before the import, and if it says yes: with
`0`, or nothing, all of it happens. `onnxruntime.disable_telemetry_events` comes too late for both.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from clipaudit.errors import extra_imports

_LOG = logging.getLogger(__name__)
_ONNXRUNTIME = "ORT_DISABLE_TELEMETRY"
_SWITCHES = (_ONNXRUNTIME, "HF_HUB_DISABLE_TELEMETRY")
_YES = {"1", "true", "yes"}


def switch_off() -> None:
    """Set the variables that switch telemetry off, whatever they were; subprocesses inherit them.

    Importing clipaudit does it, before any library can be loaded.
    """
    is_off = os.environ.get(_ONNXRUNTIME, "").lower() in _YES
    if "onnxruntime" in sys.modules and not is_off:
        _LOG.warning(
            "onnxruntime was imported before clipaudit, with its telemetry on. "
            "Import clipaudit first, or set %s=1.",
            _ONNXRUNTIME,
        )
    os.environ.update(dict.fromkeys(_SWITCHES, "1"))


def load_onnxruntime() -> Any:
    """The module onnxruntime, which is imported here and nowhere else.

    Raises:
        MissingExtraError: It is not installed.
        Exception: It does not load; a broken build raises what it likes.
    """
    switch_off()
    with extra_imports("An ONNX encoder"):
        import onnxruntime

    onnxruntime.disable_telemetry_events()  # those that Windows itself collects
    return onnxruntime
