"""Trials joined to utterances, and fusions of members against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from acorl_sb import metrics
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trial_set import TrialSet, read_trial_set
from acorl_sb.data.trials import TrialList, read_trials
from acorl_sb.fusion.ensemble_scoring import add_intervals, fuse_all
from acorl_sb.metrics.bootstrap import draws
from acorl_sb.scoring.backends.cosine import cosine_eer, cosine_trial_scores
from acorl_sb.utils.errors import UserError

UTTERANCES = [Utterance(f"{s}{i}", 1.0, "x.wav", 0, 16000, s) for s in "abc" for i in range(4)]


@pytest.fixture()
def side(tmp_path) -> TrialSet:
    path = tmp_path / "trials.txt"
    rows = [(u, v) for i, u in enumerate(UTTERANCES) for v in UTTERANCES[:i]]
    path.write_text("".join(f"{int(u.spk_id == v.spk_id)} {v.id} {u.id}\n" for u, v in rows))
    assert len(read_trials(path).labels) == len(rows)
    return read_trial_set(UTTERANCES, path)


def vectors(seed, noise):
    """Embeddings around one centre per speaker."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((3, 6)).repeat(4, 0)
    return (centres + noise * generator.standard_normal((12, 6))).astype(np.float32)


def test_scores_are_cosines_of_the_trials_own_rows(side):
    z = vectors(0, 0.5)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    wanted = [
        unit[int("abc".index(side.trials.ids[e][0])) * 4 + int(side.trials.ids[e][1])]
        @ unit[int("abc".index(side.trials.ids[t][0])) * 4 + int(side.trials.ids[t][1])]
        for e, t in zip(side.trials.enrol, side.trials.test, strict=True)
    ]
    np.testing.assert_allclose(cosine_trial_scores(side, z), wanted, atol=1e-6)
    assert cosine_eer(side, vectors(0, 0.0)) == 0.0


def test_fusions_are_what_their_names_say(side, tmp_path):
    z = {part: [vectors(s, 1.0), vectors(s + 10, 1.0)] for part, s in (("dev", 1), ("test", 2))}
    scores = {part: [cosine_trial_scores(side, v) for v in z[part]] for part in z}
    fused = fuse_all(z, scores, {"dev": side, "test": side}, tmp_path)
    assert set(fused) == {"embedding-concatenation", "score-mean", "score-logistic"}
    a, b = scores["test"]
    np.testing.assert_allclose(fused["embedding-concatenation"]["test"], (a + b) / 2, atol=1e-6)
    mean = sum(
        (test - dev.mean()) / dev.std()
        for dev, test in zip(scores["dev"], scores["test"], strict=True)
    )
    np.testing.assert_allclose(fused["score-mean"]["test"], mean / 2, atol=1e-5)
    design = np.stack([*scores["dev"], np.ones(len(a))], 1)
    weights, *_ = np.linalg.lstsq(design, fused["score-logistic"]["dev"], rcond=None)
    np.testing.assert_allclose(design @ weights, fused["score-logistic"]["dev"], atol=1e-4)
    applied = np.stack([a, b, np.ones(len(a))], 1) @ weights
    np.testing.assert_allclose(fused["score-logistic"]["test"], applied, atol=1e-4)
    assert (weights[:2] > 0).all() and (tmp_path / "fusion" / "score-logistic.json").is_file()


def test_a_single_member_has_no_fusion(side, tmp_path):
    z = {"dev": [vectors(0, 1.0)], "test": [vectors(1, 1.0)]}
    scores = {part: [cosine_trial_scores(side, v[0])] for part, v in z.items()}
    assert fuse_all(z, scores, {"dev": side, "test": side}, tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("1 a0 a1\n0 a0 nobody\n", "nobody"),
        ("1 a0 a1\n1 a0 a2\n", ""),
        ("0 a0 b1\n", ""),
        ("1 a0 a1\n1 a0 b1\n0 a1 b0\n", "a0.*b1"),
    ],
)
def test_trials_that_do_not_fit(tmp_path, text, where):
    path = tmp_path / "mine.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"mine\.txt.*{where}"):
        read_trial_set(UTTERANCES, path)


def test_intervals_are_of_speakers_drawn_on_both_sides_and_paired():
    """Against metrics of lists in which every trial stands as often as its speakers are drawn."""
    speakers = [f"s{k}" for k in range(7)]
    utterances = [Utterance(f"{s}-{i}", 1.0, "x.wav", 0, 16000, s) for s in speakers for i in "ab"]
    speaker = np.arange(14) // 2
    enrol, test = np.triu_indices(14, 1)
    labels = speaker[enrol] == speaker[test]
    names = [u.id for u in utterances]
    side = TrialSet.of(utterances, TrialList(names, enrol, test, labels))
    assert side.counts() == {"target": 7, "nontarget": 84, "speakers": 7}

    generator = np.random.default_rng(0)
    scores = {name: labels + generator.normal(size=len(labels)) for name in ("one", "two", "sum")}
    rows = []
    for name, dev_error in (("one", 0.2), ("two", 0.1), ("sum", 0.05)):
        least = {f"{p:g}": metrics.min_dcf(scores[name], labels, p) for p in (0.01, 0.05)}
        figures = {"eer": metrics.eer(scores[name], labels), "min_dcf": least}
        kind = "fusion" if name == "sum" else "member"
        rows.append({"name": name, "kind": kind, "dev": {"eer": dev_error}, "test": figures})
    made = add_intervals(rows, scores, side)
    assert made["best_member"] == "two" and rows[1]["against_best"] is None

    drawn = {name: [] for name in scores}
    for counts in draws(7, made["intervals"]["replicates"], 0):
        times = counts[speaker[enrol]] * counts[speaker[test]]
        times = np.where(labels, counts[speaker[enrol]], times)
        for name, values in scores.items():
            drawn[name].append(metrics.eer(np.repeat(values, times), np.repeat(labels, times)))
    for row in rows:
        values = np.array(drawn[row["name"]])
        ends = np.quantile(values, (0.025, 0.975))
        assert row["intervals"]["eer"] == pytest.approx(ends)
        if row is not rows[1]:
            change = row["against_best"]["eer"]
            assert change["change"] == pytest.approx(row["test"]["eer"] - rows[1]["test"]["eer"])
            ends = np.quantile(values - drawn["two"], (0.025, 0.975))
            assert change["interval"] == pytest.approx(ends)
