"""What training makes of a batch of inputs: an augmented one, or two views of the same items."""

from __future__ import annotations

from collections.abc import Callable

import torch

from acorl_sb.training.dataset import Batch


def augmented(inputs: torch.Tensor, augment: Callable | None) -> torch.Tensor:
    """Inputs (B, T) under an augmentation as ``Settings.augment`` describes it; None: as given."""
    if augment is None:
        return inputs
    whole = torch.ones(len(inputs), device=inputs.device)  # relative lengths (B,)
    return augment(inputs, whole)[0]


def two_views(batch: Batch, augment: Callable) -> Batch:
    """A batch of 2 B items: those of ``batch`` (B), then the same in the same order, augmented.

    It is what ``acorl_sb.complementarity.Agreement`` asks for.
    """
    noisy = augmented(batch.inputs, augment)
    if noisy.shape != batch.inputs.shape:
        raise ValueError(
            f"the second view of inputs {tuple(batch.inputs.shape)} is {tuple(noisy.shape)}"
        )
    return Batch(torch.cat([batch.inputs, noisy]), batch.labels.repeat(2), batch.items.repeat(2))
