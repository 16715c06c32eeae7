"""PLDA against joint Gaussians, a hand computation, SpeechBrain, and what EM must do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import multivariate_normal

from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.scoring.backends.plda_training import diagonalise, lda, log_likelihood
from acorl_sb.utils.errors import UserError

D = 5


def model(rng, d=D, rank=None):
    """Random mean, B and W of d dimensions."""
    basis, noise = rng.normal(size=(d, rank or d)), rng.normal(size=(d, 2 * d))
    return rng.normal(size=d), basis @ basis.T, noise @ noise.T / d


def draw(rng, mean, between, within, sizes):
    """Embeddings (M, d) of speakers (M,) with the given numbers of sessions."""
    y = rng.multivariate_normal(mean, between, len(sizes))
    speakers = np.repeat(np.arange(len(sizes)), sizes)
    return y[speakers] + rng.multivariate_normal(
        np.zeros(len(mean)), within, len(speakers)
    ), speakers


def put(*arrays):
    return [torch.tensor(np.asarray(array)) for array in arrays]


def joint_log_density(vectors, mean, between, within):
    """log p of a speaker's sessions (n, d): one Gaussian over all of them, nothing clever."""
    n = len(vectors)
    covariance = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
    return multivariate_normal(np.tile(mean, n), covariance).logpdf(vectors.ravel())


def llr(sessions, test, parameters):
    together = joint_log_density(np.vstack([sessions, test]), *parameters)
    apart = joint_log_density(sessions, *parameters) + joint_log_density(test[None], *parameters)
    return together - apart


@pytest.mark.parametrize("rank", [D, 2])
def test_scores_are_ratios_of_joint_gaussians(rank, device):
    rng = np.random.default_rng(0)
    parameters = model(rng, rank=rank)
    plda = PLDA.from_parameters(*parameters)
    enrol, test = rng.normal(size=(2, 6, D)) * 2
    on_device = torch.tensor(enrol, device=device), torch.tensor(test, device=device)
    scores = plda.sides(*on_device).matrix(torch.arange(6, device=device))
    expected = [[llr(e[None], t, parameters) for t in test] for e in enrol]
    assert scores.device.type == device.type
    assert scores.cpu().numpy() == pytest.approx(np.array(expected), abs=1e-9)


def test_a_model_of_many_sessions_is_scored_by_the_book(device):
    rng = np.random.default_rng(1)
    parameters = model(rng)
    plda = PLDA.from_parameters(*parameters)
    enrol, test = rng.normal(size=(6, D)), rng.normal(size=(4, D))
    on_device = torch.tensor(enrol, device=device), torch.tensor(test, device=device)
    for models in ([0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 2, 2], [0] * 6):  # unequal, equal, one
        numbers = torch.tensor(models, device=device)
        sides = plda.sides(*on_device, numbers)
        rows = torch.arange(max(models) + 1, device=device)
        scores = sides.matrix(rows).cpu().numpy()
        expected = [
            [llr(enrol[np.array(models) == m], t, parameters) for t in test]
            for m in range(max(models) + 1)
        ]
        assert scores == pytest.approx(np.array(expected), abs=1e-9)
        m, t = (
            grid.flatten() for grid in torch.meshgrid(rows, torch.arange(4).to(rows), indexing="ij")
        )
        assert sides.trials(m, t, block=3).cpu().numpy() == pytest.approx(scores.ravel(), abs=1e-9)


def test_averaged_enrolment_is_scored_as_one_session():
    rng = np.random.default_rng(2)
    parameters = model(rng)
    enrol, test = rng.normal(size=(5, D)), rng.normal(size=(4, D))
    models = torch.tensor([0, 0, 0, 1, 1])
    averaged = PLDA.from_parameters(*parameters, enrolment="average").sides(
        *put(enrol, test), models
    )
    means = np.stack([enrol[:3].mean(0), enrol[3:].mean(0)])
    single = PLDA.from_parameters(*parameters).sides(*put(means, test))
    rows = torch.arange(2)
    assert averaged.matrix(rows).numpy() == pytest.approx(single.matrix(rows).numpy(), abs=1e-12)
    by_the_book = PLDA.from_parameters(*parameters).sides(*put(enrol, test), models).matrix(rows)
    assert not torch.allclose(by_the_book, averaged.matrix(rows))


