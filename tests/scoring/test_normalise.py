"""Score normalisation against plain loops; memory blocks; each utterance once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acorl_sb.scoring import normalise
from acorl_sb.scoring.backends.backend import PreparedSides
from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.scoring.backends.rows import unit_rows
from acorl_sb.scoring.normalise import AdaptiveSNorm, SNorm, TNorm, ZNorm

RNG = np.random.default_rng(0)
VECTORS, COHORT = RNG.normal(size=(30, 6)), RNG.normal(size=(25, 6)) + 0.3
ENROL, TEST = RNG.integers(0, 20, 80), RNG.integers(0, 30, 80)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def by_a_loop(kind, top_k=None):
    """Trial by trial, as a recipe would write it."""
    result = []
    for e, t in zip(ENROL, TEST, strict=True):
        s, sides = cosine(VECTORS[e], VECTORS[t]), []
        for row in (e, t):
            cohort = np.sort([cosine(VECTORS[row], c) for c in COHORT])[::-1][:top_k]
            sides.append((s - np.mean(cohort)) / np.std(cohort, ddof=1))
        z, t_norm = sides
        result.append({"z": z, "t": t_norm, "s": (z + t_norm) / 2}[kind])
    return np.array(result)


def run(normalisation, backend, device, vectors=VECTORS, test_vectors=None, models=None):
    def put(x):
        return torch.tensor(np.asarray(x), device=device)

    cohort, enrol_vectors = backend.prepare(put(COHORT)), backend.prepare(put(vectors))
    test_vectors = enrol_vectors if test_vectors is None else backend.prepare(put(test_vectors))
    models = None if models is None else put(models)
    enrol, test = put(ENROL), put(TEST)
    scores = backend.sides(enrol_vectors, test_vectors, models).trials(enrol, test)
    arguments = scores, enrol, test, backend, cohort, enrol_vectors, test_vectors, models
    return normalisation(*arguments).cpu().numpy()


CASES = {
    "z": (ZNorm, "z", {}),
    "t": (TNorm, "t", {}),
    "s": (SNorm, "s", {}),
    "adaptive": (AdaptiveSNorm, "s", {"top_k": 7}),
    "adaptive, all": (AdaptiveSNorm, "s", {"top_k": 25}),
    "adaptive, a fraction": (AdaptiveSNorm, "s", {"top_k": 0.28}),
    "adaptive, by default": (AdaptiveSNorm, "s", {"top_k": None}),
}


@pytest.mark.parametrize("name", CASES)
def test_normalised_scores_are_those_of_a_loop(name, device):
    kind, letter, options = CASES[name]
    # The cohort has 25 members: 0.28 of them are 7, half of them are 12.
    top_k = {0.28: 7, None: 12}.get(options["top_k"], options["top_k"]) if options else None
    expected = by_a_loop(letter, top_k)
    for memory in (1 << 28, 3000, 1):  # one block, several, one row at a time
        found = run(kind(**options, memory=memory), Cosine(), device)
        assert found == pytest.approx(expected, abs=1e-9)
    # The same when the two sides are two sets of embeddings.
    found = run(kind(**options), Cosine(), device, test_vectors=VECTORS)
    assert found == pytest.approx(expected, abs=1e-9)


def plda():
    model = PLDA.from_parameters(np.full(6, 0.1), np.diag(np.arange(1.0, 7)), np.eye(6))
    return model


@pytest.mark.parametrize(
    "models", [None, np.repeat(np.arange(20), 2), np.r_[np.arange(20), [3] * 9]]
)
def test_any_back_end_and_models_of_many_sessions(models, device):
    """PLDA cohort scores, checked one by one through the back end itself."""
    vectors = VECTORS if models is None else RNG.normal(size=(len(models), 6))
    backend, found = plda(), run(AdaptiveSNorm(7), plda(), device, vectors, VECTORS, models)
    groups = None if models is None else torch.tensor(models)
    enrol, test = torch.tensor(vectors), torch.tensor(VECTORS)
    rows = torch.arange(20 if models is not None else 30)
    raw = backend.sides(enrol, test, groups).matrix(rows).numpy()
    model_side = backend.sides(enrol, torch.tensor(COHORT), groups).matrix(rows).numpy()
    test_side = backend.sides(torch.tensor(COHORT), test).matrix(torch.arange(25)).numpy().T
    top = [np.sort(side, axis=1)[:, -7:] for side in (model_side, test_side)]
    (mz, sz), (mt, st) = [(t.mean(1), t.std(1, ddof=1)) for t in top]
    s = raw[ENROL, TEST]
    expected = ((s - mz[ENROL]) / sz[ENROL] + (s - mt[TEST]) / st[TEST]) / 2
    assert found == pytest.approx(expected, abs=1e-8)


def test_cohort_scores_are_computed_once_per_utterance_that_occurs(monkeypatch):
    asked, original = [], PreparedSides.matrix

    def counted(self, rows, out=None):
        asked.extend(rows.tolist())
        return original(self, rows, out)

    monkeypatch.setattr(PreparedSides, "matrix", counted)
    run(SNorm(memory=3000), Cosine(), "cpu")
    assert sorted(asked) == sorted({*ENROL.tolist(), *TEST.tolist()})
    asked.clear()
    run(ZNorm(), Cosine(), "cpu")
    assert sorted(asked) == sorted(set(ENROL.tolist()))


@pytest.mark.parametrize("top_k", [None, 40])
def test_blocks_keep_within_the_memory(monkeypatch, top_k):
    sides = PreparedSides(
        *(torch.randn(n, 8) for n in (500, 400)), torch.zeros(500), torch.zeros(400)
    )
    sizes, places, original = [], set(), PreparedSides.matrix

    def measured(self, rows, out=None):
        scores = original(self, rows, out)
        sizes.append(scores.numel() * scores.element_size())
        places.add(scores.data_ptr())
        return scores

    monkeypatch.setattr(PreparedSides, "matrix", measured)
    limit = 100_000
    mean, std = normalise.cohort_statistics(sides, torch.arange(500), top_k, limit)
    assert max(sizes) <= limit
    assert len(sizes) > 5 and len(places) == 1  # one buffer for all
    expected = (
        original(sides, torch.arange(500)).double().sort(1, descending=True).values[:, :top_k]
    )
    assert mean.numpy() == pytest.approx(expected.mean(1).numpy(), abs=1e-6)
    assert std.numpy() == pytest.approx(expected.std(1).numpy(), abs=1e-6)


@pytest.mark.parametrize(
    ("top_k", "cohort", "count"),
    [(None, 2, 2), (None, 48, 24), (None, 599, 299), (None, 600, 300), (None, 6000, 300)]
    + [(0.05, 6000, 300), (0.05, 20, 2), (40, 40, 40), (40.0, 90, 40)],
)
def test_how_many_cohort_scores_count(top_k, cohort, count):
    assert AdaptiveSNorm(top_k).count(cohort) == count


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError):
        run(AdaptiveSNorm(26), Cosine(), "cpu")
    for top_k in (1, 0, -3, 1.0, 2.5, float("nan"), True, "many"):
        with pytest.raises(ValueError, match="top_k"):
            AdaptiveSNorm(top_k)
    vectors, rows = unit_rows(torch.tensor(VECTORS)), torch.zeros(1, dtype=torch.int64)
    for cohort in (vectors[:1], vectors[:1].repeat(4, 1)):  # too small; the same scores throughout
        with pytest.raises(ValueError):
            ZNorm()(torch.zeros(1), rows, rows, Cosine(), cohort, vectors, vectors)


@pytest.mark.parametrize("threads", [1, 3])
def test_statistics_hold_with_ties_biases_and_fewer_rows_than_threads(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        left, right = (torch.tensor(RNG.integers(-2, 3, (n, 3)).astype(float)) for n in (7, 40))
        biases = torch.linspace(-1, 1, 7).double(), torch.linspace(0, 1, 40).double().round()
        sides = PreparedSides(left, right, *biases)
        for rows in ([0], [6, 2], list(range(7))):
            found = normalise.cohort_statistics(sides, torch.tensor(rows), 9)
            scores = left @ right.T + biases[0][:, None] + biases[1]
            top = scores[rows].sort(1, descending=True).values[:, :9]
            torch.testing.assert_close(found, (top.mean(1), top.std(1)))
    finally:
        torch.set_num_threads(before)


def test_a_deviation_of_equal_scores_is_zero():
    third = torch.full((1, 1), 1 / 3, dtype=torch.float64)  # a sum of these is rounded
    sides = PreparedSides(third, third.expand(50, 1), torch.zeros(1), torch.zeros(50))
    for top_k in (None, 30):
        assert normalise.cohort_statistics(sides, torch.tensor([0]), top_k)[1].item() == 0
