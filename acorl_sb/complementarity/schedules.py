"""The weight of the complementarity loss over training: c in docs/method.md (5).

A schedule is called with the fraction of training done and gives c >= 0. Training tells it what it
has seen through ``observe``; a schedule that needs nothing of that leaves ``observe`` alone. State
that must survive an interruption goes through ``state_dict`` / ``load_state_dict``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np


def checked_number(name: str, value: object, holds: Callable[[float], bool], allowed: str) -> float:
    """``value`` where it is a number that ``holds``; ValueError says what is ``allowed``."""
    if isinstance(value, bool) or not isinstance(value, Real) or not holds(float(value)):
        raise ValueError(f"{name} is {allowed}, not {value!r}")
    return float(value)


class WeightSchedule:
    """A constant weight; the base of the other schedules.

    All of them raise ``ValueError`` for what is no number or out of range.

    Arguments
    ---------
    weight : float >= 0
        lambda, the largest value of c.
    """

    def __init__(self, weight: float = 1.0):
        self.weight = checked_number("weight", weight, lambda v: 0 <= v < math.inf, "at least 0")

    def __call__(self, progress: float) -> float:
        """c at ``progress``, the fraction p of training done, in [0, 1]."""
        return self.weight

    def observe(self, *, task_loss: float | None = None, dev_error: float | None = None) -> None:
        """Take note of the task loss of a step, or of the development error after an epoch."""

    def set_baseline(self, dev_error: float) -> None:
        """Take note of the best reference's development error, a fraction, before training."""

    def state_dict(self) -> dict[str, float]:
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take over what ``state_dict`` gave before an interruption."""


class Ramp(WeightSchedule):
    """c(p) = lambda (2 / (1 + exp(-steepness q)) - 1), docs/method.md (5).

    q runs from 0 at ``start`` to 1 at the end of training; before ``start`` the weight is 0.
    With the defaults this is equation (5) to the letter.

    Arguments
    ---------
    weight : float >= 0
    steepness : float > 0
    start : float in [0, 1)

    Example
    -------
    >>> Ramp(weight=2.0)(0.0)
    0.0
    """

    def __init__(self, weight: float = 1.0, steepness: float = 10.0, start: float = 0.0):
        super().__init__(weight)
        self.steepness = checked_number(
            "steepness", steepness, lambda v: 0 < v < math.inf, "above 0"
        )
        self.start = checked_number("start", start, lambda v: 0 <= v < 1, "a fraction in [0, 1)")

    def __call__(self, progress: float) -> float:
        q = (progress - self.start) / (1 - self.start)
        if q <= 0:
            return 0.0
        return self.weight * (2 / (1 + math.exp(-self.steepness * q)) - 1)


class TaskGatedRamp(Ramp):
    """The ramp, but only while the smoothed task loss is below ``threshold``.

    The new member first has to tell the classes apart; if the complementarity loss makes it
    forget how, its weight is 0 until it has learned it again.

    Arguments
    ---------
    threshold : float >= 0
        Task loss (nats) below which the weight is the ramp's.
    smoothing : float in [0, 1)
        Weight of the past in the running mean of the task loss.
    """

    def __init__(
        self,
        weight: float = 1.0,
        threshold: float = 1.0,
        smoothing: float = 0.9,
        steepness: float = 10.0,
        start: float = 0.0,
    ):
        super().__init__(weight, steepness, start)
        self.threshold = checked_number("threshold", threshold, lambda v: v >= 0, "at least 0")
        self.smoothing = checked_number(
            "smoothing", smoothing, lambda v: 0 <= v < 1, "a fraction in [0, 1)"
        )
        self.task_loss: float | None = None

    def observe(self, *, task_loss: float | None = None, dev_error: float | None = None) -> None:
        if task_loss is None:
            return
        past = task_loss if self.task_loss is None else self.task_loss
        self.task_loss = self.smoothing * past + (1 - self.smoothing) * task_loss

    def __call__(self, progress: float) -> float:
        if self.task_loss is None or self.task_loss > self.threshold:
            return 0.0
        return super().__call__(progress)

    def state_dict(self) -> dict[str, float]:
        return {} if self.task_loss is None else {"task_loss": self.task_loss}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.task_loss = state.get("task_loss")


class SteeredRamp(TaskGatedRamp):
    """The ramp, steered so that the task loss stays within a margin of a run without the term.

    Full weight while the smoothed task loss is no higher than that of the run without at the same
    point of training, 0 once it is ``margin`` times as high, in proportion in between. The weight
    follows the loss at every step and comes back as soon as there is room.

    Arguments
    ---------
    curve : sequence of float > 0
        Task loss (nats) of the run without: its means over equal parts of training, in order, such
        as its epochs. Between their midpoints it is interpolated.
    margin : float > 1
    smoothing : float in [0, 1)
        Weight of the past in the running mean of the task loss.

    Example
    -------
    >>> schedule = SteeredRamp(curve=[4.0, 2.0], margin=1.1)
    >>> schedule.observe(task_loss=2.1)  # half of the margin
    >>> round(schedule(1.0), 2)
    0.5
    """

    def __init__(
        self,
        weight: float = 1.0,
        curve: Sequence[float] = (),
        margin: float = 1.1,
        smoothing: float = 0.95,
        steepness: float = 10.0,
        start: float = 0.0,
    ):
        super().__init__(weight, math.inf, smoothing, steepness, start)
        self.curve = [
            checked_number("curve", loss, lambda v: 0 < v < math.inf, "task losses above 0")
            for loss in curve
        ]
        if not self.curve:
            raise ValueError("curve is the task losses of a run without, not empty")
        self.margin = checked_number(
            "margin", margin, lambda v: 1 < v < math.inf, "a factor above 1"
        )

    def __call__(self, progress: float) -> float:
        full = super().__call__(progress)
        if self.task_loss is None:
            return full
        middles = (np.arange(len(self.curve)) + 0.5) / len(self.curve)
        without = float(np.interp(progress, middles, self.curve))
        room = (self.margin * without - self.task_loss) / ((self.margin - 1) * without)
        return full * min(1.0, max(0.0, room))


class MarginRamp(Ramp):
    """The ramp, scaled so that the member's development error stays within a margin.

    After each epoch the weight is multiplied by ``relax`` (< 1) when the member's development
    error is above ``margin`` x ``baseline``, and divided by it, up to full weight, when it is
    not. It bounds what a second member may lose, which a fixed weight does not.

    Arguments
    ---------
    baseline : float or None
        Development error (a fraction) that the member is held against; None takes what
        ``set_baseline`` is given, the best reference's.
    margin : float >= 1
    relax : float in (0, 1)
    """

    def __init__(
        self,
        weight: float = 1.0,
        margin: float = 1.2,
        relax: float = 0.5,
        baseline: float | None = None,
        steepness: float = 10.0,
        start: float = 0.0,
    ):
        super().__init__(weight, steepness, start)
        self.margin = checked_number("margin", margin, lambda v: 1 <= v < math.inf, "at least 1")
        self.relax = checked_number("relax", relax, lambda v: 0 < v < 1, "a factor in (0, 1)")
        if baseline is not None:
            checked_number("baseline", baseline, lambda v: 0 <= v <= 1, "a fraction in [0, 1]")
        self.baseline = baseline
        self.scale = 1.0

    def set_baseline(self, dev_error: float) -> None:
        if self.baseline is None:
            self.baseline = dev_error

    def observe(self, *, task_loss: float | None = None, dev_error: float | None = None) -> None:
        if dev_error is None or self.baseline is None:
            return
        if dev_error > self.margin * self.baseline:
            self.scale *= self.relax
        else:
            self.scale = min(1.0, self.scale / self.relax)

    def __call__(self, progress: float) -> float:
        return self.scale * super().__call__(progress)

    def state_dict(self) -> dict[str, float]:
        return {"scale": self.scale}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.scale = state.get("scale", 1.0)
