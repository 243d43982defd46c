"""Encoders that `clipaudit train` made: a folder with `encoder.json` and its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.encoders import weights
from clipaudit.encoders.base import OUTPUTS, EncoderInfo, EncoderOptions, InputSpec, Output
from clipaudit.encoders.model_files import look_at, read_description
from clipaudit.errors import EncoderError
from clipaudit.files import as_type, make_folder, of_format, replace_file
from clipaudit.shadow.architectures import Architecture, Head, build

if TYPE_CHECKING:
    from torch import Tensor, device, nn

    from clipaudit.encoders.base import Encoder

_FORMAT = 1
_CARD = "encoder.json"
_WEIGHTS = "encoder.safetensors"


@dataclass(frozen=True, slots=True)
class _Card:
    """What `encoder.json` says beside its format; the first ones named no head."""

    architecture: Architecture
    input: InputSpec
    head: Head = "mlp"


class ShadowEncoder:
    """A trunk with its projection head, giving either output."""

    def __init__(
        self,
        net: nn.Module,
        spec: str,
        input_spec: InputSpec,
        output: Output,
        options: EncoderOptions = EncoderOptions(),
    ) -> None:
        import torch

        from clipaudit.encoders.devices import resolve
        from clipaudit.encoders.fingerprint import of_module
        from clipaudit.encoders.towers import shorten

        where = resolve(options.device)
        self._kind = getattr(torch, options.precision)
        used = net if output == "embedding" else net.get_submodule("trunk")
        used = shorten(used, options.precision, spec)
        fingerprint = of_module(used, input_spec, output)
        self._net = used.eval().to(where).to(memory_format=torch.channels_last)
        self._mean = torch.tensor(input_spec.mean, device=where).view(1, 3, 1, 1)
        self._std = torch.tensor(input_spec.std, device=where).view(1, 3, 1, 1)
        self._device = where
        side = input_spec.size_px
        dim = self.embed(torch.zeros(1, 3, side, side, device=where)).shape[1]
        self._info = EncoderInfo(
            spec=spec,
            output=output,
            input=input_spec,
            dim=dim,
            fingerprint=fingerprint,
            backend=options.torch_backend,
            device=str(where),
        )

    @property
    def info(self) -> EncoderInfo:
        """See `Encoder.info`."""
        return self._info

    @property
    def device(self) -> device:
        """See `Encoder.device`."""
        return self._device

    def embed(self, views: Tensor) -> Tensor:
        """See `Encoder.embed`."""
        import torch

        with torch.inference_mode():
            normalised = ((views - self._mean) / self._std).to(self._kind)
            embeddings: Tensor = self._net(normalised.contiguous(memory_format=torch.channels_last))
            return embeddings.float()


def save(
    net: nn.Module,
    folder: Path,
    architecture: Architecture,
    input_spec: InputSpec,
    head: Head = "mlp",
) -> None:
    """Write a net made by `clipaudit.shadow.architectures.build`, so that `load` finds it.

    Raises:
        ClipAuditError: The folder cannot be written to.
    """
    from safetensors.torch import save as to_bytes

    make_folder(folder)
    weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    card = {
        "format": _FORMAT,
        "architecture": architecture,
        "head": head,
        "input": asdict(input_spec),
    }
    replace_file(folder / _WEIGHTS, to_bytes(weights))
    replace_file(folder / _CARD, json.dumps(card, indent=2).encode())


def load(path: str, options: EncoderOptions) -> Encoder:
    """The encoder in a folder that `clipaudit train` wrote; spec `shadow:FOLDER`.

    Raises:
        EncoderError: There is none, or its files are broken.
    """
    folder = Path(path)
    if options.backend == "onnx":
        raise EncoderError(
            "a shadow encoder runs on torch only", "Pass --backend torch or leave it out."
        )
    if not look_at(folder / _CARD) and look_at(folder / "encoder" / _CARD):
        folder /= "encoder"  # the folder of the whole run was named
    try:
        plain = of_format(read_description(folder / _CARD), _FORMAT)
        card = as_type(plain, _Card)
        net = build(card.architecture, card.input.size_px, seed=0, head=card.head)
        weights.fit(net, weights.read(folder / _WEIGHTS), folder / _WEIGHTS, card.architecture)
    except (OSError, ValueError, RuntimeError, EncoderError) as error:
        raise EncoderError(
            f"{path} holds no shadow encoder that can be read: {error}",
            "Pass the output folder of a finished `clipaudit train`.",
        ) from error
    output = options.output or "embedding"
    if output not in OUTPUTS:
        raise EncoderError(f"unknown output {output}", "Pass embedding or trunk.")
    return ShadowEncoder(net, f"shadow:{path}", card.input, output, options)
