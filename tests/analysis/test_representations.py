"""CKA and canonical correlations on pairs whose answer is known."""

import numpy as np
import pytest
import torch

from acorl_sb.analysis.folds import speaker_folds
from acorl_sb.analysis.representations import canonical_correlations, linear_cka, within_speaker
from acorl_sb.metrics.bootstrap import draws
from tests.analysis.pairs import SPEAKERS, noise, pair


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("identical", 1.0), ("rotated", 1.0), ("independent", 0.0), ("half-shared", 0.5)],
)
def test_known_pairs(kind, expected, device):
    """Half of 16 equally strong dimensions shared: both measures are a half by their definition."""
    x, y = pair(kind, device)
    tolerance = 1e-9 if kind in ("identical", "rotated") else 0.03
    assert linear_cka(x, y) == pytest.approx(expected, abs=tolerance)
    canonical = canonical_correlations(x, y, SPEAKERS)
    assert canonical.mean == pytest.approx(expected, abs=0.03)
    assert len(canonical.spectrum) == 16


def test_spectrum_tells_shared_from_private_dimensions():
    spectrum = canonical_correlations(*pair("half-shared"), SPEAKERS).spectrum
    assert (spectrum[:8] > 0.97).all()
    assert (abs(spectrum[8:]) < 0.15).all()


def test_held_out_correlations_of_few_independent_rows_stay_near_zero():
    """Where fitting and measuring on the same 120 rows finds 0.5 between two coins."""
    x, y, speakers = noise(32, 1)[:120], noise(32, 2)[:120], SPEAKERS[:120]
    u, v = (torch.linalg.qr(z - z.mean(0))[0] for z in (x, y))
    in_sample = torch.linalg.svdvals(u.T @ v).mean()
    assert in_sample > 0.4
    assert abs(canonical_correlations(x, y, speakers).mean) < 0.1


def test_canonical_correlations_equal_a_plain_computation():
    """Two folds without shrinkage, against whitening by eigenvalues with numpy."""
    x, y = pair("half-shared")
    y = y + 0.5 * noise(16, 9)
    fold = speaker_folds(SPEAKERS, 2)
    per_fold = []
    for k in (0, 1):
        a, b = x.numpy()[fold != k], y.numpy()[fold != k]
        white = []
        for z in (a, b):
            values, vectors = np.linalg.eigh(np.cov(z.T))
            white.append(vectors / np.sqrt(values))
        u, _, vt = np.linalg.svd(white[0].T @ np.cov(a.T, b.T)[:16, 16:] @ white[1])
        left, right = white[0] @ u, white[1] @ vt.T
        held = (x.numpy()[fold == k] @ left, y.numpy()[fold == k] @ right)
        per_fold.append(
            [np.corrcoef(p, q)[0, 1] for p, q in zip(held[0].T, held[1].T, strict=True)]
        )
    weights = [np.sum(fold == k) for k in (0, 1)]
    expected = np.average(per_fold, axis=0, weights=weights)
    spectrum = canonical_correlations(x, y, SPEAKERS, folds=2, shrinkage=0.0).spectrum
    np.testing.assert_allclose(spectrum, expected, atol=1e-8)


def test_different_sizes_and_constant_input():
    assert len(canonical_correlations(noise(16, 1), noise(5, 2), SPEAKERS).spectrum) == 5
    with pytest.raises(ValueError):
        canonical_correlations(torch.ones(1200, 3), noise(3, 1), SPEAKERS)


def test_within_speaker_forgets_the_speaker_and_nothing_else():
    x = noise(8, 1)
    shift = noise(8, 2)[:60].repeat_interleave(20, 0)
    rows, owners = within_speaker(x, SPEAKERS)
    moved, _ = within_speaker(x + 10 * shift, SPEAKERS)
    assert rows.shape == (60 * 19, 8) and len(set(owners)) == 60
    torch.testing.assert_close(rows, moved)
    # Sums of squares within speakers are kept.
    means = x.view(60, 20, 8).mean(1).repeat_interleave(20, 0)
    torch.testing.assert_close(rows.T @ rows, (x - means).T @ (x - means))


def test_within_speaker_of_two_independent_members_with_few_utterances():
    """Deviations from the mean would find a similarity that is not there; contrasts do not."""
    speakers = np.repeat(np.arange(600), 2)
    x, y = noise(16, 1), noise(16, 2)
    deviations = [z - z.view(600, 2, 16).mean(1).repeat_interleave(2, 0) for z in (x, y)]
    contrasts = [within_speaker(z, speakers)[0] for z in (x, y)]
    assert abs(linear_cka(*contrasts)) < 0.5 * linear_cka(*deviations)


def test_members_that_share_only_the_speaker():
    speaker = noise(16, 1)[:60].repeat_interleave(20, 0)
    x, y = speaker + noise(16, 2), speaker + noise(16, 3)
    assert linear_cka(x, y) > 0.2
    (a, _), (b, _) = within_speaker(x, SPEAKERS), within_speaker(y, SPEAKERS)
    assert abs(linear_cka(a, b)) < 0.03


def test_within_speaker_needs_a_speaker_with_two_utterances():
    with pytest.raises(ValueError):
        within_speaker(noise(3, 1)[:5], list("abcde"))


def test_folds_keep_speakers_whole_and_balanced():
    speakers = np.random.default_rng(0).integers(0, 23, 500)
    fold = speaker_folds(speakers, 5)
    assert set(fold) == set(range(5))
    assert all(len(set(fold[speakers == s])) == 1 for s in speakers)
    assert np.ptp(np.bincount(fold)) <= np.bincount(speakers).max()
    np.testing.assert_array_equal(fold, speaker_folds(speakers, 5))
    assert (fold != speaker_folds(speakers, 5, seed=1)).any()
    assert set(speaker_folds(["a", "b", "b"], 5)) == {0, 1}
    with pytest.raises(ValueError):
        speaker_folds(["a", "a"], 5)


def test_resampled_speakers_give_the_error_of_a_mean():
    values = np.random.default_rng(0).normal(size=400)
    weights = draws(400, replicates=4000)
    assert (weights.sum(1) == 400).all()
    means = weights @ values / 400
    assert means.std() == pytest.approx(values.std() / 20, rel=0.05)
