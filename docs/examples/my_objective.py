"""An objective of your own: penalise the squared cosine of the two members' embeddings."""

import torch
from torch.nn import functional as F

from acorl_sb.complementarity import Objective, Term


class SquaredCosine(Objective):
    """Adds c(p) mean_k mean_i cos(z_i, v_k,i)^2; members need embeddings of one size."""

    uses_references = True

    def forward(self, z, references, labels, progress):  # (B, D), K of (B, D), (B,), p in [0, 1]
        weight = self.schedule(progress)
        cosines = torch.stack([F.cosine_similarity(z, v) for v in references])  # (K, B)
        loss = cosines.square().mean()
        return Term(weight * loss, logs={"squared_cosine": loss.detach(), "weight": weight})
