"""What a member's complementarity term looks at, where that is not what its task looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from acorl_sb.encoders.ensemble import OutOfFoldReferences
from acorl_sb.training.dataset import StepBatches
from acorl_sb.training.loading import check_labelled, own_batches, trial_groups
from acorl_sb.training.masking import AttributionMask
from acorl_sb.training.settings import Settings
from acorl_sb.training.training_data import TrainingData


@dataclass
class TermSettings:
    """What the complementarity term looks at, where that is not the task's batch and references.

    Arguments
    ---------
    copies : OutOfFoldReferences or None
        Asked in place of the references, each about classes that it was not trained on.
    data : TrainingData or None
        Makes batches of the term's own; the term's classes are then its classes.
    batch_size : int
        Items of such a batch, on each rank.
    each : int
        Items of every class in such a batch; 1: drawn evenly over items.
    groups : sequence of str, of each item of ``data``, or None
        Such a batch is of one of these groups; see ``GroupSampler``.
    second_view : callable(inputs, relative lengths) -> the same, or None
        Such a batch is seen as it is and, below it, once more under this (``dataset.two_views``);
        None: once, augmented as the task's batch is.
    mask : AttributionMask or None
        Hides bins of the task's batch from the member, with or without an objective.
    """

    copies: OutOfFoldReferences | None = None
    data: TrainingData | None = None
    batch_size: int = 48
    each: int = 1
    groups: Sequence[str] | None = None
    second_view: Callable[..., Any] | None = None
    mask: AttributionMask | None = None

    def batches(self, settings: Settings, seed: int) -> StepBatches | None:
        """The term's batches by step; None for those of the task."""
        if self.data is None:
            return None
        return own_batches(self.data, settings, seed, self.batch_size, self.each, self.groups)

    def with_batches(self, data: TrainingData, settings: Settings) -> TermSettings:
        """These, with the batches that the keys ``objective_per_class`` and ``…_within`` ask for.

        Raises ``UserError`` for unlabelled items and for groups that the data do not know.
        """
        if settings.objective_per_class is None or self.data is not None:
            return self
        check_labelled(data, "objective_per_class")
        within = getattr(settings, "objective_within", None)
        return replace(
            self,
            data=data,
            batch_size=settings.batch_size,
            each=settings.objective_per_class,
            groups=None if within is None else trial_groups(data, within, "objective_within"),
        )
