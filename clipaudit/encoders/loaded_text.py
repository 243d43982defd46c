"""The text tower that every backend ends in: captions → tokens → vectors, on a device."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipaudit.encoders import devices, fingerprint
from clipaudit.encoders.base import EncoderOptions
from clipaudit.encoders.crashes import CrashError
from clipaudit.encoders.loaded import crashed, embed_or_out_of_memory, move
from clipaudit.encoders.text import PairLoss, TextEmbeddings, TextInfo
from clipaudit.encoders.third_party import first_line, quiet
from clipaudit.encoders.time_limit import OutOfTimeError, PatientThread
from clipaudit.errors import EncoderError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

LONGEST_CONTEXT = 8192
"""Tokens that a context may have; those of published encoders have 32 to 248."""

_BATCH = 128

_LETTERS_PER_TOKEN = 16
"""No language fills a context with tokens that are longer than that on average. What is beyond is
dropped before the tokens are made, because that takes time that grows with the square of a word's
length."""

_SAMPLES = (
    "",
    "a photo of a cat",
    "A Photo of a CAT, taken in 1998 & 2004!",
    "  two  spaces,\ta tab\nand a line  ",
    "naïve café — 東京タワー 🐈",
    "&lt;b&gt;markup&lt;/b&gt;_file-name_0042.png",
    "a caption that does not end " * 400,
)
"""Captions that show how a tokenizer cleans, splits, joins and cuts."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokenizer:
    """Captions → numbers of tokens, as one model was trained with.

    Attributes:
        encode: Captions and a number of tokens → shape (n, that number), cut or filled up.
        vocabulary: Its tokens and their numbers.
        context_length: Tokens that a caption may have.
    """

    encode: Callable[[list[str], int], Tensor]
    vocabulary: Mapping[str, int]
    context_length: int

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens of captions, shape (n, context_length), and whether each was cut, shape (n,)."""
        limit = _LETTERS_PER_TOKEN * self.context_length
        plain = [text.encode("utf-8", "replace").decode() for text in texts]
        short = [text if len(text) <= limit else " ".join(text.split())[:limit] for text in plain]
        with quiet():
            tokens = self.encode(short, self.context_length)
            # With room for one more, a caption that was cut gets another token in the last place
            # of the context or, where no token marks the end, in the place beyond.
            longer = self.encode([*short, ""], self.context_length + 1)
        is_cut = (longer[:-1, :-1] != tokens).any(1) | (longer[:-1, -1] != longer[-1, -1])
        return tokens, is_cut | is_cut.new_tensor(
            [len(text) > limit and len(" ".join(text.split())) > limit for text in plain]
        )

    def identity(self) -> str:
        """SHA-256 in hex over its vocabulary and what it makes of some captions."""
        rows = self.tokens(_SAMPLES)[0].tolist()
        facts = [sorted(self.vocabulary.items()), self.context_length, rows]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class PairHead:
    """How the training joined the embeddings of a picture and a caption.

    Attributes:
        loss: Its loss.
        scale: Factor on the cosine, above 0.
        bias: Added to the scaled cosine.
    """

    loss: PairLoss
    scale: float
    bias: float = 0.0

    @classmethod
    def of(cls, log_scale: Tensor, bias: Tensor | None, checkpoint: object) -> PairHead:
        """The head of a model's own `logit_scale` and `logit_bias`, None where it has no bias.

        Raises:
            EncoderError: They are no such numbers.
        """
        numbers = [log_scale] if bias is None else [log_scale, bias]
        if any(tensor.numel() != 1 for tensor in numbers):
            raise EncoderError(
                f"{checkpoint} has a logit_scale or a logit_bias that is not one number",
                "Save the model as it was trained.",
            )
        scale, added = math.exp(min(float(log_scale), 700)), 0.0 if bias is None else float(bias)
        if not (0 < scale < math.inf and math.isfinite(added)) or float(log_scale) > 100:
            raise EncoderError(
                f"{checkpoint} has a logit_scale of {float(log_scale):g} and a logit_bias of "
                f"{added:g}, with which no encoder can have been trained",
                "Its weights are damaged; fetch them again.",
            )
        return cls("softmax" if bias is None else "sigmoid", scale, added)


@dataclass(frozen=True, slots=True, eq=False)
class TextModule:
    """A text tower as a torch module, on the CPU, with all that turns it into a `TextTower`.

    Attributes:
        spec: The name that it was asked for by.
        module: Tokens, shape (n, context_length), → (n, dim).
        tokenizer: What makes its tokens.
        n_tokens: Number of tokens that the module knows.
        head: How the training joined its embeddings with those of pictures.
        settings: What changes the module's results and leaves no trace in its tensors or layers.
    """

    spec: str
    module: nn.Module
    tokenizer: Tokenizer
    n_tokens: int
    head: PairHead
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedTextTower:
    """A `TextTower` from any function of tokens.

    Attributes:
        info: What is known of it.
        device: Where it runs.
        run: Tokens, shape (n, context_length), → (n, dim).
        tokenizer: What makes its tokens.
        n_tokens: Number of tokens that `run` knows.
    """

    info: TextInfo
    device: torch.device
    run: Callable[[Tensor], Tensor]
    tokenizer: Tokenizer
    n_tokens: int

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """See `TextTower.embed_texts`."""
        import torch

        if not texts:
            empty = np.empty((0, self.info.dim), dtype=np.float32)
            return TextEmbeddings(empty, np.empty(0, dtype=np.bool_))
        tokens, is_cut = self.tokenizer.tokens(texts)
        _require_known(tokens, self.n_tokens, self.info.spec)
        vectors = [
            _embed(self.run, batch.to(self.device), self.info.spec).cpu()
            for batch in torch.split(tokens, _BATCH)
        ]
        return TextEmbeddings(torch.cat(vectors).numpy(), is_cut.numpy())


def ready(tower: TextModule, options: EncoderOptions) -> LoadedTextTower:
    """The text tower of a module, on its device.

    Args:
        tower: On the CPU; its module is the text tower's from here on.
        options: Device, and the seconds that it may take.

    Raises:
        EncoderError: Its tokenizer belongs to another model, or the module does not run.
    """
    where = devices.resolve(options.device)
    module = tower.module.eval().requires_grad_(requires_grad=False)
    samples = tower.tokenizer.tokens(_SAMPLES)[0]
    _require_known(samples, tower.n_tokens, tower.spec)
    head = tower.head
    facts = {
        **tower.settings,
        "tokenizer": tower.tokenizer.identity(),
        "loss": head.loss,
        "scale": head.scale,
        "bias": head.bias,
    }
    mark = fingerprint.of_text_module(module, facts)
    module = move(module, where, tower.spec)
    tokens = samples[1:3].to(where)  # an empty caption may have no vector
    try:
        vectors = PatientThread().call(
            lambda: _embed(module, tokens, tower.spec), options.trial_timeout_s
        )
    except OutOfTimeError:
        raise EncoderError(
            f"the text tower of {tower.spec} gave no answer for two captions within "
            f"{options.trial_timeout_s:g} s",
            "If it is only slow, pass a larger --batch-timeout.",
        ) from None
    except CrashError as error:
        raise crashed(tower.spec, len(tokens), error) from None
    if vectors.ndim != 2 or len(vectors) != len(tokens) or not vectors.isfinite().all():
        raise EncoderError(
            f"the text tower of {tower.spec} gives no finite vector a caption",
            "Its weights are damaged or do not belong to this architecture; fetch them again.",
        )
    info = TextInfo(
        spec=tower.spec,
        dim=vectors.shape[1],
        context_length=tower.tokenizer.context_length,
        fingerprint=mark,
        loss=head.loss,
        scale=head.scale,
        bias=head.bias,
    )
    return LoadedTextTower(info, where, module, tower.tokenizer, tower.n_tokens)


def _require_known(tokens: Tensor, n_known: int, spec: str) -> None:
    """Raise an EncoderError where a tokenizer makes tokens that its text tower does not know."""
    largest = int(tokens.max())
    if largest >= n_known:
        raise EncoderError(
            f"the tokenizer of {spec} gives the token {largest:,}, and its text tower knows "
            f"{n_known:,} tokens",
            "It was trained with another tokenizer; name that in its text_cfg.",
        )


def _embed(run: Callable[[Tensor], Tensor], tokens: Tensor, spec: str) -> Tensor:
    """Embeddings of tokens, in halves where the device's memory does not hold them at once."""
    import torch

    try:
        with torch.no_grad(), quiet():
            return embed_or_out_of_memory(run, tokens)
    except torch.OutOfMemoryError as error:
        if len(tokens) == 1:
            raise EncoderError(
                f"the text tower of {spec} does not fit into the memory of {tokens.device}",
                "Use a smaller encoder or --device cpu.",
            ) from error
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        raise EncoderError(
            f"the text tower of {spec} does not run: {first_line(error)}",
            "Check its text_cfg: the context, the heads and the layers.",
        ) from error
    half = len(tokens) // 2
    return torch.cat([_embed(run, part, spec) for part in (tokens[:half], tokens[half:])])
