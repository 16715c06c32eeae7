"""Score files of SpeechBrain, WeSpeaker and Kaldi, detected automatically."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from acorl_sb.data.columns import Column, Ids
from acorl_sb.data.lines import Block, LineForm, id_names, read_blocks
from acorl_sb.data.trials import (
    DIGIT_LABELS,
    WORD_LABELS,
    TrialList,
    check_duplicates,
    read_labels,
    write_lines,
)
from acorl_sb.utils.errors import UserError

FORMS = ("speechbrain", "wespeaker", "kaldi")


@dataclass(frozen=True)
class ScoreFile:
    """Trials with their scores, float64 (N,), in the order of the file.

    ``std`` (N,) are standard deviations of the scores, where the file has them.
    """

    trials: TrialList
    scores: np.ndarray
    std: np.ndarray | None = None


def read_scores(path: str | os.PathLike, duplicates: str = "error") -> ScoreFile:
    """Read a score file; every line is of one of these forms.

    - SpeechBrain: ``enrol test label score``, label 1 target, 0 non-target
    - WeSpeaker: ``enrol test score target`` (or ``nontarget``); its normalised files carry four
      more numbers a line, which are passed over
    - Kaldi: ``enrol test score``, no label
    - with uncertainty: ``enrol test label score std``, the label ``-`` where it is not known

    ``duplicates`` as in ``read_trials``. Raises ``UserError`` naming the line that is wrong; a
    score must be a finite number, a standard deviation one from 0 on.
    """
    ids, form = Ids(), None
    enrol, test, labels, scores, std = [], [], [], [], []
    for block in read_blocks(path):
        form = form or _form_of(block)
        if form is None:
            continue
        columns = block.columns(form.fields, form.fault)
        enrol.append(ids.number(columns[0]))
        test.append(ids.number(columns[1]))
        if form.words is not None:
            labels.append(read_labels(block, columns[form.label], form.words, form.fault))
        scores.append(_numbers(block, columns[form.score], form))
        if form.std:
            std.append(_numbers(block, columns[form.std], form))
            bare = form.words is None
            if (std[-1] < 0).any() or (bare and columns[form.label].flags({b"-": True}) is None):
                block.blame(form.fault)
    if form is None:
        raise UserError(f"{path}: no scores, only blank lines")
    trials = TrialList(
        id_names(ids, str(path)),
        np.concatenate(enrol),
        np.concatenate(test),
        np.concatenate(labels) if labels else None,
    )
    check_duplicates(trials, str(path), duplicates)
    return ScoreFile(trials, np.concatenate(scores), np.concatenate(std) if std else None)


def write_scores(
    path: str | os.PathLike,
    trials: TrialList,
    scores: np.ndarray,
    form: str | None = None,
    std: np.ndarray | None = None,
) -> None:
    """Write scores (N,) of ``trials``, whole or not at all.

    ``form`` is "speechbrain", "wespeaker" or "kaldi"; by default SpeechBrain's where the trials
    are labelled, else Kaldi's. Scores are written with all their digits: reading them gives the
    same float64. With ``std`` (N,) there is no choice of form.
    """
    if std is not None:
        _write_with_std(path, trials, scores, np.asarray(std, dtype=np.float64))
        return
    if form is None:
        form = "kaldi" if trials.labels is None else "speechbrain"
    if form not in FORMS:
        raise UserError(f"the form of a score file is {', '.join(FORMS)}, not {form!r}")
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (len(trials),):
        raise ValueError(f"{len(trials)} trials, but scores of shape {scores.shape}")
    values = list(map(repr, scores.tolist()))
    if form == "kaldi":
        write_lines(path, trials, values)
        return
    if trials.labels is None:
        raise UserError(f"{path}: these trials have no labels; write them in form 'kaldi'")
    words = ("0", "1") if form == "speechbrain" else ("nontarget", "target")
    labels = [words[label] for label in trials.labels.tolist()]
    columns = (labels, values) if form == "speechbrain" else (values, labels)
    write_lines(path, trials, *columns)


def _write_with_std(
    path: str | os.PathLike, trials: TrialList, scores: np.ndarray, std: np.ndarray
) -> None:
    scores = np.asarray(scores, dtype=np.float64)
    if not scores.shape == std.shape == (len(trials),):
        raise ValueError(f"{len(trials)} trials, but scores {scores.shape} and std {std.shape}")
    labels = ["-"] * len(trials)
    if trials.labels is not None:
        labels = [("0", "1")[label] for label in trials.labels.tolist()]
    columns = ([repr(v) for v in values.tolist()] for values in (scores, std))
    write_lines(path, trials, labels, *columns)


# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Form(LineForm):
    score: int  # column of the score; the ids are the first two
    std: int = 0  # that of its standard deviation; 0: there is none

    def fault(self, fields: list[bytes]) -> str | None:
        if found := super().fault(fields):
            return found
        if self.std and self.words is None and fields[self.label] != b"-":
            return f"the label must be '-' on every line or on none ({self.example})"
        score = fields[self.score]
        if not _is_finite(score):
            return f"the score must be a finite number, not '{score.decode(errors='replace')}'"
        if self.std and not (_is_finite(fields[self.std]) and float(fields[self.std]) >= 0):
            std = fields[self.std].decode(errors="replace")
            return f"the standard deviation must be a finite number from 0 on, not '{std}'"
        return None


def _is_finite(field: bytes) -> bool:
    try:
        return math.isfinite(float(field)) and b"_" not in field  # Python reads 1_0 as ten
    except ValueError:
        return False


_SPEECHBRAIN = _Form(4, 2, DIGIT_LABELS, "'enrol test label score'", score=3)
_WESPEAKER = _Form(4, 3, WORD_LABELS, "'enrol test score target'", score=2)
_WESPEAKER_NORM = _Form(8, 3, WORD_LABELS, "'enrol test score target' and four numbers", score=2)
_KALDI = _Form(3, -1, None, "'enrol test score'", score=2)
_WITH_STD = _Form(5, 2, DIGIT_LABELS, "'enrol test label score std'", score=3, std=4)
_BARE_WITH_STD = _Form(5, 2, None, "'enrol test - score std'", score=3, std=4)


def _form_of(block: Block) -> _Form | None:
    """The form of the first line that is not blank."""
    for number, fields in block.lines():
        for form in (
            *(_SPEECHBRAIN, _WESPEAKER, _WESPEAKER_NORM, _KALDI),
            *(_WITH_STD, _BARE_WITH_STD),
        ):
            if form.fault(fields) is None:
                return form
        raise UserError(
            f"{block.path} line {number}: not a score; expected 'enrol test label score' "
            "(SpeechBrain, a standard deviation may follow), 'enrol test score target' "
            "(WeSpeaker), or 'enrol test score' (Kaldi)"
        )
    return None


def _numbers(block: Block, column: Column, form: _Form) -> np.ndarray:
    values = column.numbers()
    return block.blame(form.fault) if values is None else values
