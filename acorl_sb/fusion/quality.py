"""Quality measures of trials (duration, magnitude, cohort, uncertainty), as fusion columns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch

from acorl_sb.data.embeddings import Embeddings, read_embeddings
from acorl_sb.data.lines import some
from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.systems import System
from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.normalise import cohort_statistics
from acorl_sb.utils.errors import UserError


def quality_columns(values: np.ndarray, enrol: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Two columns per trial from one measure per utterance: (U,), (N,), (N,) -> (2, N).

    They are the smaller and the larger of both sides, so that swapping the sides of a trial leaves
    its fused score alone (Thienpondt et al., "The IDLAB VoxSRC-20 submission", 2021).
    """
    values = np.asarray(values, dtype=np.float64)
    left, right = values[enrol], values[test]
    return np.stack([np.minimum(left, right), np.maximum(left, right)])


def log_durations(seconds: np.ndarray) -> np.ndarray:
    """Natural logarithm of durations in seconds (U,) -> (U,).

    Raises
    ------
    UserError
        For a duration that is no positive finite number.
    """
    seconds = np.asarray(seconds, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(seconds) & (seconds > 0)))
    if len(bad):
        raise UserError(
            f"{len(bad)} durations are not positive, first number {bad[0] + 1} ({seconds[bad[0]]})"
        )
    return np.log(seconds)


def magnitudes(vectors: np.ndarray) -> np.ndarray:
    """Euclidean lengths of raw embeddings: (U, D) -> (U,)."""
    return np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=1)


def cohort_means(vectors: np.ndarray, cohort: np.ndarray, top: int = 100) -> np.ndarray:
    """Mean cosine of each embedding to its ``top`` nearest cohort members: (U, D), (M, D) -> (U,).

    High for an utterance that is close to many voices, where a high score proves less. All members
    count where there are fewer than ``top``, which is 1 or more.
    """
    backend = Cosine()
    units = [backend.prepare(np.asarray(rows, dtype=np.float64)) for rows in (vectors, cohort)]
    with warnings.catch_warnings():  # a single cosine has no deviation, which is not asked for
        warnings.simplefilter("ignore", RuntimeWarning)
        return cohort_statistics(backend.sides(*units), torch.arange(len(vectors)), top)[0].numpy()


def read_durations(files: Sequence[str]) -> dict[str, float]:
    """Utterance -> seconds, from those of ``files`` that are manifests (``.csv``)."""
    return {
        utterance.id: utterance.duration
        for path in files
        if str(path).lower().endswith(".csv")
        for utterance in read_manifest(path)
    }


def quality_of_part(
    systems: Sequence[System],
    trials: TrialList,
    quality: Sequence[str],
    durations: dict[str, float],
    embeddings: Sequence[Embeddings],
    cohort_top: int,
    speaker_files: Sequence[str],
    std: np.ndarray | None = None,
) -> tuple[np.ndarray | None, list[str], list[int | None]]:
    """Quality columns (Q, N) of one part, their names, and the system that each measures.

    ``std`` (S, N) is of the score files. The duration is the utterances' own: no system's (None).

    Raises
    ------
    UserError
        For a measure whose files are missing or do not hold all utterances, and for embeddings of
        zeros, which no cosine can be taken of.
    """
    if not quality:
        return None, [], []
    columns, names = [], []
    owners: list[int | None] = []

    def add(name: str, values: np.ndarray, owner: int | None) -> None:
        columns.append(quality_columns(values, trials.enrol, trials.test))
        names.extend([f"{name} (smaller side)", f"{name} (larger side)"])
        owners.extend([owner, owner])

    if "duration" in quality:
        unknown = [utterance for utterance in trials.ids if utterance not in durations]
        if unknown:
            where = " and ".join(map(str, speaker_files)) or "no manifest was given"
            raise UserError(
                f"quality measure 'duration': {len(unknown)} utterances have no duration "
                f"({where}): {some(unknown)}"
            )
        add("log duration", log_durations(np.array([durations[u] for u in trials.ids])), None)
    if "uncertainty" in quality:
        if std is None:
            raise UserError(
                "quality measure 'uncertainty': not every score file has standard deviations; its "
                "lines must be 'enrol test label score std'"
            )
        # Of the score itself, not of a side: one column a system.
        columns.append(std)
        names += [f"standard deviation {system.name}" for system in systems]
        owners += range(len(systems))
    if {"magnitude", "cohort"} & set(quality) and len(embeddings) != len(systems):
        raise UserError(
            "quality measures 'magnitude' and 'cohort' need the embeddings of every system"
        )
    for n, (system, found) in enumerate(zip(systems, embeddings, strict=False)):
        if not {"magnitude", "cohort"} & set(quality):
            break
        rows = found.index(trials.ids, f"the embeddings of {system.name}")
        vectors = found.vectors[rows]  # (U, D)
        if "magnitude" in quality:
            add(f"magnitude {system.name}", magnitudes(vectors), n)
        if "cohort" in quality:
            if system.cohort is None:
                raise UserError(f"quality measure 'cohort': {system.name} has no cohort embeddings")
            cohort = read_embeddings(system.cohort)
            _refuse_zeros(trials.ids, vectors, f"the embeddings of {system.name}")
            _refuse_zeros(cohort.ids, cohort.vectors, system.cohort)
            if own := cohort.held(found, trials.ids):
                raise UserError(
                    f"{system.cohort}: {len(own)} of the cohort are utterances of the trials: "
                    f"{some(own)}; give a cohort of other speakers"
                )
            means = cohort_means(vectors, cohort.vectors, cohort_top)
            add(f"cohort mean {system.name}", means, n)
    return np.concatenate(columns), names, owners


def _refuse_zeros(ids: Sequence[str], vectors: np.ndarray, where: str) -> None:
    zeros = [ids[row] for row in np.flatnonzero(~vectors.any(axis=1)).tolist()]
    if zeros:
        raise UserError(
            f"{where}: {len(zeros)} embeddings are all zeros, so the quality measure 'cohort' has "
            f"no cosine of them: {some(zeros)}; embed these again, or leave the measure out"
        )