def test_two_dimensions_by_hand():
    """mean 0, W = 1, B = diag(3, 1): each dimension on its own.

    First dimension (psi = 3), e = 2, t = 1: after one session y ~ N(3/4 * 2, 3/4), so t ~ N(1.5,
    1.75) against N(0, 4): 0.5 [ln(4 / 1.75) - 0.25 / 1.75 + 1 / 4] = 0.466910.
    Second (psi = 1), e = -1, t = 1: y ~ N(-0.5, 0.5), t ~ N(-0.5, 1.5) against N(0, 2):
    0.5 [ln(2 / 1.5) - 2.25 / 1.5 + 1 / 2] = -0.356159.
    """
    plda = PLDA.from_parameters([0, 0], [[3, 0], [0, 1]], [[1, 0], [0, 1]])
    sides = plda.sides(*put([[2.0, -1.0]], [[1.0, 1.0]]))
    first = 0.5 * (np.log(16 / 7) - 1 / 7 + 1 / 4)
    second = 0.5 * (np.log(4 / 3) - 3 / 2 + 1 / 2)
    assert (first, second) == pytest.approx((0.466910, -0.356159), abs=1e-6)
    assert float(sides.matrix(torch.tensor([0]))) == pytest.approx(first + second, abs=1e-12)


def test_em_climbs_and_its_likelihood_is_the_joint_gaussians(device):
    rng = np.random.default_rng(3)
    vectors, speakers = draw(rng, *model(rng), rng.integers(1, 9, 40))
    plda = PLDA(whiten=False, length_norm=False, iterations=25, tolerance=0)
    order = rng.permutation(len(vectors))  # speakers need not stand together
    plda.fit(torch.tensor(vectors[order], device=device), torch.tensor(speakers[order] * 7 + 3))
    history = np.array(plda.log_likelihoods)
    assert len(history) == 26
    assert (np.diff(history) >= -1e-10).all()
    assert history[-1] > history[0]
    parameters = [t.cpu().numpy() for t in (plda.mean, plda.between, plda.within)]
    centred = vectors - vectors.mean(0)
    total = sum(joint_log_density(centred[speakers == s], *parameters) for s in range(40))
    assert history[-1] == pytest.approx(total / len(vectors), abs=1e-8)
    tensors = torch.tensor(centred), torch.tensor(speakers), *(torch.tensor(p) for p in parameters)
    assert log_likelihood(*tensors) == pytest.approx(history[-1], abs=1e-8)


def test_em_stops_when_nothing_is_gained():
    rng = np.random.default_rng(11)
    vectors, speakers = draw(rng, *model(rng), rng.integers(1, 9, 40))
    history = {}
    for tolerance in (0.0, 1e-3):
        plda = PLDA(iterations=30, tolerance=tolerance)
        plda.fit(vectors, speakers)
        history[tolerance] = plda.log_likelihoods
    stopped, whole = history[1e-3], history[0.0]
    assert len(whole) == 31 and len(stopped) < 31
    assert stopped == whole[: len(stopped)]
    gains = np.diff(stopped)
    assert (gains[:-1] >= 1e-3).all() and gains[-1] < 1e-3


def test_em_finds_the_truth_and_no_neighbour_is_likelier():
    rng = np.random.default_rng(4)
    mean, between, within = model(rng, 3)
    vectors, speakers = draw(rng, mean, between, within, np.full(3000, 4))
    plda = PLDA(whiten=False, length_norm=False, iterations=30, tolerance=0)
    plda.fit(vectors, speakers)
    assert plda.within.numpy() == pytest.approx(within, abs=0.05 * np.trace(within))
    assert plda.between.numpy() == pytest.approx(between, abs=0.08 * np.trace(between))

    few = PLDA(whiten=False, length_norm=False, iterations=600, tolerance=0)
    few.fit(vectors[:120], speakers[:120])
    centred = (vectors[:120] - vectors[:120].mean(0)).reshape(30, 4, 3)

    def likelihood(*parameters):
        return sum(joint_log_density(sessions, *parameters) for sessions in centred)

    best = [t.numpy() for t in (few.mean, few.between, few.within)]
    peak = likelihood(*best)
    for _ in range(8):
        for which in range(3):
            moved = [b.copy() for b in best]
            step = 0.02 * rng.normal(size=moved[which].shape)
            moved[which] += step if which == 0 else step + step.T
            assert np.linalg.eigvalsh(moved[max(which, 1)])[0] > 0
            assert likelihood(*moved) < peak


