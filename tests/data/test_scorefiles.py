"""Score files of SpeechBrain, WeSpeaker and Kaldi."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acorl_sb.data import scorefiles
from acorl_sb.data.trials import TrialList
from acorl_sb.utils.errors import UserError

# Lines as the three toolkits' own scripts print them.
FILES = {
    "speechbrain": "id1/a id2/b 1 0.712345\nid1/a id3/c 0 -0.031000\n",
    "wespeaker": "id1/a id2/b 0.71235 target\nid1/a id3/c -0.03100 nontarget\n",
    "wespeaker normalised": (
        "id1/a id2/b 0.71235 target 9.1234 8.4321 0.1000 0.1200\n"
        "id1/a id3/c -0.03100 nontarget 9.1234 7.0000 0.1000 0.0900\n"
    ),
    "kaldi": "id1/a id2/b 0.712345\nid1/a id3/c -3.1e-02\n",
}


@pytest.mark.parametrize("name", FILES)
def test_forms_are_told_apart(tmp_path, name):
    path = tmp_path / "scores.txt"
    path.write_text(FILES[name])
    found = scorefiles.read_scores(path)
    trials = found.trials
    assert [trials.name(k) for k in range(2)] == ["id1/a id2/b", "id1/a id3/c"]
    assert found.scores == pytest.approx([0.71235, -0.031], abs=1e-5)
    assert found.scores.dtype == np.float64
    if name == "kaldi":
        assert trials.labels is None
    else:
        assert trials.labels.tolist() == [True, False]


@pytest.mark.parametrize("form", scorefiles.FORMS)
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path, form):
    rng = np.random.default_rng(0)
    ids = [f"u{k}" for k in range(30)]
    pairs = rng.permutation(900)[:300]
    trials = TrialList(ids, pairs // 30, pairs % 30, rng.random(300) < 0.5)
    scores = rng.normal(size=300) * 10.0 ** rng.integers(-300, 300, 300)
    scorefiles.write_scores(tmp_path / "s.txt", trials, scores, form)
    found = scorefiles.read_scores(tmp_path / "s.txt")
    assert (found.scores == scores).all()
    assert [found.trials.name(k) for k in range(300)] == [trials.name(k) for k in range(300)]
    if form != "kaldi":
        assert (found.trials.labels == trials.labels).all()


def test_the_form_follows_the_labels(tmp_path):
    trials = TrialList(["a", "b"], np.array([0]), np.array([1]), np.array([True]))
    scorefiles.write_scores(tmp_path / "s.txt", trials, [0.5])
    assert (tmp_path / "s.txt").read_text() == "a b 1 0.5\n"
    bare = TrialList(trials.ids, trials.enrol, trials.test)
    scorefiles.write_scores(tmp_path / "s.txt", bare, [0.5])
    assert (tmp_path / "s.txt").read_text() == "a b 0.5\n"
    with pytest.raises(UserError):
        scorefiles.write_scores(tmp_path / "s.txt", bare, [0.5], "wespeaker")
    with pytest.raises(UserError):
        scorefiles.write_scores(tmp_path / "s.txt", bare, [0.5], "json")
    with pytest.raises(ValueError):
        scorefiles.write_scores(tmp_path / "s.txt", bare, [0.5, 0.6])


@pytest.mark.parametrize(
    ("bad", "where"),
    [("a b 1", ""), ("a b 1 x", "'x'"), ("a b 1 nan", "'nan'"), ("a b 0 -inf", "'-inf'")]
    + [("a b 2 0.1", ""), ("a b 0.5 target", "")],
)
def test_the_bad_line_is_named_by_number(tmp_path, bad, where):
    path = tmp_path / "scores.txt"
    path.write_text(f"\na c 1 0.25\n\n{bad}\na d 0 0.5\n")
    with pytest.raises(UserError, match=rf"scores\.txt line 4\b.*{where}"):
        scorefiles.read_scores(path)


def test_a_file_of_no_form_names_the_forms(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_text("a b c d\n")
    with pytest.raises(UserError, match="line 1"):
        scorefiles.read_scores(path)
    path.write_text("\n\n")
    with pytest.raises(UserError):
        scorefiles.read_scores(path)


def test_duplicates_are_refused(tmp_path):
    path = tmp_path / "scores.txt"
    path.write_text("a b 0.1\na c 0.2\na b 0.1\n")
    with pytest.raises(UserError, match="'a b'"):
        scorefiles.read_scores(path)


@pytest.mark.parametrize("labelled", [True, False])
def test_standard_deviations_are_a_fifth_column(tmp_path, labelled):
    labels = np.array([True, False, False])
    trials = TrialList(["a", "b", "c"], np.array([0, 0, 1]), np.array([1, 2, 2]), labels)
    trials = trials if labelled else replace(trials, labels=None)
    scores, std = np.array([1.5, 0.0, 1.0]), np.array([0.1, 1e-300, 0.0])
    scorefiles.write_scores(tmp_path / "s.txt", trials, scores, std=std)
    found = scorefiles.read_scores(tmp_path / "s.txt")
    assert (found.scores == scores).all() and (found.std == std).all()
    if labelled:
        assert (found.trials.labels == labels).all()
    else:
        assert found.trials.labels is None
    scorefiles.write_scores(tmp_path / "plain.txt", trials, scores)
    assert scorefiles.read_scores(tmp_path / "plain.txt").std is None


@pytest.mark.parametrize(
    "bad",
    ["a b 1 0.5 -1", "a b 1 0.5 nan", "a b 1 0.5 1_0", "a b 2 0.5 1", "a b - 0.5 1", "a b 1 0.5"],
)
def test_a_bad_standard_deviation_is_named_with_its_line(tmp_path, bad):
    (tmp_path / "s.txt").write_text(f"a c 0 0.25 0.5\n{bad}\n")
    with pytest.raises(UserError, match=r"s\.txt line 2"):
        scorefiles.read_scores(tmp_path / "s.txt")
    (tmp_path / "s.txt").write_text("a c - 0.25 0.5\na b 1 0.5 1\n")
    with pytest.raises(UserError, match=r"s\.txt line 2"):
        scorefiles.read_scores(tmp_path / "s.txt")
