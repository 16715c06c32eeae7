"""Probes on pairs whose answer is known."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from acorl_sb.analysis import attribute_probes, probes
from acorl_sb.analysis.folds import speaker_folds
from tests.analysis.pairs import SPEAKERS, noise, pair


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("identical", 1.0), ("rotated", 1.0), ("independent", 0.0), ("half-shared", 0.5)],
)
@pytest.mark.parametrize("probe", [probes.linear_r2, partial(probes.mlp_r2, steps=200)])
def test_known_pairs(kind, expected, probe, device):
    for x, y in (pair(kind, device), pair(kind, device)[::-1]):
        reading = probe(x, y, SPEAKERS)
        assert reading.value == pytest.approx(expected, abs=0.04)
        assert reading.low <= reading.value <= reading.high


def test_only_the_mlp_reads_what_is_not_linear():
    """y = |x|: uncorrelated with x, yet a function of it."""
    x = noise(8, 1)
    assert abs(probes.linear_r2(x, x.abs(), SPEAKERS).value) < 0.03
    assert probes.mlp_r2(x, x.abs(), SPEAKERS).value > 0.8


def test_reading_is_directed():
    """Four of 16 dimensions can be read out of the 16, but not the 16 out of the four."""
    x = noise(16, 1)
    assert probes.linear_r2(x, x[:, :4], SPEAKERS).value > 0.99
    assert probes.linear_r2(x[:, :4], x, SPEAKERS).value == pytest.approx(0.25, abs=0.02)


def test_memorised_speakers_do_not_count():
    """x and y hold one unrelated code per speaker: perfect within, nothing across speakers."""
    x = noise(32, 1)[:60].repeat_interleave(20, 0)
    y = noise(32, 2)[:60].repeat_interleave(20, 0)
    by_row = probes.ridge(x, y, range(1200))  # as if each row were a speaker's only one
    assert float((by_row(x) - y).square().mean()) < 0.6  # half of the variance, by heart
    by_speaker = probes.ridge(x, y, SPEAKERS)
    assert float((by_speaker(x) - y).square().mean()) > 0.9
    assert probes.linear_r2(x, y, SPEAKERS).value < 0.1
    assert probes.mlp_r2(x, y, SPEAKERS).value < 0.1


def test_noise_bounds_what_can_be_read():
    """y = x + noise of the same size: R^2 is a half by definition, and the interval holds it."""
    x = noise(4, 1)
    reading = probes.linear_r2(x, x + noise(4, 2), SPEAKERS)
    assert reading.low < 0.5 < reading.high
    assert reading.high - reading.low < 0.15


def level_of(x):
    return ((x - x.mean(0)) ** 2).sum() / x.shape[1]


@pytest.mark.parametrize("columns", [16, 100])  # fewer than the rows, and more
def test_ridge_equals_scikit_learn_and_its_error_on_folds_of_speakers(columns):
    owners = SPEAKERS[::5][:60]  # 15 speakers
    x = (noise(columns, 1)[:60] * torch.linspace(0.1, 2, columns)).numpy()
    y = noise(3, 2)[:60].numpy() + x[:, -3:]
    fitted = probes.ridge(torch.from_numpy(x), torch.from_numpy(y), owners, seed=4)
    fold, errors = speaker_folds(owners, 5, seed=4), []
    for penalty in probes.PENALTIES:
        error = 0.0
        for k in range(5):
            model = Ridge(alpha=penalty * level_of(x[fold != k])).fit(x[fold != k], y[fold != k])
            error += ((model.predict(x[fold == k]) - y[fold == k]) ** 2).sum()
        errors.append(error)
    best = probes.PENALTIES[int(np.argmin(errors))]
    assert fitted.penalty == best and probes.PENALTIES[0] < best < probes.PENALTIES[-1]
    model = Ridge(alpha=best * level_of(x)).fit(x, y)
    np.testing.assert_allclose(fitted.weight.numpy(), model.coef_.T, atol=1e-8)
    np.testing.assert_allclose(fitted.bias.numpy(), model.intercept_, atol=1e-8)


@pytest.mark.parametrize("seed", [10, 20, 30])
def test_the_penalty_of_what_the_speaker_determines_is_that_for_other_speakers(seed):
    """60 speakers, each at a place of its own in 60 dimensions; a number, one a speaker, that rests
    partly on one dimension. A penalty by rows left out is one for knowing speakers by heart: on new
    ones the probe errs by half as much again as it need."""
    size = torch.linspace(0.2, 2, 60) ** 2
    centre = size * noise(60, seed)
    x = centre[:60].repeat_interleave(20, 0) + size * noise(60, seed + 1) / 2
    number = (centre[:60, -1:] + 3 * noise(1, seed + 2)[:60]).repeat_interleave(20, 0)
    goal = (centre[:, -1:] + 3 * noise(1, seed + 2))[60:, 0].numpy()  # of 1140 new speakers
    new = (centre + size * noise(60, seed + 3) / 2)[60:]
    error = {}
    for penalty in probes.PENALTIES:
        model = Ridge(alpha=penalty * float(level_of(x))).fit(x.numpy(), number[:, 0].numpy())
        error[penalty] = float(((model.predict(new.numpy()) - goal) ** 2).mean())
    fitted = probes.ridge(x, number, SPEAKERS)
    assert error[fitted.penalty] < 1.1 * min(error.values())
    assert probes.linear_r2(x, number, SPEAKERS).value > 0.3


def test_a_probe_of_a_single_training_speaker():
    """Two speakers, of one row and of many: each is the other's whole training set."""
    x = noise(4, 1)[:30]
    reading = probes.linear_r2(x, x[:, :1], ["a"] + ["b"] * 29)
    assert np.isfinite(reading.value)


