"""Cosine scores against the formula, on any device, in any block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acorl_sb.scoring.backends.cosine import cosine_scores

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(40, 17)) + 0.7
ENROL, TEST = RNG.integers(0, 40, (2, 300))
MEAN = VECTORS.mean(0)


def by_the_formula(vectors, mean):
    centred = vectors - mean
    return np.array(
        [
            centred[e] @ centred[t] / np.linalg.norm(centred[e]) / np.linalg.norm(centred[t])
            for e, t in zip(ENROL, TEST, strict=True)
        ]
    )


@pytest.mark.parametrize("mean", [None, MEAN])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_scores_are_cosines(mean, dtype, close, device):
    vectors = torch.tensor(VECTORS, dtype=dtype, device=device)
    expected = by_the_formula(VECTORS, 0 if mean is None else mean)
    found = cosine_scores(vectors, ENROL, torch.tensor(TEST), mean)
    assert found.dtype == dtype and found.device.type == device.type
    assert found.cpu().numpy() == pytest.approx(expected, abs=close)
    numpy = cosine_scores(VECTORS, ENROL, TEST, mean, device=device)
    assert isinstance(numpy, np.ndarray) and numpy.dtype == np.float64
    assert numpy == pytest.approx(expected, abs=1e-14)


def test_a_score_depends_on_neither_block_nor_neighbours(device):
    vectors = torch.tensor(VECTORS, dtype=torch.float32, device=device)
    whole = cosine_scores(vectors, ENROL, TEST)
    for block in (1, 7, 300):
        assert torch.equal(cosine_scores(vectors, ENROL, TEST, block=block), whole)
    alone = torch.cat([cosine_scores(vectors, ENROL[k : k + 1], TEST[k : k + 1]) for k in range(9)])
    assert torch.equal(alone, whole[:9])
    assert torch.equal(cosine_scores(vectors, TEST, ENROL), whole)  # symmetric
    assert len(cosine_scores(vectors, ENROL[:0], TEST[:0])) == 0


def test_input_is_left_alone_and_scale_does_not_matter():
    vectors = VECTORS.copy()
    found = cosine_scores(vectors, ENROL, TEST)
    assert (vectors == VECTORS).all()
    scaled = cosine_scores(VECTORS * RNG.uniform(1e-6, 1e6, (40, 1)), ENROL, TEST)
    assert scaled == pytest.approx(found, abs=1e-12)
    for scale in (1e-30, 1e20):  # whose squares are no float32
        far = (VECTORS * scale).astype(np.float32)
        assert cosine_scores(far, ENROL, TEST) == pytest.approx(found, abs=1e-6)
    assert cosine_scores(VECTORS, [3], [3]) == pytest.approx(1.0)
    assert cosine_scores(np.zeros((2, 3)), [0], [1]) == 0.0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError):
        cosine_scores(VECTORS, [40], [0])
    with pytest.raises(ValueError):
        cosine_scores(VECTORS, [0], [-1])
    with pytest.raises(ValueError):
        cosine_scores(VECTORS, [0, 1], [0])
    with pytest.raises(ValueError):
        cosine_scores(VECTORS, [0], [1], mean=np.zeros(3))
    with pytest.raises(ValueError):
        cosine_scores(VECTORS[0], [0], [1])
