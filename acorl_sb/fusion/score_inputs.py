"""What ``fuse.py`` reads: score files of several systems, labels, speakers, quality measures."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acorl_sb.data import speakers
from acorl_sb.data.alignment import align
from acorl_sb.data.embeddings import Embeddings, concatenate, read_embeddings
from acorl_sb.data.lines import some
from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.scorefiles import ScoreFile, read_scores
from acorl_sb.data.trials import TrialList, read_trials
from acorl_sb.fusion import models as fusion
from acorl_sb.fusion.validation import ScoreSet
from acorl_sb.scoring.backends.cosine import cosine_scores
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.utils.errors import UserError

_PARALLEL_BYTES = (20e6, 1e9)

PARTS = ("dev", "test", "scores")
QUALITY = ("duration", "magnitude", "cohort")


@dataclass(frozen=True)
class System:
    """Where one system's files lie: by part (``dev``, ``test``; or ``scores``, the only set).

    ``embeddings`` may also have the part ``train``, from which a PLDA learns.
    """

    name: str
    scores: dict[str, str]
    embeddings: dict[str, str] = field(default_factory=dict)
    cohort: str | None = None


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


def name_systems(paths: Sequence[str]) -> list[str]:
    """Short names that tell score files apart: the parts of their paths that differ.

    ``runs/a/dev.txt runs/b/dev.txt`` are ``a`` and ``b``. Raises ``UserError`` for a path given
    twice.
    """
    twice = [path for path in dict.fromkeys(paths) if list(paths).count(path) > 1]
    if twice:
        raise UserError(f"the score file {twice[0]} is given more than once")
    parts = [Path(path).with_suffix("").parts for path in paths]
    depth = max(len(p) for p in parts)
    columns = [[p[-back] if back <= len(p) else "" for p in parts] for back in range(1, depth + 1)]
    for column in columns:  # one part that tells all apart, the last such
        if len(set(column)) == len(paths) and all(column):
            return column
    differing = [column for column in columns if len(set(column)) > 1]
    return ["/".join(filter(None, reversed(names))) for names in zip(*differing, strict=True)]


def from_run_folder(folder: str | os.PathLike) -> tuple[list[System], list[str]]:
    """The members of a finished run of ``train.py`` and its manifests.

    Raises ``UserError`` when the folder holds no members with scores.
    """
    root = Path(folder)
    members = sorted(path.name for path in root.glob("members/*") if path.is_dir())
    systems = []
    for name in members:
        scores = {part: str(root / "scores" / name / f"{part}.txt") for part in ("dev", "test")}
        if not all(Path(path).is_file() for path in scores.values()):
            continue
        embeddings = {
            part: str(root / "embeddings" / name / part)
            for part in ("dev", "test")
            if (root / "embeddings" / name / part).is_dir()
        }
        systems.append(System(name, scores, embeddings if len(embeddings) == 2 else {}))
    if not systems:
        raise UserError(f"{folder}: no members with scores (members/*, scores/*/dev.txt, test.txt)")
    return systems, [str(root / "manifest" / f"{part}.csv") for part in ("dev", "test")]


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

    Raises ``UserError`` for files that hold differing trials, labels that contradict each other,
    speakers that contradict the labels, and everything the readers refuse.
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
    sets, source, shared = _with_speakers(sets, speaker_files, speaker_pattern)

    durations = _durations(speaker_files) if "duration" in quality else {}
    quality_names: list[str] = []
    whole = len(systems) > 1 and all({*sets} <= {*s.embeddings} for s in systems)
    plda = _train_plda(systems, speaker_files, sets) if whole else None
    result = {}
    for part, scored in sets.items():
        embeddings = [read_embeddings(s.embeddings[part]) for s in systems if part in s.embeddings]
        columns, quality_names = _quality(
            systems, scored.trials, quality, durations, embeddings, cohort_top, speaker_files
        )
        joined = _concatenated(scored.trials, embeddings, plda) if whole else {}
        result[part] = Part(replace(scored, quality=columns), joined)
    return Inputs([s.name for s in systems], result, quality_names, source, shared, files)


def _read_files(paths: Sequence[str], progress: Callable[[str], None]) -> Iterator[ScoreFile]:
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
    if trial_list is not None:
        trials, where = read_trials(trial_list), trial_list
        if trials.labels is None:
            raise UserError(f"{trial_list}: this trial list has no labels, so it adds nothing")
        label_source = trial_list
    for row, system in enumerate(systems):
        path = system.scores[part]
        scored = next(read)
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
                f"{some(trials.name(trial) for trial in differ)}"
            )
    return ScoreSet(trials, scores)


def _with_speakers(
    sets: dict[str, ScoreSet], files: Sequence[str], pattern: str | None
) -> tuple[dict[str, ScoreSet], str, int | None]:
    """Put the speakers' numbers in, one numbering for all parts."""
    table = _speaker_table(files)
    guessed = not files and pattern is None
    if files:
        source = " and ".join(str(path) for path in files)
        found = [speakers.by_table(s.trials.ids, table, source) for s in sets.values()]
    elif pattern is not None:
        source = f"pattern {pattern} in the utterance ids"
        found = [speakers.by_pattern(s.trials.ids, pattern) for s in sets.values()]
    else:
        source = "what stands before the first slash of an utterance id"
        found = [speakers.by_folder(s.trials.ids) for s in sets.values()]
        if None in found:
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


