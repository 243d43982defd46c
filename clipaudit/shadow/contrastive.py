"""Heads, losses and the momentum update of contrastive pre-training.

The numbers are those of the library lightly (1.6 and later), to the bit, and so are the names of
the weights, so that encoders and checkpoints that were made with it can be read.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize


class TwoLayers(nn.Module):
    """Two layers, of which the first may have batch norm instead of a bias.

    Source: MoCo v2 (without batch norm), BYOL (with it).
    """

    def __init__(self, n_in: int, n_hidden: int, n_out: int, *, has_batch_norm: bool) -> None:
        super().__init__()
        norm = [nn.BatchNorm1d(n_hidden)] if has_batch_norm else []
        first = nn.Linear(n_in, n_hidden, bias=not has_batch_norm)
        self.layers = nn.Sequential(first, *norm, nn.ReLU(), nn.Linear(n_hidden, n_out))

    def forward(self, features: Tensor) -> Tensor:
        """Features, shape (n, n_in), → (n, n_out)."""
        out: Tensor = self.layers(features)
        return out


class NegativeCosine(nn.Module):
    """BYOL's loss: minus the mean cosine similarity of predictions and keys."""

    def forward(self, predicted: Tensor, keys: Tensor) -> Tensor:
        """Two batches of embeddings, shape (n, d), → a number."""
        return -cosine_similarity(predicted, keys).mean()


class Queue(nn.Module):
    """The newest keys of MoCo, which serve as negatives; at first, random unit vectors.

    Differs: a batch that reaches the end is cut there, and the next one begins at the start.
    """

    bank: Tensor
    bank_ptr: Tensor

    def __init__(self, n_keys: int, dim: int) -> None:
        super().__init__()
        bank = normalize(torch.randn(n_keys, dim), dim=-1)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("bank_ptr", torch.zeros(1, dtype=torch.long), persistent=False)

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Put keys in the place of the oldest ones."""
        start = int(self.bank_ptr)
        end = start + len(keys)
        self.bank[start:end] = keys[: len(self.bank) - start]
        self.bank_ptr[0] = 0 if end >= len(self.bank) else end


class InfoNCE(nn.Module):
    """The cross-entropy of finding the other view of a picture among negatives.

    Source: SimCLR's NT-Xent, where the negatives are the other views of the batch, and MoCo's
    InfoNCE, where they are a queue of keys.

    Attributes:
        temperature: What similarities are divided by.
        memory_bank: Queue of the keys; None for SimCLR.
    """

    def __init__(self, temperature: float, queue: tuple[int, int] | None) -> None:
        super().__init__()
        self.temperature = temperature
        self.memory_bank = Queue(*queue) if queue else None

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Embeddings of two views of each picture, shape (n, d) both, → a number."""
        first, second = normalize(first, dim=1), normalize(second, dim=1)
        if self.memory_bank is None:
            return self._within_the_batch(first, second)
        negatives = self.memory_bank.bank.clone().T
        if first.requires_grad:
            self.memory_bank.push(second)
        alike = torch.einsum("nc,nc->n", first, second).unsqueeze(-1)
        unlike = torch.einsum("nc,ck->nk", first, negatives)
        logits = torch.cat([alike, unlike], dim=1) / self.temperature
        return cross_entropy(logits, torch.zeros(len(logits), device=logits.device).long())

    def _within_the_batch(self, first: Tensor, second: Tensor) -> Tensor:
        n = len(first)
        others = ~torch.eye(n, device=first.device, dtype=torch.bool)

        def logits(one: Tensor, other: Tensor) -> Tensor:
            return torch.einsum("nc,mc->nm", one, other) / self.temperature

        # Gradients are summed in the order of these lines, on which their last bits depend.
        first_first, first_second = logits(first, first), logits(first, second)
        second_first, second_second = logits(second, first), logits(second, second)
        first_first = first_first[others].view(n, -1)
        second_second = second_second[others].view(n, -1)
        of_first = torch.cat([first_second, first_first], dim=1)
        of_second = torch.cat([second_first, second_second], dim=1)
        labels = torch.arange(n, device=first.device).repeat(2)
        return cross_entropy(torch.cat([of_first, of_second]), labels)


@torch.no_grad()
def update_momentum(net: nn.Module, momentum_net: nn.Module, momentum: float) -> None:
    """Move the weights of one net towards those of another, by a share of 1 - `momentum`."""
    weights: list[Tensor] = [*momentum_net.parameters()]
    torch._foreach_mul_(weights, momentum)
    torch._foreach_add_(weights, [*net.parameters()], alpha=1.0 - momentum)
