"""Objectives made of others; several at once, for example ``Joint`` and a mild ``Adversarial``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import nn

from acorl_sb.complementarity.objective import Objective, Term


class OfParts(Objective):
    """Base of an objective that is made of others, its ``parts``: what it is told, they are."""

    uses_references = True
    parts: Sequence[Objective]

    def adversary_parameters(self) -> Iterator[nn.Parameter]:
        return (p for part in self.parts for p in part.adversary_parameters())

    def adversary_loss(self, z, references, labels):
        return self.further_loss(0, z, references, labels)

    def further_parameters(self, step: int) -> Iterator[nn.Parameter]:
        return (p for part in self.parts for p in part.further_parameters(step))

    def observe(self, *, task_loss: float | None = None, dev_error: float | None = None) -> None:
        for part in self.parts:
            part.observe(task_loss=task_loss, dev_error=dev_error)

    def set_baseline(self, dev_error: float) -> None:
        for part in self.parts:
            part.set_baseline(dev_error)

    def get_extra_state(self) -> dict[str, float]:
        return {}  # each part keeps its own

    def set_extra_state(self, state: dict[str, float]) -> None:
        pass


class Combined(OfParts):
    """The terms of all parts added up; their weights of the task loss multiplied.

    Each part's figures are logged under its own name, ``adversarial.weight``, and under
    ``nontarget1.weight``, ``nontarget2.weight`` where two parts are of one kind. Each part's
    adversary takes as many steps as it would alone.

    Arguments
    ---------
    dim, reference_dims, n_classes : see ``Objective``
    parts : sequence of callables(dim, reference_dims, n_classes) -> Objective

    Raises
    ------
    ValueError
        For no parts, one that is no objective, and one that is ``Bounded``: put that around the
        sum.
    """

    def __init__(
        self,
        dim: int,
        reference_dims: Sequence[int],
        n_classes: int,
        parts: Sequence[Callable[..., Objective]],
    ):
        super().__init__(dim, reference_dims, n_classes)
        if not isinstance(parts, Sequence) or not parts:
            raise ValueError(f"parts is a list of !name: of objectives, not {parts!r}")
        made = [make_part(part, dim, reference_dims, n_classes) for part in parts]
        self.parts = cast("Sequence[Objective]", nn.ModuleList(made))
        self.names = _names(self.parts)
        self.adversary_steps = max(part.adversary_steps for part in self.parts)

    def forward(self, z, references, labels, progress):
        combined = Term(z.new_zeros(()))
        for name, part in zip(self.names, self.parts, strict=True):
            term = part(z, references, labels, progress)
            combined.loss = combined.loss + term.loss
            combined.task_weight *= term.task_weight
            combined.logs |= {f"{name}.{figure}": value for figure, value in term.logs.items()}
        return combined

    def further_loss(self, step, z, references, labels):
        losses = [
            part.further_loss(step, z, references, labels)
            for part in self.parts
            if part.adversary_steps > step
        ]
        return torch.stack(losses).sum()


def make_part(
    part: Callable[..., Objective], dim: int, reference_dims: Sequence[int], n_classes: int
) -> Objective:
    """An objective to put another one around.

    Raises ``ValueError`` for what makes none, and for one that is bounded, whose limit would be
    lost in there.
    """
    sizes = {"dim": dim, "reference_dims": reference_dims, "n_classes": n_classes}
    made = part(**sizes) if callable(part) else part
    if not isinstance(made, Objective):
        raise ValueError(f"a part is the !name: of an objective, not {part!r}")
    if any(getattr(inner, "limit", None) is not None for inner in made.modules()):
        raise ValueError("the limit of a Bounded within another objective would be lost")
    return made


def _names(parts: Iterable[Objective]) -> list[str]:
    """The class's name for each part, numbered from 1 where several are of one class."""
    kinds = [type(part).__name__.lower() for part in parts]
    of_kind, seen = Counter(kinds), Counter[str]()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(kind if of_kind[kind] == 1 else f"{kind}{seen[kind]}")
    return names
