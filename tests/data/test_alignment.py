"""Files over the same trials come into one order, and none is dropped in silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acorl_sb.data.alignment import align
from acorl_sb.data.trials import TrialList
from acorl_sb.utils.errors import UserError


def some_trials(seed=0, utterances=30, trials=200):
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(utterances**2)[:trials]
    ids = [f"u{n}" for n in range(utterances)]
    return TrialList(ids, pairs // utterances, pairs % utterances)


def names(trials):
    return [trials.name(n) for n in range(len(trials))]


def shuffled(trials, seed=1):
    """The same trials in another order, over names in another order."""
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(trials)), rng.permutation(len(trials.ids))
    place = np.argsort(names)
    return TrialList(
        [trials.ids[n] for n in names], place[trials.enrol[order]], place[trials.test[order]]
    )


def test_any_order_is_brought_into_that_of_the_first():
    trials = some_trials()
    other = shuffled(trials)
    order = align(trials, other, "a", "b")
    assert [names(other)[n] for n in order] == names(trials)
    assert align(trials, trials, "a", "a") is None
    same_order = TrialList(trials.ids[::-1], 29 - trials.enrol, 29 - trials.test)
    assert align(trials, same_order, "a", "b") is None


def test_differing_trials_are_counted_and_the_first_named():
    trials = some_trials()
    fewer = shuffled(replace(trials, enrol=trials.enrol[5:], test=trials.test[5:]))
    first = ".*".join(f"'{trials.name(n)}'" for n in range(3))
    with pytest.raises(UserError, match=first):
        align(trials, fewer, "a", "b")
    with pytest.raises(UserError):
        align(fewer, trials, "a", "b")
    other = replace(trials, ids=[*trials.ids[:-1], "new"])
    with pytest.raises(UserError):
        align(trials, other, "a", "b")


def test_the_sides_of_a_trial_count():
    trials = TrialList(["x", "y"], np.array([0]), np.array([1]))
    with pytest.raises(UserError, match="'x y'"):
        align(trials, replace(trials, enrol=trials.test, test=trials.enrol), "a", "b")