def _speaker_table(files: Sequence[str]) -> dict[str, str]:
    table: dict[str, str] = {}
    for path in files:
        for utterance, speaker in speakers.read_speakers(path).items():
            if table.setdefault(utterance, speaker) != speaker:
                raise UserError(f"{path}: '{utterance}' has two speakers")
    return table


def _durations(files: Sequence[str]) -> dict[str, float]:
    return {
        utterance.id: utterance.duration
        for path in files
        if str(path).lower().endswith(".csv")
        for utterance in read_manifest(path)
    }


def _quality(
    systems: Sequence[System],
    trials: TrialList,
    quality: Sequence[str],
    durations: dict[str, float],
    embeddings: Sequence[Embeddings],
    cohort_top: int,
    speaker_files: Sequence[str],
) -> tuple[np.ndarray | None, list[str]]:
    """Quality columns (Q, N) of one part and their names."""
    if not quality:
        return None, []
    columns, names = [], []

    def add(name: str, values: np.ndarray) -> None:
        columns.append(fusion.quality_columns(values, trials.enrol, trials.test))
        names.extend([f"{name} (smaller side)", f"{name} (larger side)"])

    if "duration" in quality:
        unknown = [utterance for utterance in trials.ids if utterance not in durations]
        if unknown:
            where = " and ".join(map(str, speaker_files)) or "no manifest was given"
            raise UserError(
                f"quality measure 'duration': {len(unknown)} utterances have no duration "
                f"({where}): {some(unknown)}"
            )
        add("log duration", fusion.log_durations([durations[u] for u in trials.ids]))
    if {"magnitude", "cohort"} & set(quality) and len(embeddings) != len(systems):
        raise UserError(
            "quality measures 'magnitude' and 'cohort' need the embeddings of every system"
        )
    for system, vectors in zip(systems, embeddings, strict=False):
        if not {"magnitude", "cohort"} & set(quality):
            break
        rows = vectors.index(trials.ids, f"the embeddings of {system.name}")
        if "magnitude" in quality:
            add(f"magnitude {system.name}", fusion.magnitudes(vectors.vectors[rows]))
        if "cohort" in quality:
            if system.cohort is None:
                raise UserError(f"quality measure 'cohort': {system.name} has no cohort embeddings")
            cohort = read_embeddings(system.cohort).vectors
            means = fusion.cohort_means(vectors.vectors[rows], cohort, cohort_top)
            add(f"cohort mean {system.name}", means)
    return np.concatenate(columns), names


def _concatenated(
    trials: TrialList, embeddings: Sequence[Embeddings], plda: PLDA | None
) -> dict[str, np.ndarray]:
    """Scores (N,) of the members' embeddings, each of unit length, side by side."""
    joined = concatenate(embeddings)
    rows = joined.index(trials.ids)
    enrol, test = rows[trials.enrol], rows[trials.test]
    made = {
        "embedding concatenation, cosine": np.asarray(cosine_scores(joined.vectors, enrol, test))
    }
    if plda is not None:
        vectors = plda.prepare(torch.from_numpy(joined.vectors))
        scores = plda.sides(vectors, vectors).trials(*map(torch.from_numpy, (enrol, test)))
        made["embedding concatenation, PLDA"] = scores.numpy()
    return made


def _train_plda(
    systems: Sequence[System], speaker_files: Sequence[str], sets: dict[str, ScoreSet]
) -> PLDA | None:
    """A PLDA of the concatenated training embeddings, where every system has some."""
    given = [system.embeddings["train"] for system in systems if "train" in system.embeddings]
    if len(given) != len(systems):
        return None
    joined = concatenate([read_embeddings(path) for path in given])
    where = " and ".join(map(str, speaker_files)) or "no manifest is given"
    table = _speaker_table(speaker_files)
    names = speakers.by_table(joined.ids, table, f"training embeddings ({where})")
    tested = {table[u] for scored in sets.values() for u in scored.trials.ids if u in table}
    leaked = sorted(tested & set(names))
    if leaked:
        raise UserError(
            f"training embeddings: {len(leaked)} of their speakers are in the trials: "
            f"{some(leaked)}; train the PLDA on others"
        )
    plda = PLDA()
    try:
        plda.fit(torch.from_numpy(joined.vectors), torch.from_numpy(speakers.number(names)[0]))
    except ValueError as error:
        raise UserError(f"training embeddings: {error}") from None
    return plda
