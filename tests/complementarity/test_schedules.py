"""Weight schedules: equation (5) in closed form, and what the other forms promise."""

from __future__ import annotations

import copy
import functools
import math

import pytest

from acorl_sb.complementarity import (
    MarginRamp,
    Ramp,
    SteeredRamp,
    TaskGatedRamp,
    WeightSchedule,
)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_ramp_is_equation_5(p):
    # 2 / (1 + exp(-x)) - 1 = tanh(x / 2)
    assert Ramp(weight=3.0)(p) == pytest.approx(3.0 * math.tanh(5 * p), abs=1e-12)


def test_ramp_starts_late():
    ramp = Ramp(weight=1.0, start=0.5)
    assert ramp(0.5) == 0.0 and ramp(0.2) == 0.0
    assert ramp(0.75) == pytest.approx(math.tanh(2.5))


@pytest.mark.parametrize(
    ("kind", "key", "values"),
    [
        (WeightSchedule, "weight", [-1.0, math.nan, math.inf, True, "5"]),
        (Ramp, "start", [1.0, -0.1, "0.5"]),
        (Ramp, "steepness", [0.0, -10.0, math.nan]),
        (TaskGatedRamp, "threshold", [-1.0, math.nan, None]),
        (TaskGatedRamp, "smoothing", [1.0, 2.0, -1.0]),
        (SteeredRamp, "curve", [[], [1.0, 0.0], ["a"]]),
        (functools.partial(SteeredRamp, curve=[1.0]), "margin", [1.0, math.nan]),
        (MarginRamp, "relax", [0.0, 1.0]),
        (MarginRamp, "margin", [0.9, -3.0, "a"]),
        (MarginRamp, "baseline", [-0.1, 1.1, "a"]),
    ],
)
def test_what_is_no_number_or_out_of_range_is_refused(kind, key, values):
    for value in values:
        with pytest.raises(ValueError, match=key):
            kind(**{key: value})


def test_gated_ramp_waits_for_the_task_and_stops_when_it_is_forgotten():
    schedule = TaskGatedRamp(weight=1.0, threshold=1.0, smoothing=0.0)
    assert schedule(1.0) == 0.0
    schedule.observe(task_loss=0.9)
    assert schedule(1.0) == pytest.approx(math.tanh(5))
    schedule.observe(task_loss=1.1)
    assert schedule(1.0) == 0.0


def test_margin_ramp_gives_way_and_comes_back():
    schedule = MarginRamp(weight=2.0, margin=1.5, relax=0.5)
    schedule.set_baseline(0.10)
    full = schedule(1.0)
    schedule.observe(dev_error=0.16)
    schedule.observe(dev_error=0.16)
    assert schedule(1.0) == pytest.approx(full / 4)
    schedule.observe(dev_error=0.15)
    assert schedule(1.0) == pytest.approx(full / 2)
    schedule.observe(dev_error=0.10)
    schedule.observe(dev_error=0.10)
    assert schedule(1.0) == pytest.approx(full)


def test_steered_ramp_follows_the_loss_of_the_run_without():
    schedule = SteeredRamp(weight=2.0, curve=[4.0, 2.0], margin=1.2, smoothing=0.0)
    assert schedule(0.5) == 0.0  # nothing seen yet
    # At a half of training the run without is between its halves' means, at 3: up to 3.6.
    for loss, share in ((2.0, 1), (3.0, 1), (3.3, 0.5), (3.6, 0), (5.0, 0), (3.15, 0.75)):
        schedule.observe(task_loss=loss)
        assert schedule(0.5) == pytest.approx(share * Ramp(2.0)(0.5))
    assert schedule(1.0) == 0.0  # 3.15 is above 1.2 * 2
    schedule.observe(task_loss=4.4)
    assert schedule(0.1) == pytest.approx(Ramp(2.0)(0.1) / 2)


def test_steered_ramp_smooths_the_task_loss():
    schedule = SteeredRamp(curve=[2.0], margin=1.5, smoothing=0.75)
    for loss in (2.0, 4.0, 1.0):
        schedule.observe(task_loss=loss)
    smoothed = 0.75 * (0.75 * 2 + 0.25 * 4) + 0.25 * 1
    assert schedule(1.0) == pytest.approx(Ramp()(1.0) * (3 - smoothed))


@pytest.mark.parametrize("values", [{}, {"curve": [1.0, 0.0]}, {"curve": [1.0], "margin": 1.0}])
def test_steered_ramp_needs_a_curve_and_a_margin(values):
    with pytest.raises(ValueError):
        SteeredRamp(**values)


@pytest.mark.parametrize(
    "schedule", [SteeredRamp(curve=[1.0]), TaskGatedRamp(), MarginRamp(baseline=0.1, margin=1.0)]
)
def test_state_survives(schedule):
    other = copy.deepcopy(schedule)
    schedule.observe(task_loss=0.5, dev_error=0.2)
    other.load_state_dict(schedule.state_dict())
    assert other.state_dict() == schedule.state_dict() != {}
