"""Quality measures of trials (duration, magnitude, cohort, uncertainty), as fusion columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acorl_sb.data.embeddings import Embeddings, read_embeddings
from acorl_sb.data.lines import some
from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.systems import System
from acorl_sb.utils.errors import UserError


def quality_columns(
    values: np.ndarray, enrol: np.ndarray, test: np.ndarray, symmetric: bool = True
) -> np.ndarray:
    """Two columns per trial from one measure per utterance: (U,), (N,), (N,) -> (2, N).

    ``symmetric``: the smaller and the larger of both sides, so that swapping the sides of a trial
    leaves its fused score alone (Thienpondt et al., "The IDLAB VoxSRC-20 submission", 2021);
    otherwise enrolment side, then test side.
    """
    values = np.asarray(values, dtype=np.float64)
    left, right = values[enrol], values[test]
    if symmetric:
        return np.stack([np.minimum(left, right), np.maximum(left, right)])
    return np.stack([left, right])


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


def cohort_means(
    vectors: np.ndarray, cohort: np.ndarray, top: int = 100, block: int = 1024
) -> np.ndarray:
    """Mean cosine of each embedding to its ``top`` nearest cohort members: (U, D), (M, D) -> (U,).

    High for an utterance that is close to many voices, where a high score proves less. Works in
    blocks of ``block`` utterances, so memory is block times M.
    """
    vectors, cohort = unit_length(vectors), unit_length(cohort)
    top = min(int(top), len(cohort))
    if top < 1:
        raise UserError("the cohort is empty, or top is less than 1")
    means = np.empty(len(vectors))
    for first in range(0, len(vectors), block):
        cosine = vectors[first : first + block] @ cohort.T  # (block, M)
        means[first : first + block] = np.partition(cosine, -top, axis=1)[:, -top:].mean(1)
    return means


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
) -> tuple[np.ndarray | None, list[str]]:
    """Quality columns (Q, N) of one part and their names; ``std`` (S, N) is of the score files."""
    if not quality:
        return None, []
    columns, names = [], []

    def add(name: str, values: np.ndarray) -> None:
        columns.append(quality_columns(values, trials.enrol, trials.test))
        names.extend([f"{name} (smaller side)", f"{name} (larger side)"])

    if "duration" in quality:
        unknown = [utterance for utterance in trials.ids if utterance not in durations]
        if unknown:
            where = " and ".join(map(str, speaker_files)) or "no manifest was given"
            raise UserError(
                f"quality measure 'duration': {len(unknown)} utterances have no duration "
                f"({where}): {some(unknown)}"
            )
        add("log duration", log_durations(np.array([durations[u] for u in trials.ids])))
    if "uncertainty" in quality:
        if std is None:
            raise UserError(
                "quality measure 'uncertainty': not every score file has standard deviations; its "
                "lines must be 'enrol test label score std'"
            )
        # Of the score itself, not of a side: one column a system.
        columns.append(std)
        names += [f"standard deviation {system.name}" for system in systems]
    if {"magnitude", "cohort"} & set(quality) and len(embeddings) != len(systems):
        raise UserError(
            "quality measures 'magnitude' and 'cohort' need the embeddings of every system"
        )
    for system, vectors in zip(systems, embeddings, strict=False):
        if not {"magnitude", "cohort"} & set(quality):
            break
        rows = vectors.index(trials.ids, f"the embeddings of {system.name}")
        if "magnitude" in quality:
            add(f"magnitude {system.name}", magnitudes(vectors.vectors[rows]))
        if "cohort" in quality:
            if system.cohort is None:
                raise UserError(f"quality measure 'cohort': {system.name} has no cohort embeddings")
            cohort = read_embeddings(system.cohort).vectors
            means = cohort_means(vectors.vectors[rows], cohort, cohort_top)
            add(f"cohort mean {system.name}", means)
    return np.concatenate(columns), names


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """bar(v) = v / |v| for each row of (U, D), float64.

    Raises
    ------
    UserError
        For a row that is zero or not finite, so that it has no direction.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(bad):
        raise UserError(
            f"{len(bad)} of {len(vectors)} embeddings are zero or not finite, "
            f"first row number {bad[0] + 1}"
        )
    return vectors / norms
