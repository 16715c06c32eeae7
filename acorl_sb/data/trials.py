"""Trial lists: VoxCeleb's ``1 enrol test`` or Kaldi's ``enrol test target``, detected by form."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acorl_sb.data.columns import Column, Ids
from acorl_sb.data.lines import Block, LineForm, decode, id_names, read_blocks, some
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path

DIGIT_LABELS = {b"0": False, b"1": True}
WORD_LABELS = {b"nontarget": False, b"target": True}
_WRITE_BLOCK = 1 << 18


@dataclass(frozen=True)
class TrialList:
    """N trials over the utterances (or enrolled models) ``ids``.

    ``enrol`` and ``test`` are int64 (N,) indices into ``ids``; ``labels`` is bool (N,), True for a
    target trial, or None where the list does not say.
    """

    ids: list[str]
    enrol: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.enrol)

    @property
    def known_labels(self) -> np.ndarray:
        """``labels``, where a list without them is no longer possible; ValueError for such."""
        if self.labels is None:
            raise ValueError("these trials have no labels")
        return self.labels

    def name(self, trial: int) -> str:
        """``enrol test`` of one trial, for messages."""
        return f"{self.ids[self.enrol[trial]]} {self.ids[self.test[trial]]}"


def read_trials(path: str | os.PathLike, duplicates: str = "error") -> TrialList:
    """Read a trial list.

    A line is ``1 enrol test`` (1 target, 0 non-target; VoxCeleb), ``enrol test target`` (or
    ``nontarget``; Kaldi), or ``enrol test`` (no labels); the file tells which by itself, and all
    its lines are of one form. Fields are parted by white space; blank lines are passed over.

    A trial that is listed twice is an error (``duplicates="error"``) or counts twice (``"keep"``);
    listed once as target and once as non-target it is always an error.

    Raises ``UserError`` naming the line that is wrong, or the first few duplicates.
    """
    _check_choice("duplicates", duplicates, ("error", "keep"))
    ids, form = Ids(), None
    enrol, test, labels = [], [], []
    for block in read_blocks(path):
        form = form or _form_of(block)
        if form is None:
            continue
        columns = block.columns(form.fields, form.fault)
        enrol.append(ids.number(columns[form.enrol]))
        test.append(ids.number(columns[form.enrol + 1]))
        if form.words is not None:
            labels.append(read_labels(block, columns[form.label], form.words, form.fault))
    if form is None:
        raise UserError(f"{path}: no trials, only blank lines")
    trials = TrialList(
        id_names(ids, str(path)),
        np.concatenate(enrol),
        np.concatenate(test),
        np.concatenate(labels) if labels else None,
    )
    check_duplicates(trials, str(path), duplicates)
    return trials


def write_trials(path: str | os.PathLike, trials: TrialList, form: str = "voxceleb") -> None:
    """Write a labelled trial list, ``form`` "voxceleb" or "kaldi"; whole or not at all."""
    _check_choice("form", form, ("voxceleb", "kaldi"))
    if trials.labels is None:
        raise UserError(f"{path}: these trials have no labels, so no labelled list can be written")
    words = ("0", "1") if form == "voxceleb" else ("nontarget", "target")
    labels = [words[label] for label in trials.labels.tolist()]
    if form == "voxceleb":
        write_lines(path, trials, before=(labels,))
    else:
        write_lines(path, trials, labels)


def read_enrolment(path: str | os.PathLike) -> dict[str, list[str]]:
    """Read enrolled models, ``model utterance [utterance ...]`` a line (Kaldi's spk2utt).

    Raises ``UserError`` for a model without utterance, one that is listed twice, and one that lists
    an utterance twice.
    """
    models: dict[str, list[str]] = {}
    for block in read_blocks(path):
        for number, fields in block.lines():
            where = f"{path} line {number}"
            model, *utterances = (decode(field, where) for field in fields)
            if not utterances:
                raise UserError(f"{where}: the model '{model}' has no utterance")
            if model in models:
                raise UserError(f"{where}: the model '{model}' is listed twice")
            if len(set(utterances)) < len(utterances):
                twice = next(u for u in utterances if utterances.count(u) > 1)
                raise UserError(f"{where}: the model '{model}' lists '{twice}' twice")
            models[model] = utterances
    if not models:
        raise UserError(f"{path}: no models, only blank lines")
    return models


# ------------------------------------------------------------------------------------------------


def check_duplicates(trials: TrialList, path: str, duplicates: str = "error") -> None:
    """Raise ``UserError`` naming the first few trials that occur more than once."""
    key = trials.enrol * len(trials.ids) + trials.test  # (N,) one number a pair
    ordered = np.sort(key)
    if not (ordered[1:] == ordered[:-1]).any():
        return
    pairs, first, inverse, counts = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    if trials.labels is not None:
        targets = np.bincount(inverse, weights=trials.labels, minlength=len(pairs))
        torn = first[(targets > 0) & (targets < counts)]
        if torn.size:
            names = some(trials.name(trial) for trial in np.sort(torn))
            raise UserError(f"{path}: listed both as target and as non-target: {names}")
    if duplicates == "error":
        names = some(trials.name(trial) for trial in np.sort(first[counts > 1]))
        raise UserError(
            f"{path}: {int((counts > 1).sum())} trials are listed more than once: {names}; "
            "remove the repeats, or keep them (acorl score has the key duplicate_trials)"
        )


def read_labels(block: Block, column: Column, words: dict, fault) -> np.ndarray:
    """bool (N,) labels of one block."""
    flags = column.flags(words)
    return block.blame(fault) if flags is None else flags


def write_lines(
    path: str | os.PathLike,
    trials: TrialList,
    *columns: Sequence[str],
    before: Sequence[Sequence[str]] = (),
) -> None:
    """Write a line a trial, whole or not at all: ``before``, the two ids, then ``columns``.

    Every column has a word for each trial.
    """
    ids = trials.ids
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
        for start in range(0, len(trials), _WRITE_BLOCK):
            part = slice(start, start + _WRITE_BLOCK)
            sides = ([ids[i] for i in side[part].tolist()] for side in (trials.enrol, trials.test))
            first, rest = ([c[part] for c in some_columns] for some_columns in (before, columns))
            # Joined, as formatting each line takes three times as long.
            lines = map(" ".join, zip(*first, *sides, *rest, strict=True))
            out.write("\n".join(lines) + "\n")


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


@dataclass(frozen=True)
class _Form(LineForm):
    enrol: int  # column of the enrolment id; the test id follows it


_VOXCELEB = _Form(3, 0, DIGIT_LABELS, "'1 enrol test'", enrol=1)
_KALDI = _Form(3, 2, WORD_LABELS, "'enrol test target'", enrol=0)
_BARE = _Form(2, -1, None, "'enrol test'", enrol=0)


def _form_of(block: Block) -> _Form | None:
    """The form of the first line that fits only one; None when all lines are blank."""
    fits: list[_Form] = []
    for number, fields in block.lines():
        fits = [form for form in (_VOXCELEB, _KALDI, _BARE) if form.fault(fields) is None]
        if not fits:
            raise UserError(
                f"{block.path} line {number}: not a trial; expected '1 enrol test' (VoxCeleb), "
                "'enrol test target' (Kaldi), or 'enrol test'"
            )
        if len(fits) == 1:
            break
    return fits[0] if fits else None
