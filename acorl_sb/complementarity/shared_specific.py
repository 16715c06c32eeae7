"""A new embedding of two parts: one that the references know, one that they do not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.complementarity.objective import Objective, Term
from acorl_sb.complementarity.schedules import Ramp, WeightSchedule
from acorl_sb.complementarity.similarity import unbiased_linear_cka


def uniformity(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log mean exp(-2 |x_i - x_j|^2) over the non-target pairs of a batch, x at unit length.

    Wang and Isola (2020), arXiv 2005.10242, over pairs of two classes: items of one class have no
    reason to lie apart.

    Arguments
    ---------
    x : (B, D)
    labels : (B,)

    Returns
    -------
    torch.Tensor
        A scalar in [-8, 0], lowest for items spread over the sphere; 0 where no pair is non-target.
    """
    x = F.normalize(x, dim=-1)
    apart = (labels[:, None] != labels[None, :]).to(x.dtype)  # (B, B)
    near = (4 * (x @ x.T) - 4).exp()  # |x_i - x_j|^2 = 2 - 2 cos
    count = apart.sum()
    return ((near * apart).sum() / count).log() if count > 0 else x.new_zeros(())


class SharedSpecific(Objective):
    """L = L_task + c (1/K) sum_k [L_align(s, v_k) + a CKA(u, v_k)] + c b (U(s) + U(u)).

    z = (s, u) are the shared and the specific part. L_align = mean_i 1 - cos(P_k s_i, v_k,i) with
    a learned linear map P_k draws the shared part to a reference, the unbiased linear CKA takes
    the specific part away from it, and ``uniformity`` keeps both spread out. After the
    disentangled representations of DaRec (Yang et al. 2024, arXiv 2408.08231).

    Arguments
    ---------
    dim, reference_dims, n_classes, schedule : see ``Objective``; the default schedule is ``Ramp()``
    shared : float in (0, 1), part of the D entries of z that is shared, the first ones
    separation, spread : float from 0 on, a and b
    """

    uses_references = True
    default_schedule = Ramp()

    def __init__(
        self,
        dim: int,
        reference_dims: Sequence[int],
        n_classes: int,
        schedule: WeightSchedule | None = None,
        shared: float = 0.5,
        separation: float = 1.0,
        spread: float = 0.1,
    ):
        super().__init__(dim, reference_dims, n_classes, schedule)
        self.shared = round(dim * shared)
        if not 0 < self.shared < dim:
            raise ValueError(f"shared: {shared} of {dim} entries leaves one of the parts empty")
        if separation < 0 or spread < 0:
            raise ValueError("separation and spread must be 0 or more")
        self.separation, self.spread = separation, spread
        self.maps = nn.ModuleList(nn.Linear(self.shared, d, bias=False) for d in reference_dims)

    def forward(self, z, references, labels, progress):
        weight = self.schedule(progress)
        shared, specific = z.float().split([self.shared, z.shape[1] - self.shared], dim=1)
        distance, similarity = z.new_zeros(()), z.new_zeros(())
        for to_reference, reference in zip(self.maps, references, strict=True):
            v = reference.detach().float()
            cosines = F.cosine_similarity(to_reference(shared), v, dim=1)
            distance = distance + (1 - cosines).mean() / len(references)
            alike = unbiased_linear_cka(F.normalize(specific, dim=-1), F.normalize(v, dim=-1))
            similarity = similarity + alike / len(references)
        crowding = uniformity(shared, labels) + uniformity(specific, labels)
        loss = distance + self.separation * similarity + self.spread * crowding
        logs = {
            "distance": distance.detach(),
            "similarity": similarity.detach(),
            "uniformity": crowding.detach(),
            "weight": weight,
        }
        return Term(weight * loss, logs=logs)
