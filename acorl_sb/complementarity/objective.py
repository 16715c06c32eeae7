"""The one interface of everything that makes a new member complement frozen references."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from acorl_sb.complementarity.schedules import WeightSchedule

ABSENT = math.nan  # a figure of a batch that has nothing to take it of


@dataclass
class Term:
    """What an objective adds to a training step: L = task_weight * L_task + loss.

    ``loss`` is a scalar tensor with a graph, for all parameters of the objective that learn and
    whatever the batch (``zero_loss``). ``logs`` are detached scalars for the training log, under
    the same names at every step; one that is ``ABSENT`` is left out of the log's means.
    With a ``limit`` the gradient of ``loss`` is to be bounded, see ``bounded_loss``.

    Example
    -------
    >>> Term(torch.tensor(0.5), task_weight=0.5).total(torch.tensor(3.0))
    tensor(2.)
    """

    loss: torch.Tensor
    task_weight: float = 1.0
    logs: dict[str, torch.Tensor | float] = field(default_factory=dict)
    limit: float | None = None

    def total(self, task_loss: torch.Tensor) -> torch.Tensor:
        """The loss of the step, a scalar; docs/method.md (4) or (6)."""
        return self.task_weight * task_loss + self.loss


def zero_loss(z: torch.Tensor, parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """The loss of a batch that teaches nothing: 0, with gradients of 0 for ``parameters``.

    Without these, other ranks would wait for them in vain, and scaling the loss of fp16 would find
    an optimizer without any. ``z``, a tensor of any shape, gives dtype and device.
    """
    return sum((0.0 * p.sum() for p in parameters), z.new_zeros(()))


def is_absent(figure: torch.Tensor | float) -> bool:
    """Whether a figure of ``Term.logs`` is ``ABSENT``."""
    # A tensor is not looked at: the GPU would be waited for.
    return not torch.is_tensor(figure) and math.isnan(figure)


class Objective(nn.Module):
    """Base of the objectives: an independent member, no references needed.

    A subclass is built once per new member, with the sizes that only then are known, and called
    at every step. It knows embeddings and class labels, nothing of where they come from.

    Arguments
    ---------
    dim : int
        D, size of the new member's embedding.
    reference_dims : sequence of int
        D_1 .. D_K, sizes of the references' embeddings.
    n_classes : int
        Number of training classes.
    schedule : WeightSchedule
        Gives c, the weight of the complementarity loss, docs/method.md (5); None: a copy of the
        class's ``default_schedule``.

    A class that ``takes_unlabelled`` items gets the label -1 of those.
    """

    uses_references = False
    takes_unlabelled = False
    adversary_steps = 0
    default_schedule = WeightSchedule(0.0)

    def __init__(
        self,
        dim: int,
        reference_dims: Sequence[int],
        n_classes: int,
        schedule: WeightSchedule | None = None,
    ):
        super().__init__()
        if self.uses_references and not reference_dims:
            raise ValueError(f"{type(self).__name__} needs at least one reference to complement")
        if not isinstance(schedule, WeightSchedule | None):
            raise ValueError(f"schedule is the !new: of a WeightSchedule or null, not {schedule!r}")
        # A copy: a YAML may name one schedule for several members, and a schedule can hold state.
        self.schedule = copy.deepcopy(self.default_schedule if schedule is None else schedule)

    def forward(
        self,
        z: torch.Tensor,
        references: Sequence[torch.Tensor],
        labels: torch.Tensor,
        progress: float,
    ) -> Term:
        """The term for one batch.

        Arguments
        ---------
        z : (B, D) embeddings of the new member, with a graph
        references : K tensors (B, D_k), embeddings of the frozen references, without one
        labels : (B,) int64 in [0, n_classes)
        progress : fraction p of training done, in [0, 1]

        Returns
        -------
        Term
        """
        return Term(z.new_zeros(()))

    def adversary_loss(
        self, z: torch.Tensor, references: Sequence[torch.Tensor], labels: torch.Tensor
    ) -> torch.Tensor:
        """The adversary's own loss on a fixed z, a scalar, for its extra steps."""
        raise NotImplementedError(f"{type(self).__name__} has no adversary")

    def further_loss(
        self,
        step: int,
        z: torch.Tensor,
        references: Sequence[torch.Tensor],
        labels: torch.Tensor,
    ) -> torch.Tensor:
        """``adversary_loss`` of the adversaries that take step number ``step``, a scalar.

        Steps are counted from 0, the one that is taken with the encoder's, to
        ``adversary_steps - 1``. It has a gradient for all of ``further_parameters(step)``.
        """
        return self.adversary_loss(z, references, labels)

    def further_parameters(self, step: int) -> Iterator[nn.Parameter]:
        """Parameters of the adversaries that take step number ``step``."""
        return self.adversary_parameters() if step < self.adversary_steps else iter(())

    def adversary_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters for the adversary's own optimizer."""
        return iter(())

    def member_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that learn beside the encoder, with its optimizer."""
        adversary = {id(p) for p in self.adversary_parameters()}
        return (p for p in self.parameters() if id(p) not in adversary)

    def observe(self, *, task_loss: float | None = None, dev_error: float | None = None) -> None:
        """Pass on to the schedule what training has seen, see ``WeightSchedule.observe``."""
        self.schedule.observe(task_loss=task_loss, dev_error=dev_error)

    def set_baseline(self, dev_error: float) -> None:
        """The best reference's development error, for a schedule that is held against it."""
        self.schedule.set_baseline(dev_error)

    def get_extra_state(self) -> dict[str, float]:
        return self.schedule.state_dict()

    def set_extra_state(self, state: dict[str, float]) -> None:
        self.schedule.load_state_dict(state)


class Independent(Objective):
    """``none``: independent training, the reference that everything else must beat."""
