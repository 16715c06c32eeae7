"""A run saved as one folder and read back, whole or by single members."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acorl_sb.data.scorefiles import write_scores
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion import models as fusion
from acorl_sb.fusion.finished_run import load_run
from acorl_sb.inference import Verifier
from acorl_sb.utils.errors import UserError
from tests import folders


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with development scores, which are in another order for the second."""
    folder, _ = folders.finished_run(tmp_path_factory.mktemp("saved") / "run")
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 3 == 0
    scores = rng.normal(size=(2, 60)) + labels
    ids = [f"u{i}" for i in range(60)]
    for k, name in enumerate(("first", "second")):
        order = np.arange(60)[:: 1 - 2 * k]
        trials = TrialList(ids, order, np.roll(order, 1)[::1], labels[order])
        if k:
            trials = TrialList(ids, order, (order - 1) % 60, labels[order])
        write_scores(folder / "scores" / name / "dev.txt", trials, scores[k][order])
    return folder, scores, labels


WAVES = [0.1 * np.random.default_rng(n).standard_normal(16000) for n in range(3)]


def test_a_saved_verifier_decides_as_before(run, tmp_path):
    before = Verifier.from_run(run[0], sample_rate=16000)
    before.save(tmp_path / "saved")
    after = Verifier.load(tmp_path / "saved", sample_rate=16000)
    assert after.ensemble.names == ["first", "second"]
    assert after.score_seconds == before.score_seconds == 0.5
    for wave in WAVES[1:]:
        assert after.compare(WAVES[0], wave) == before.compare(WAVES[0], wave)
    assert not list(tmp_path.glob(".*"))
    after.save(tmp_path / "again")  # what was saved can be saved
    files = [
        {p.relative_to(f) for p in f.rglob("*")} for f in (tmp_path / "saved", tmp_path / "again")
    ]
    assert files[0] == files[1]


def test_nothing_that_is_there_is_written_over(run, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError):
        Verifier.from_run(run[0]).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("members", [["second"], ["first", "second"]])
def test_members_alone_have_a_fusion_of_their_own(run, tmp_path, members):
    folder, scores, labels = run
    rows = [("first", "second").index(name) for name in members]
    expected = fusion.LogisticFusion(prior=0.05).fit(scores[rows], labels)
    loaded = load_run(folder, members=members)
    assert loaded.ensemble.names == members
    np.testing.assert_allclose(loaded.model.weights, expected.weights, rtol=1e-6)
    assert loaded.model.bias == pytest.approx(expected.bias, rel=1e-6, abs=1e-9)
    verifier = Verifier.from_run(folder, members=members, sample_rate=16000)
    whole = Verifier.from_run(folder, sample_rate=16000).embed(WAVES[0])
    for k, z in zip(rows, verifier.embed(WAVES[0]), strict=True):
        assert torch.equal(z, whole[k])
    verifier.save(tmp_path / "saved")
    assert Verifier.load(tmp_path / "saved").ensemble.names == members


def test_an_llr_has_the_standard_deviation_of_the_members_own(run, tmp_path):
    folder, scores, labels = run
    verifier = Verifier.from_run(folder, uncertainty=True, sample_rate=16000)
    made = verifier.compare(WAVES[0], WAVES[1])
    own = []
    for name, row in zip(("first", "second"), scores, strict=True):
        fitted = fusion.LogisticFusion(prior=0.05).fit(row[None], labels)
        own.append(fitted.weights[0] * made.cosines[name] + fitted.bias)
    assert made.std == pytest.approx(abs(own[0] - own[1]) / np.sqrt(2), rel=1e-5)
    verifier.enrol("ann", [WAVES[0]])
    many = verifier.verify_many([("ann", WAVES[1])])
    for decision in (verifier.verify("ann", WAVES[1]), *many):
        assert decision.std == pytest.approx(made.std, rel=1e-4)
    verifier.save(tmp_path / "saved")
    after = Verifier.load(tmp_path / "saved", uncertainty=True, sample_rate=16000)
    assert after.compare(WAVES[0], WAVES[1]).std == pytest.approx(made.std, rel=1e-6)
    assert Verifier.load(tmp_path / "saved", sample_rate=16000).compare(*WAVES[:2]).std is None
    with pytest.raises(UserError):
        Verifier.from_run(folder, members=["second"], uncertainty=True)
    path = tmp_path / "saved" / "fusion" / "disagreement.json"
    path.write_text('{"calibrations": []}')
    with pytest.raises(UserError, match=r"disagreement\.json"):
        Verifier.load(tmp_path / "saved", uncertainty=True)
    path.unlink()  # and no development scores are there
    with pytest.raises(UserError, match="saved"):
        Verifier.load(tmp_path / "saved", uncertainty=True)


def test_members_that_are_not_there_are_named(run):
    with pytest.raises(UserError, match="third"):
        Verifier.from_run(run[0], members=["first", "third"])