def test_speechbrains_parameters_give_speechbrains_scores():
    sb = pytest.importorskip("speechbrain.processing.PLDA_LDA")
    rng = np.random.default_rng(5)
    vectors, speakers = draw(rng, *model(rng, 12), np.full(30, 6))

    def stat(x, names, models):
        none = np.full(len(x), None)
        names, models = (np.array(n, dtype=object) for n in (names, models))
        return sb.StatObject_SB(
            modelset=models,
            segset=names,
            start=none,
            stop=none,
            stat0=np.ones((len(x), 1)),
            stat1=x,
        )

    theirs = sb.PLDA(rank_f=7, nb_iter=5)
    names = [f"u{i}" for i in range(len(vectors))]
    theirs.plda(stat(vectors.copy(), names, [f"s{k}" for k in speakers]))
    enrol, test = vectors[:20], vectors[20:50]
    sides = [
        stat(x, ids, ids) for x, ids in ((enrol.copy(), names[:20]), (test.copy(), names[20:50]))
    ]
    ndx = sb.Ndx(models=sides[0].modelset, testsegs=sides[1].segset)
    scores = sb.fast_PLDA_scoring(*sides, ndx, theirs.mean, theirs.F, theirs.Sigma)
    rows = [names.index(name) for name in scores.modelset]
    columns = [names[20:50].index(name) for name in scores.segset]
    ours = PLDA.from_speechbrain(theirs.mean, theirs.F, theirs.Sigma).sides(*put(enrol, test))
    found = ours.matrix(torch.tensor(rows))[:, columns].numpy()
    assert found == pytest.approx(scores.scoremat, abs=1e-6)


def test_parameters_are_saved_and_loaded(tmp_path):
    rng = np.random.default_rng(6)
    vectors, speakers = draw(rng, *model(rng, 8), np.full(30, 5))
    plda = PLDA(lda_dim=4, iterations=3, enrolment="average")
    assert plda.needs_training
    plda.fit(vectors.astype(np.float32), speakers)
    plda.save(tmp_path / "plda.safetensors")
    loaded = PLDA.load(tmp_path / "plda.safetensors")
    assert not loaded.needs_training
    assert loaded.enrolment == "average" and loaded.length_norm
    models, rows = torch.tensor([0, 0, 1]), torch.arange(2)
    expected, found = (
        each.sides(each.prepare(vectors[:3]), each.prepare(vectors[3:9]), models).matrix(rows)
        for each in (plda, loaded)
    )
    assert torch.equal(found, expected)
    assert PLDA.load(tmp_path / "plda.safetensors", "book").enrolment == "book"

    F = rng.normal(size=(8, 3))
    np.savez(tmp_path / "sb.npz", mean=np.zeros(8), F=F, Sigma=np.eye(8))
    theirs = PLDA.load(tmp_path / "sb.npz")
    assert theirs.between.numpy() == pytest.approx(F @ F.T)

    (tmp_path / "junk").write_bytes(b"junk")
    for file in ("junk", "none"):
        with pytest.raises(UserError, match=file):
            PLDA.load(tmp_path / file)
    np.savez(tmp_path / "bad.npz", mean=np.zeros(8))
    with pytest.raises(UserError):
        PLDA.load(tmp_path / "bad.npz")
    good = load_file(tmp_path / "plda.safetensors")
    for name, other in (
        ("within", torch.eye(3)),
        ("centre", torch.zeros(2)),
        ("mean", torch.full((4,), math.nan)),
    ):
        save_file(good | {name: other.double()}, tmp_path / "bad.safetensors")
        with pytest.raises(UserError, match=r"bad\.safetensors.*'(within|transform|mean)'"):
            PLDA.load(tmp_path / "bad.safetensors")
    # A tensor of another name does not become a part of the object.
    save_file(good | {"sides": torch.zeros(1)}, tmp_path / "more.safetensors")
    assert callable(PLDA.load(tmp_path / "more.safetensors").sides)


