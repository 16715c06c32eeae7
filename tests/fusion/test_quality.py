"""Quality measures: what they are, and which system each column is of."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest

from acorl_sb.data.embeddings import Embeddings, write_embeddings
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion import quality
from acorl_sb.fusion.systems import System
from acorl_sb.fusion.validation import ScoreSet
from acorl_sb.utils.errors import UserError

IDS = [f"u{n}" for n in range(12)]
TRIALS = TrialList(IDS, *np.triu_indices(12, 1), np.zeros(66, dtype=bool))


def embeddings(seed, ids=IDS):
    return Embeddings(ids, np.random.default_rng(seed).normal(size=(len(ids), 6)).astype("f4"))


@pytest.fixture
def three(tmp_path):
    """Three systems with a cohort each, their embeddings, and the deviations of their scores."""
    systems = []
    for n in range(3):
        write_embeddings(
            tmp_path / f"cohort{n}.npz", embeddings(9 + n, [f"c{k}" for k in range(8)])
        )
        systems.append(System(f"s{n}", {}, {}, str(tmp_path / f"cohort{n}.npz")))
    std = np.random.default_rng(3).uniform(0.1, 1.0, (3, len(TRIALS)))
    return systems, [embeddings(n) for n in range(3)], std


def measure(systems, vectors, std, measures=("duration", "magnitude", "cohort", "uncertainty")):
    durations = {name: 1.0 + n for n, name in enumerate(IDS)}
    return quality.quality_of_part(systems, TRIALS, measures, durations, vectors, 3, (), std)


def test_magnitudes_and_cohort_means():
    rng = np.random.default_rng(0)
    vectors, cohort = rng.standard_normal((50, 8)), rng.standard_normal((30, 8))
    np.testing.assert_allclose(quality.magnitudes(vectors), np.sqrt((vectors**2).sum(1)))
    cosine = np.array(
        [[v @ c / np.linalg.norm(v) / np.linalg.norm(c) for c in cohort] for v in vectors]
    )
    for top in (1, 5, 30, 99):
        expected = np.sort(cosine, axis=1)[:, -top:].mean(1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = quality.cohort_means(vectors, cohort, top)
        np.testing.assert_allclose(found, expected)
    # As exact where embeddings are read from a file, in float32.
    found = quality.cohort_means(vectors.astype("f4"), cohort.astype("f4"), 99)
    np.testing.assert_allclose(found, cosine.mean(1), atol=1e-7)


def test_a_subset_has_the_columns_that_its_systems_have_by_themselves(three):
    systems, vectors, std = three
    columns, names, owners = measure(systems, vectors, std)
    assert len(columns) == len(names) == len(owners) == 2 + 3 * (1 + 2 + 2)
    for name, owner in zip(names, owners, strict=True):
        assert "duration" in name if owner is None else f" s{owner}" in name
    whole = ScoreSet(TRIALS, np.zeros((3, 66)), quality=columns, std=std, owners=owners)
    for size in (1, 2, 3):
        for subset in itertools.combinations(range(3), size):
            part = whole.members(subset)
            alone, _, alone_owners = measure(
                [systems[n] for n in subset], [vectors[n] for n in subset], std[list(subset)]
            )
            np.testing.assert_array_equal(part.quality, alone)
            assert list(part.owners) == alone_owners
    twice = whole.members((1, 2)).members((1,))
    np.testing.assert_array_equal(twice.quality, whole.members((2,)).quality)
    # Columns of which nothing is known are the trials' own.
    unknown = replace(whole, owners=None).members((0,))
    np.testing.assert_array_equal(unknown.quality, columns)


def test_embeddings_without_a_direction_have_no_cohort_means(three, tmp_path):
    systems, vectors, std = three
    zero = vectors[1].vectors.copy()
    zero[4] = 0
    with pytest.raises(UserError, match=r"s1.*'u4'"):
        measure(systems, [vectors[0], Embeddings(IDS, zero), vectors[2]], std)
    bad = embeddings(9, ["c0", "c1"])
    bad.vectors[1] = 0
    write_embeddings(tmp_path / "cohort2.npz", bad)
    with pytest.raises(UserError, match=r"cohort2\.npz.*'c1'"):
        measure(systems, vectors, std)
    # Their length is a measure all the same.
    measure(systems, vectors, std, ("magnitude",))