def test_more_dimensions_than_rows():
    x = noise(100, 1)[:60]
    reading = probes.linear_r2(x, x[:, :2] * 3, SPEAKERS[::20][:60])
    assert np.isfinite(reading.value)


def test_a_constant_target_is_refused():
    with pytest.raises(ValueError):
        probes.linear_r2(noise(3, 1), torch.ones(1200, 2), SPEAKERS)


def test_class_probe(device):
    """A dimension that holds the class plus noise: AUC of two Gaussians d' apart is known."""
    male = np.arange(1200) // 20 % 2 == 0  # by speaker
    x = noise(8, 1, device)
    assert attribute_probes.class_probe(x, male, SPEAKERS).value == pytest.approx(0.5, abs=0.06)
    x[:, 3] += 2 * torch.from_numpy(male).double().to(device)
    reading = attribute_probes.class_probe(x, male, SPEAKERS)
    assert reading.value == pytest.approx(0.921, abs=0.02)  # Phi(2 / sqrt 2)
    assert reading.low < reading.value < reading.high
    with pytest.raises(ValueError):
        attribute_probes.class_probe(x, np.ones(1200, bool), SPEAKERS)


def test_auc_equals_scikit_learn_with_ties_and_weights():
    rng = np.random.default_rng(0)
    outputs, positive = rng.integers(0, 9, 300).astype(float), rng.random(300) < 0.4
    weight = rng.integers(0, 4, 300).astype(float)
    won, pairs = attribute_probes._pairs_won(outputs, positive, weight)
    expected = roc_auc_score(positive, outputs, sample_weight=weight)
    assert won / pairs == pytest.approx(expected, abs=1e-12)


def test_value_probe_reads_a_hidden_number():
    x = noise(8, 1)
    age = 30 + 10 * x[:, 2].numpy()
    assert attribute_probes.value_probe(x, age, SPEAKERS).value > 0.99
    assert abs(attribute_probes.value_probe(x[:, 3:], age, SPEAKERS).value) < 0.05


def test_session_probe():
    """Sessions 'a' and 'b' of each speaker differ by a shift of the speaker's own, or not."""
    sessions = np.tile(np.repeat(["a", "b"], 10), 60)
    plain = noise(8, 1)
    found = attribute_probes.session_probe(plain, sessions, SPEAKERS)
    assert found.reading.value == pytest.approx(0.5, abs=0.05)
    shift = torch.zeros(1200, 8, dtype=torch.float64)
    sign = torch.randint(0, 2, (60,), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    shift[:, 0] = sign.repeat_interleave(20) * torch.from_numpy((sessions == "a") * 4.0)
    assert attribute_probes.session_probe(plain + shift, sessions, SPEAKERS).reading.value > 0.8
    assert attribute_probes.session_probe(plain, np.full(1200, "a"), SPEAKERS) is None
    assert attribute_probes.session_probe(plain, np.full(1200, ""), SPEAKERS) is None


@pytest.mark.parametrize(("speakers", "read"), [(4, False), (5, True)])
def test_a_session_probe_says_whom_it_has_seen(speakers, read):
    """Only the first speakers have two sessions; of the others one says nothing of the probe."""
    sessions = np.full(1200, "a", dtype=object)
    sessions[: speakers * 20 : 2] = "b"
    sessions[1] = ""  # not known
    found = attribute_probes.session_probe(noise(8, 1), sessions.astype(str), SPEAKERS)
    assert (found is not None) == read
    if read:
        assert set(found.rows) == set(range(speakers * 20)) - {1}
