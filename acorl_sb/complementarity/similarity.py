"""Penalties on how alike two members see a batch: the ``cka`` and ``nontarget`` baselines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from acorl_sb.complementarity.objective import Objective, Term
from acorl_sb.complementarity.schedules import Ramp


def unbiased_linear_cka(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Linear centred kernel alignment of x (B, D) and y (B, E), from the unbiased HSIC.

    The estimator of Song et al. (2012) as used by Nguyen et al. (2021): the plain one tends to 1
    when B is not much larger than D, whatever x and y are. 1 when y is a rotation of x, about 0
    when they are independent (it can fall a little below). 0 where the rows of x or of y are all
    alike up to rounding: there is no structure to compare, and the estimator divides by it. Needs
    B >= 4.
    """
    if len(x) < 4:
        raise ValueError(f"the unbiased CKA needs at least 4 rows, not {len(x)}")
    gram_x, gram_y = _gram_without_diagonal(x), _gram_without_diagonal(y)
    own_x, own_y = _unbiased_hsic(gram_x, gram_x), _unbiased_hsic(gram_y, gram_y)
    known = (own_x > _rounding(x)) & (own_y > _rounding(y))
    scale = torch.where(known, own_x * own_y, torch.ones_like(own_x))
    alignment = _unbiased_hsic(gram_x, gram_y) / scale.sqrt()
    return torch.where(known, alignment, torch.zeros_like(alignment))


def _rounding(x: torch.Tensor) -> torch.Tensor:
    """The HSIC, with itself, of what remains of equal rows (B, D) when their mean is taken off."""
    return (16 * torch.finfo(x.dtype).eps * x.detach().square().sum(1).mean()).square()


def _gram_without_diagonal(x: torch.Tensor) -> torch.Tensor:
    x = x - x.mean(0)  # the unbiased HSIC is the same without; its terms would cancel
    gram = x @ x.T
    return gram - torch.diag(torch.diagonal(gram))


def _unbiased_hsic(k: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    n = len(k)
    across = (k * m).sum()
    totals = k.sum() * m.sum() / ((n - 1) * (n - 2))
    rows = 2 * (k.sum(0) * m.sum(0)).sum() / (n - 2)
    return (across + totals - rows) / (n * (n - 3))


def nontarget_correlation(x: torch.Tensor, y: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Pearson correlation of the cosine scores of x (B, D) and y (B, E) over non-target pairs.

    A pair is non-target when its labels (B,) differ. Returns a scalar in [-1, 1]; 0 when the
    batch holds fewer than three non-target pairs.
    """
    first, second = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    apart = labels[first] != labels[second]
    first, second = first[apart], second[apart]  # (P,)
    if len(first) < 3:
        return x.new_zeros(())
    scores = [pair_cosines(embedding, first, second) for embedding in (x, y)]
    scores = [score - score.mean() for score in scores]
    return F.cosine_similarity(scores[0], scores[1], dim=0)


def pair_cosines(z: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Cosines (P,) of the rows ``first`` (P,) and ``second`` (P,) of embeddings z (B, D)."""
    z = F.normalize(z, dim=-1)
    # Not z[first]: its gradient is added up by several threads in any order, and training would
    # end elsewhere each time.
    return torch.mul(z.index_select(0, first), z.index_select(0, second)).sum(-1)


class _Penalty(Objective):
    """L = L_task + c(p) (1/K) sum_k penalty(z, v_k)."""

    uses_references = True
    default_schedule = Ramp()

    def penalty(
        self, z: torch.Tensor, reference: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, z: torch.Tensor, references: Sequence[torch.Tensor], labels, progress):
        weight = self.schedule(progress)
        similarity = torch.stack(
            [
                self.penalty(z.float(), reference.detach().float(), labels)
                for reference in references
            ]
        ).mean()
        return Term(weight * similarity, logs={"similarity": similarity.detach(), "weight": weight})


class CKA(_Penalty):
    """``cka``: penalise the centred kernel alignment of (z, v_k) over the batch."""

    def penalty(self, z, reference, labels):
        return unbiased_linear_cka(F.normalize(z, dim=-1), F.normalize(reference, dim=-1))


class Nontarget(_Penalty):
    """``nontarget``: penalise the correlation of the members' non-target scores in the batch."""

    def penalty(self, z, reference, labels):
        return nontarget_correlation(z, reference, labels)
