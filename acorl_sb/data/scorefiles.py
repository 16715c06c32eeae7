"""Score files of SpeechBrain, WeSpeaker and Kaldi, told apart by themselves."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from acorl_sb.data.columns import Column, Ids
from acorl_sb.data.lines import Block, id_names, read_blocks
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
    """Trials with their scores, float64 (N,), in the order of the file."""

    trials: TrialList
    scores: np.ndarray


def read_scores(path: str | os.PathLike, duplicates: str = "error") -> ScoreFile:
    """Read a score file; every line is of one of these forms.

    - SpeechBrain: ``enrol test label score``, label 1 target, 0 non-target
    - WeSpeaker: ``enrol test score target`` (or ``nontarget``); its normalised files carry four
      more numbers a line, which are passed over
    - Kaldi: ``enrol test score``, no label

    ``duplicates`` as in ``read_trials``. Raises ``UserError`` naming the line that is wrong; a
    score must be a finite number.
    """
    ids, form = Ids(), None
    enrol, test, labels, scores = [], [], [], []
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
    if form is None:
        raise UserError(f"{path}: no scores, only blank lines")
    trials = TrialList(
        id_names(ids, str(path)),
        np.concatenate(enrol),
        np.concatenate(test),
        np.concatenate(labels) if labels else None,
    )
    check_duplicates(trials, str(path), duplicates)
    return ScoreFile(trials, np.concatenate(scores))


def write_scores(
    path: str | os.PathLike, trials: TrialList, scores: np.ndarray, form: str | None = None
) -> None:
    """Write scores (N,) of ``trials``, whole or not at all.

    ``form`` is "speechbrain", "wespeaker" or "kaldi"; by default SpeechBrain's where the trials
    are labelled, else Kaldi's. Scores are written with all their digits: reading them gives the
    same float64.
    """
    if form is None:
        form = "kaldi" if trials.labels is None else "speechbrain"
    if form not in FORMS:
        raise UserError(f"the form of a score file is {', '.join(FORMS)}, not {form!r}")
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (len(trials),):
        raise ValueError(f"{len(trials)} trials, but scores of shape {scores.shape}")
    values = list(map(repr, scores.tolist()))
    if form == "kaldi":
        write_lines(path, "{0} {1} {2}\n", trials, values)
        return
    if trials.labels is None:
        raise UserError(f"{path}: these trials have no labels; write them in form 'kaldi'")
    words = ("0", "1") if form == "speechbrain" else ("nontarget", "target")
    labels = [words[label] for label in trials.labels.tolist()]
    line = "{0} {1} {3} {2}\n" if form == "speechbrain" else "{0} {1} {2} {3}\n"
    write_lines(path, line, trials, values, labels)


# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Form:
    fields: int
    score: int
    label: int
    words: dict | None
    example: str

    def fault(self, fields: list[bytes]) -> str | None:
        if len(fields) != self.fields:
            return f"{self.fields} fields expected ({self.example}), found {len(fields)}"
        if self.words is not None and fields[self.label] not in self.words:
            found = fields[self.label].decode(errors="replace")
            allowed = " or ".join(f"'{word.decode()}'" for word in self.words)
            return f"the label must be {allowed} ({self.example}), not '{found}'"
        score = fields[self.score]
        try:
            finite = math.isfinite(float(score))
        except ValueError:
            finite = False
        if not finite or b"_" in score:
            return f"the score must be a finite number, not '{score.decode(errors='replace')}'"
        return None


_SPEECHBRAIN = _Form(4, 3, 2, DIGIT_LABELS, "'enrol test label score'")
_WESPEAKER = _Form(4, 2, 3, WORD_LABELS, "'enrol test score target'")
_WESPEAKER_NORM = _Form(8, 2, 3, WORD_LABELS, "'enrol test score target' and four numbers")
_KALDI = _Form(3, 2, -1, None, "'enrol test score'")


def _form_of(block: Block) -> _Form | None:
    """The form of the first line that is not blank."""
    for number, fields in block.lines():
        for form in (_SPEECHBRAIN, _WESPEAKER, _WESPEAKER_NORM, _KALDI):
            if form.fault(fields) is None:
                return form
        raise UserError(
            f"{block.path} line {number}: not a score; expected 'enrol test label score' "
            "(SpeechBrain), 'enrol test score target' (WeSpeaker), or 'enrol test score' (Kaldi)"
        )
    return None


def _numbers(block: Block, column: Column, form: _Form) -> np.ndarray:
    values = column.numbers()
    return block.blame(form.fault) if values is None else values
