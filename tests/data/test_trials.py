"""Trial lists: both forms, told apart; the bad line named; duplicates refused."""

from __future__ import annotations

import numpy as np
import pytest

from acorl_sb.data import lines, trials
from acorl_sb.utils.errors import UserError


def listing(found: trials.TrialList) -> list[tuple]:
    """Plain (enrol, test, label) rows."""
    labels = [None] * len(found) if found.labels is None else found.labels.tolist()
    return [
        (found.ids[e], found.ids[t], label)
        for e, t, label in zip(found.enrol, found.test, labels, strict=True)
    ]


FORMS = {
    "voxceleb": "1 a/b.wav c\n0 a/b.wav d\n0 c d\n",
    "kaldi": "a/b.wav c target\na/b.wav d nontarget\nc d nontarget\n",
    "tabs and carriage returns": "1\ta/b.wav\tc\r\n0  a/b.wav d\r\n0 c d",
    "blank lines": "\n1 a/b.wav c\n\n  \n0 a/b.wav d\n0 c d\n\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_forms_are_told_apart(tmp_path, text):
    path = tmp_path / "trials.txt"
    path.write_bytes(text.encode())
    found = trials.read_trials(path)
    assert listing(found) == [("a/b.wav", "c", True), ("a/b.wav", "d", False), ("c", "d", False)]
    assert sorted(found.ids) == ["a/b.wav", "c", "d"]
    assert found.enrol.dtype == found.test.dtype == np.int64
    assert found.labels.dtype == bool


def test_a_list_without_labels(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_text("a b\na c\n")
    assert listing(trials.read_trials(path)) == [("a", "b", None), ("a", "c", None)]


def test_an_id_that_looks_like_a_label_is_told_by_the_other_lines(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_text("1 b target\n7 b nontarget\n")  # fits both forms, then only Kaldi's
    assert listing(trials.read_trials(path)) == [("1", "b", True), ("7", "b", False)]
    path.write_text("1 b target\n1 b c\n")
    assert listing(trials.read_trials(path)) == [("b", "target", True), ("b", "c", True)]


@pytest.mark.parametrize("form", ["voxceleb", "kaldi"])
def test_what_is_written_is_read_back(tmp_path, form, monkeypatch):
    monkeypatch.setattr(trials, "_WRITE_BLOCK", 7)
    rng = np.random.default_rng(0)
    ids = [f"spk{k}/ütt-{k}" for k in range(20)]
    pairs = rng.permutation(400)[:100]
    original = trials.TrialList(ids, pairs // 20, pairs % 20, rng.random(100) < 0.5)
    trials.write_trials(tmp_path / "t.txt", original, form)
    assert listing(trials.read_trials(tmp_path / "t.txt")) == listing(original)


def test_many_blocks_give_what_one_block_gives(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    ids = [f"u{k}" * (1 + k % 3) for k in range(300)]
    pairs = rng.permutation(90000)[:5000]
    original = trials.TrialList(ids, pairs // 300, pairs % 300, rng.random(5000) < 0.1)
    trials.write_trials(tmp_path / "t.txt", original)
    whole = listing(trials.read_trials(tmp_path / "t.txt"))
    assert whole == listing(original)
    monkeypatch.setattr(lines, "_BLOCK_BYTES", 100)
    assert listing(trials.read_trials(tmp_path / "t.txt")) == whole


@pytest.mark.parametrize(
    ("bad", "where"),
    [("1 a", ""), ("1 a b c", ""), ("2 a b", "'2'"), ("a b target", "'a'")],
)
def test_the_bad_line_is_named_by_number(tmp_path, bad, where, monkeypatch):
    path = tmp_path / "trials.txt"
    good = [f"1 a{k} b{k}" for k in range(50)]
    for place in (3, 31, 49):
        for block in (1 << 20, 64):  # inside one block, and blocks further on
            monkeypatch.setattr(lines, "_BLOCK_BYTES", block)
            path.write_text("\n".join([*good[:place], bad, *good[place:]]) + "\n")
            with pytest.raises(UserError, match=rf"trials\.txt line {place + 1}\b.*{where}"):
                trials.read_trials(path)


def test_two_bad_lines_that_even_out_are_found(tmp_path):
    # 2 + 4 fields: as many in all as two good lines have.
    path = tmp_path / "trials.txt"
    path.write_text("1 a b\n1 c\n1 1 d e\n0 f g\n")
    with pytest.raises(UserError, match="line 2"):
        trials.read_trials(path)


def test_a_first_line_of_no_form_names_the_forms(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_text("\n1 a b c\n")
    with pytest.raises(UserError, match="line 2"):
        trials.read_trials(path)


def test_empty_missing_and_blank_files_are_refused(tmp_path):
    path = tmp_path / "trials.txt"
    with pytest.raises(UserError, match=r"trials\.txt"):
        trials.read_trials(path)
    with pytest.raises(UserError, match=tmp_path.name):
        trials.read_trials(tmp_path)
    path.write_text("")
    with pytest.raises(UserError):
        trials.read_trials(path)
    path.write_text("\n \n")
    with pytest.raises(UserError):
        trials.read_trials(path)
    path.write_bytes(b"1 a\xff b\n")
    with pytest.raises(UserError):
        trials.read_trials(path)


def test_duplicate_trials_are_refused_unless_told_otherwise(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_text("1 a b\n0 a c\n1 a b\n0 b a\n0 a c\n")
    with pytest.raises(UserError, match=r"'a b'.*'a c'"):
        trials.read_trials(path)
    assert len(trials.read_trials(path, duplicates="keep")) == 5
    path.write_text("".join(f"1 a b{k % 9}\n" for k in range(18)))
    with pytest.raises(UserError, match="'a b0', 'a b1', 'a b2'"):
        trials.read_trials(path)
    path.write_text("1 a b\n0 a b\n")
    with pytest.raises(UserError, match="'a b'"):
        trials.read_trials(path, duplicates="keep")
    with pytest.raises(UserError):
        trials.read_trials(path, duplicates="maybe")


def test_unlabelled_trials_are_not_written_as_labelled(tmp_path):
    bare = trials.TrialList(["a"], np.array([0]), np.array([0]))
    with pytest.raises(UserError):
        trials.write_trials(tmp_path / "t.txt", bare)
    assert list(tmp_path.iterdir()) == []


def test_enrolled_models(tmp_path):
    path = tmp_path / "enrol.txt"
    path.write_text("m1 a b c\n\nm2 d\n")
    assert trials.read_enrolment(path) == {"m1": ["a", "b", "c"], "m2": ["d"]}
    path.write_text("m1 a\nm2\n")
    with pytest.raises(UserError, match=r"line 2.*'m2'"):
        trials.read_enrolment(path)
    path.write_text("m1 a\nm1 b\n")
    with pytest.raises(UserError, match=r"line 2.*'m1'"):
        trials.read_enrolment(path)
    path.write_text("m1 a b\nm2 c d c\n")
    with pytest.raises(UserError, match=r"line 2.*'m2'.*'c'"):
        trials.read_enrolment(path)
