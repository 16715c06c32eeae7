"""What ``fuse.py`` reads: score files of several systems, labels, speakers, quality measures."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from acorl_sb.data import speakers
from acorl_sb.data.alignment import align
from acorl_sb.data.embeddings import read_embeddings
from acorl_sb.data.lines import some
from acorl_sb.data.scorefiles import ScoreFile, read_scores
from acorl_sb.data.trials import read_trials
from acorl_sb.fusion.checks import check_size
from acorl_sb.fusion.concatenation import score_concatenated, train_plda
from acorl_sb.fusion.quality import quality_of_part, read_durations
from acorl_sb.fusion.systems import System
from acorl_sb.fusion.validation import ScoreSet
from acorl_sb.utils.errors import UserError

_PARALLEL_BYTES = (20e6, 1e9)

PARTS = ("dev", "test", "scores")
QUALITY = ("duration", "magnitude", "cohort", "uncertainty")


@dataclass(frozen=True)
class Part:
    """All that is known of one part: the aligned scores, and those of the joined embeddings.

    ``concatenated`` are scores (N,) of the members' concatenated embeddings, by the back end.
    """

    set: ScoreSet
    concatenated: dict[str, np.ndarray]


@dataclass(frozen=True)
class Inputs:
    """``parts`` by name; ``speaker_source`` says where the speakers come from, or why not."""

    names: list[str]
    parts: dict[str, Part]
    quality_names: list[str]
    speaker_source: str
    shared_speakers: int | None
    files: list[dict[str, Any]]


def load(
    systems: Sequence[System],
    trial_lists: dict[str, str] | None = None,
    speaker_files: Sequence[str] = (),
    speaker_pattern: str | None = None,
    quality: Sequence[str] = (),
    cohort_top: int = 100,
    progress: Callable[[str], None] = lambda _: None,
) -> Inputs:
    """Read every file and bring all systems of a part into one order.

    Arguments
    ---------
    systems : at least one, all with the same parts
    trial_lists : by part, a trial list that holds the labels; where given, its labels count
    speaker_files : manifests (``.csv``) or ``utterance speaker`` lists
    speaker_pattern : regular expression that finds the speaker in an utterance id
    quality : which quality measures to add, some of ``QUALITY``
    cohort_top : how many nearest cohort members the cohort mean is taken over
    progress : told what is being read

    Returns
    -------
    Inputs
        Scores (S, N) of each part in one order of trials, speakers and quality columns with them.

    Raises
    ------
    UserError
        For files that hold differing trials, labels that contradict each other, speakers that
        contradict the labels, scores too large or too close to compute with, a system that is
        called as a quality column is, and everything the readers refuse.
    """
    for measure in quality:
        if measure not in QUALITY:
            raise UserError(f"unknown quality measure '{measure}'; known are {', '.join(QUALITY)}")
    parts = [part for part in PARTS if part in systems[0].scores]
    files: list[dict[str, Any]] = []
    sets = {}
    paths = [system.scores[part] for part in parts for system in systems]
    with contextlib.closing(_read_files(paths, progress)) as read:
        for part in parts:
            sets[part] = _read_part(systems, part, (trial_lists or {}).get(part), read, files)
    sets, source, shared = with_speakers(sets, speaker_files, speaker_pattern)

    durations = read_durations(speaker_files) if "duration" in quality else {}
    quality_names: list[str] = []
    whole = len(systems) > 1 and all({*sets} <= {*s.embeddings} for s in systems)
    plda = train_plda(systems, speaker_files, sets) if whole else None
    result = {}
    for part, scored in sets.items():
        embeddings = [read_embeddings(s.embeddings[part]) for s in systems if part in s.embeddings]
        columns, quality_names, owners = quality_of_part(
            *(systems, scored.trials, quality, durations, embeddings, cohort_top),
            speaker_files,
            scored.std,
        )
        joined = score_concatenated(scored.trials, embeddings, plda) if whole else {}
        result[part] = Part(replace(scored, quality=columns, owners=owners), joined)
    called = [system.name for system in systems if system.name in quality_names]
    if called:
        raise UserError(f"the name '{called[0]}' is that of a quality column; give other --names")
    return Inputs([s.name for s in systems], result, quality_names, source, shared, files)


def _read_files(
    paths: Sequence[str], progress: Callable[[str], None]
) -> Generator[ScoreFile, None, None]:
    """Score files in this order; of middling size, several at a time.

    Small files are not worth a process, and large ones would be held twice on their way.
    """
    size = sum(os.path.getsize(path) for path in paths if os.path.isfile(path))
    workers = min(os.cpu_count() or 1, len(paths))
    forks = "fork" in multiprocessing.get_all_start_methods()
    if workers < 2 or not forks or not _PARALLEL_BYTES[0] <= size <= _PARALLEL_BYTES[1]:
        for path in paths:
            progress(path)
            yield read_scores(path)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        for path, scored in zip(paths, pool.map(read_scores, paths), strict=True):
            progress(path)
            yield scored


def _read_part(
    systems: Sequence[System],
    part: str,
    trial_list: str | None,
    read: Iterator[ScoreFile],
    files: list[dict[str, Any]],
) -> ScoreSet:
    """Take the next file of every system from ``read`` and bring them into one order."""
    trials, where, scores, label_source = None, "", None, None
    std: list[np.ndarray] = []
    if trial_list is not None:
        trials, where = read_trials(trial_list), trial_list
        if trials.labels is None:
            raise UserError(f"{trial_list}: this trial list has no labels, so it adds nothing")
        label_source = trial_list
    for row, system in enumerate(systems):
        path = system.scores[part]
        scored = next(read)
        named = f"{path}, system '{system.name}'"
        check_size(scored.scores, named, fitted=part != "test")
        if scored.std is not None:
            check_size(scored.std, f"{named}, standard deviations", fitted=False)
        files.append(
            {"system": system.name, "part": part, "path": path, "trials": len(scored.trials)}
        )
        if trials is None:
            trials, where = scored.trials, path
            order = None
            label_source = path if trials.labels is not None else None
        else:
            order = align(trials, scored.trials, where, path)
        if scores is None:
            scores = np.empty((len(systems), len(trials)))  # (S, N)
        scores[row] = scored.scores if order is None else scored.scores[order]
        if scored.std is not None:
            std.append(scored.std if order is None else scored.std[order])
        labels = scored.trials.labels
        if labels is None:
            continue
        labels = labels if order is None else labels[order]
        if trials.labels is None:
            trials, label_source = replace(trials, labels=labels), path
        differ = np.flatnonzero(labels != trials.labels)
        if len(differ):
            raise UserError(
                f"{path}: {len(differ)} labels contradict those of {label_source}: "
                f"{some(trials.name(int(trial)) for trial in differ)}"
            )
    if trials is None or scores is None:
        raise ValueError("no systems to read")
    return ScoreSet(trials, scores, std=np.stack(std) if len(std) == len(systems) else None)


def with_speakers(
    sets: dict[str, ScoreSet], files: Sequence[str], pattern: str | None
) -> tuple[dict[str, ScoreSet], str, int | None]:
    """Sets with their speakers' numbers, one numbering for all parts; whence; speakers of both.

    Raises ``UserError`` for speakers that are given and not known, or contradict the labels.
    """
    table = speakers.read_speaker_files(files)
    guessed = not files and pattern is None
    if files:
        source = " and ".join(str(path) for path in files)
        found = [speakers.by_table(s.trials.ids, table, source) for s in sets.values()]
    elif pattern is not None:
        source = f"pattern {pattern} in the utterance ids"
        found = [speakers.by_pattern(s.trials.ids, pattern) for s in sets.values()]
    else:
        source = "what stands before the first slash of an utterance id"
        guesses = [speakers.by_folder(s.trials.ids) for s in sets.values()]
        found = [names for names in guesses if names is not None]
        if len(found) < len(guesses):
            return sets, "unknown: no manifest and no speaker pattern was given", None
    numbers = speakers.number(*found)
    for scored, number in zip(sets.values(), numbers, strict=True):
        wrong = speakers.contradictions(scored.trials, number)
        if not len(wrong):
            continue
        if guessed:
            return sets, "unknown: what stands before the first slash of an id is no speaker", None
        raise UserError(
            f"{source}: these speakers contradict the labels of {len(wrong)} of "
            f"{len(scored.trials)} trials: {some(scored.trials.name(trial) for trial in wrong)}"
        )
    shared = None
    if len(numbers) == 2:
        shared = len(np.intersect1d(numbers[0], numbers[1]))
    sets = {
        part: replace(scored, speaker=number)
        for (part, scored), number in zip(sets.items(), numbers, strict=True)
    }
    return sets, source, shared
