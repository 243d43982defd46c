"""One encoder on several devices, each of which embeds a share of every batch."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from clipaudit.encoders import devices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, device

    from clipaudit.encoders.base import Encoder, EncoderInfo


class JointEncoder:
    """An `Encoder` of several that compute the same, each on a device of its own.

    Views are taken, and embeddings given, on the first of the devices.

    Args:
        encoders: At least one; the same encoder on each device.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        self._encoders = encoders
        self._info = replace(encoders[0].info, device=f"{devices.ALL_GPUS} ({len(encoders)})")

    @property
    def info(self) -> EncoderInfo:
        """See `Encoder.info`."""
        return self._info

    @property
    def device(self) -> device:
        """See `Encoder.device`."""
        return self._encoders[0].device

    def embed(self, views: Tensor) -> Tensor:
        """See `Encoder.embed`; what goes wrong on any of the devices goes wrong."""
        import torch

        parts = views.chunk(len(self._encoders))  # fewer where there are fewer views
        shares = [_Share(*pair) for pair in zip(self._encoders, parts, strict=False)]
        for share in shares:
            share.start()
        for share in shares:
            share.join()
        errors = [error for share in shares if (error := share.pop_error())]
        if errors:
            # Only this one is left: an error keeps every tensor of its thread.
            error = errors[0]
            errors.clear()
            try:
                raise error
            finally:
                del error
        return torch.cat([share.embeddings.to(self.device) for share in shares])


class _Share(threading.Thread):
    """A thread for one device's share of one batch.

    Each batch has new threads: a crash in one that began within a call counts as the encoder's,
    and one that does not end does not keep the process.
    """

    embeddings: Tensor

    def __init__(self, encoder: Encoder, views: Tensor) -> None:
        super().__init__(daemon=True)
        self._encoder = encoder
        self._views = views
        self._error: BaseException | None = None

    def run(self) -> None:
        """Embed the share."""
        import torch

        try:
            views = self._views.to(self._encoder.device, non_blocking=True)
            with torch.cuda.device_of(views):
                self.embeddings = self._encoder.embed(views)
            devices.wait(self._encoder.device)
        except BaseException as error:  # noqa: BLE001 - the calling thread raises it
            self._error = error

    def pop_error(self) -> BaseException | None:
        """What went wrong, which is forgotten here."""
        error, self._error = self._error, None
        return error
