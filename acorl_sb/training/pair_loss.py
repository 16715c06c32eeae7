"""A task loss on pairs, beside that on classes: what trials ask, in batches of its own."""

from __future__ import annotations

import torch

from acorl_sb.complementarity.dprime import d_prime_loss
from acorl_sb.complementarity.schedules import Ramp


class DLoss:
    """-2 c log d' of a member's own scores of target and non-target pairs, docs/method.md (15).

    D-loss (Silva et al., arXiv 2109.05524). A member needs no reference for it: the key
    ``pair_loss`` adds it to the loss on classes, of the first member as of a later one. It looks
    at batches of its own, ``batch_size`` items, which the batch norms' statistics leave out.

    Arguments
    ---------
    weight : float >= 0
        c at the end of training, a ``Ramp`` to it.
    per_class : int >= 2
        Items of every class (speaker) in such a batch.
    within : str or None
        Column of the manifest, or several joined by ``+``: each batch is of one of its groups,
        such as one corpus or language, as trials are. None: all together.

    Raises
    ------
    ValueError
        For values out of range.

    Example
    -------
    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [-1.0, 0.0]])
    >>> loss, d_prime = DLoss(weight=0.5)(z, torch.tensor([0, 0, 1, 1, 2]), 1.0)
    >>> bool(d_prime > 0)
    True
    """

    def __init__(self, weight: float = 5.0, per_class: int = 4, within: str | None = None):
        if isinstance(per_class, bool) or not isinstance(per_class, int) or per_class < 2:
            raise ValueError(f"per_class must be an integer of at least 2, not {per_class!r}")
        if within is not None and (not isinstance(within, str) or not within):
            raise ValueError(f"within must name a column, or be null, not {within!r}")
        self.ramp = Ramp(weight)
        self.per_class, self.within = per_class, within

    def __call__(
        self, z: torch.Tensor, labels: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of one batch.

        Arguments
        ---------
        z : (B, D) embeddings, with a graph
        labels : (B,) int64
        progress : fraction p of training done, in [0, 1]

        Returns
        -------
        loss : scalar
        d_prime : scalar, detached
        """
        return d_prime_loss([z], labels, self.ramp(progress))