def test_preparation_whitens_and_scales(device):
    rng = np.random.default_rng(7)
    vectors, speakers = draw(rng, *model(rng, 6), np.full(50, 8))
    on_device = torch.tensor(vectors, device=device)
    plda = PLDA(length_norm=False, iterations=1)
    plda.fit(on_device, speakers)
    prepared = plda.prepare(on_device).cpu().numpy()
    assert prepared.mean(0) == pytest.approx(np.zeros(6), abs=1e-9)
    assert prepared.T @ prepared / len(prepared) == pytest.approx(np.eye(6), abs=1e-9)
    plda = PLDA(lda_dim=3, iterations=1)
    plda.fit(on_device, speakers)
    prepared = plda.prepare(on_device).cpu().numpy()
    assert prepared.shape == (400, 3)
    assert np.linalg.norm(prepared, axis=1) == pytest.approx(np.ones(400))
    # Affine maps of the input are undone by centring and whitening.
    mapped = vectors @ rng.normal(size=(6, 6)) + 9
    other = PLDA(iterations=4)
    other.fit(mapped, speakers)
    plda = PLDA(iterations=4)
    plda.fit(vectors, speakers)
    rows = torch.arange(5)
    expected, found = (
        each.sides(each.prepare(x[:5]), each.prepare(x[9:20])).matrix(rows).numpy()
        for each, x in ((plda, vectors), (other, mapped))
    )
    assert found == pytest.approx(expected, abs=1e-6)


def test_lda_is_scikit_learns_subspace():
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    rng = np.random.default_rng(8)
    vectors, speakers = draw(rng, *model(rng, 7), rng.integers(3, 9, 25))
    vectors = vectors - vectors.mean(0)
    theirs = discriminant.LinearDiscriminantAnalysis(solver="eigen").fit(vectors, speakers)
    ours = lda(torch.tensor(vectors), torch.tensor(speakers), 3).numpy()
    for k in range(3):
        a, b = ours[:, k], theirs.scalings_[:, k]
        assert abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(1.0, abs=1e-4)


def test_diagonal_space():
    _, between, within = model(np.random.default_rng(9), rank=3)
    V, psi = diagonalise(torch.tensor(between), torch.tensor(within))
    assert V.T.numpy() @ within @ V.numpy() == pytest.approx(np.eye(D), abs=1e-10)
    assert V.T.numpy() @ between @ V.numpy() == pytest.approx(np.diag(psi.numpy()), abs=1e-9)
    assert (psi.numpy() > 1e-6).sum() == 3


def test_what_does_not_fit_is_refused():
    rng = np.random.default_rng(10)
    vectors, speakers = draw(rng, *model(rng), np.full(4, 2))
    for call in (
        lambda: PLDA().fit(vectors, speakers),  # two utterances of each: too few for a covariance
        lambda: PLDA().fit(vectors, np.zeros(8, int)),  # one speaker
        lambda: PLDA().fit(vectors, speakers[:5]),
        lambda: PLDA(lda_dim=4).fit(vectors, speakers),  # of 4 speakers
        lambda: PLDA(enrolment="mean"),
        lambda: PLDA().prepare(vectors),  # not fitted
        lambda: PLDA().save("x"),
        lambda: PLDA.from_parameters([0, 0], np.eye(3), np.eye(2)),
        lambda: PLDA.from_parameters([0, 0], np.eye(2), np.zeros((2, 2))).sides(
            *put(vectors[:, :2], vectors[:, :2])
        ),
        lambda: PLDA.from_parameters([0, 0], np.eye(2), np.eye(2)).prepare(vectors),  # of 5
    ):
        with pytest.raises(ValueError):
            call()
