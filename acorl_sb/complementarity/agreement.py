"""Agreement of two views of the same items, such as a clean and a noisy one."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from acorl_sb.complementarity.objective import Objective, Term
from acorl_sb.complementarity.schedules import WeightSchedule


class Agreement(Objective):
    """L = L_task + c mean_i (1 - cos(z_i, z'_i)): the views z_i and z'_i of an item i should agree.

    A batch holds the first view of n items in its first n rows and the second, in the same order,
    in its last n. It asks nothing of the references and can do without any; beside an objective
    that does, with ``Combined``, and out of fold, since both views of an item are of one class.

    Arguments
    ---------
    dim, reference_dims, n_classes : see ``Objective``
    schedule : WeightSchedule
        c, default 1 throughout.
    fixed_first : bool
        The first view is a constant: the second is drawn to it, and not half of the way each.

    Example
    -------
    >>> z = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, 1.0]])
    >>> term = Agreement(2, [], 2)(z, [], torch.tensor([0, 1, 0, 1]), 1.0)
    >>> round(float(term.loss), 3)  # half of 1 - cos 45 degrees
    0.146
    """

    default_schedule = WeightSchedule(1.0)

    def __init__(self, dim, reference_dims, n_classes, schedule=None, fixed_first: bool = True):
        super().__init__(dim, reference_dims, n_classes, schedule)
        self.fixed_first = fixed_first

    def forward(self, z, references, labels, progress):
        half = len(labels) // 2
        if len(labels) % 2 or not torch.equal(labels[:half], labels[half:]):
            raise ValueError("agreement needs a batch of two views: items, then the same items")
        weight = self.schedule(progress)
        first, second = z.float().split(half)
        if self.fixed_first:
            first = first.detach()
        distance = (1 - F.cosine_similarity(first, second, dim=1)).mean()
        return Term(weight * distance, logs={"disagreement": distance.detach(), "weight": weight})
