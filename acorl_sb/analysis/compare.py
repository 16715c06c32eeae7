"""All measures of similarity of a pair, all attribute readings of a member, as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from acorl_sb import metrics
from acorl_sb.analysis import attribute_probes, decisions, probes
from acorl_sb.analysis import representations as similarity
from acorl_sb.data.manifest import Utterance
from acorl_sb.fusion.models import MeanZNorm
from acorl_sb.fusion.subsets import error_overlap, score_correlations, wrong_decisions


def compare_embeddings(
    first: torch.Tensor,
    second: torch.Tensor,
    speakers: np.ndarray,
    folds: int = 5,
    probe_steps: int = 600,
    seed: int = 0,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """CKA, canonical correlations and probes, on whole embeddings and within speakers.

    first (N, D), second (N, E), unit length, speakers (N,). ``within_speaker`` is None where no
    two speakers have two utterances each. ``tick`` is called after each of the four probes.
    """
    found: dict[str, Any] = _linear_measures(first, second, speakers, folds, seed)
    readings = {}
    for key, source, goal in (
        ("second_from_first", first, second),
        ("first_from_second", second, first),
    ):
        linear = probes.linear_r2(source, goal, speakers, folds, seed)
        tick()
        mlp = probes.mlp_r2(source, goal, speakers, folds, steps=probe_steps, seed=seed)
        tick()
        readings[key] = {"linear": linear._asdict(), "mlp": mlp._asdict()}
    found["r2"] = readings
    counts = np.unique(speakers, return_counts=True)[1]
    found["within_speaker"] = None
    if (counts > 1).sum() >= 2:
        (x, owners), (y, _) = (similarity.within_speaker(z, speakers) for z in (first, second))
        if len(x) >= 4:
            found["within_speaker"] = _linear_measures(x, y, owners, folds, seed)
            found["within_speaker"]["r2"] = {
                "second_from_first": probes.linear_r2(x, y, owners, folds, seed)._asdict(),
                "first_from_second": probes.linear_r2(y, x, owners, folds, seed)._asdict(),
            }
    return found


def _linear_measures(x, y, speakers, folds, seed) -> dict[str, Any]:
    canonical = similarity.canonical_correlations(x, y, speakers, folds, seed=seed)
    return {
        "cka": similarity.linear_cka(x, y),
        "canonical_mean": canonical.mean,
        "canonical_spectrum": canonical.spectrum.tolist(),
    }


def compare_scores(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Correlation of scores, common errors, Yule's Q and oracles: scores and labels (N,)."""
    stacked = np.stack([first, second])
    correlation = score_correlations(stacked, labels)
    pooled = error_overlap(stacked, labels)
    wrong = [wrong_decisions(row, labels) for row in stacked]
    fused = MeanZNorm().fit(stacked)(stacked)
    return {
        "correlation": {kind: float(table[0, 1]) for kind, table in correlation.items()},
        "error_overlap": {
            "share": float(pooled["share"][0, 1]),
            "expected": float(pooled["expected"][0, 1]),
            "misses": decisions.errors_of_class(wrong[0][labels], wrong[1][labels])._asdict(),
            "false_alarms": decisions.errors_of_class(
                wrong[0][~labels], wrong[1][~labels]
            )._asdict(),
        },
        "eer": {
            "first": metrics.eer(first, labels),
            "second": metrics.eer(second, labels),
            "mean_of_both": metrics.eer(fused, labels),
        },
        "bounds": decisions.oracle_bounds(first, second, labels)._asdict(),
    }


def read_out_attributes(
    vectors: torch.Tensor,
    utterances: Sequence[Utterance],
    known: dict[str, list[str]],
    folds: int = 5,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """How well a linear probe reads ``known`` attributes, session and duration: name -> reading.

    vectors (N, D); ``known`` maps attributes to (N,) texts, empty where unknown, all of them
    numbers or else of two kinds. A reading has ``measure`` (``auc`` or ``r2``), ``value``,
    ``low``, ``high``, and ``utterances`` and ``speakers``, the numbers of those it rests on.
    Attributes that are not known, or do not vary, are left out, and sessions where fewer than
    ``attribute_probes.LEAST_SPEAKERS`` speakers tell anything of them.
    """
    speakers = np.array([u.spk_id for u in utterances])
    made = {}
    for name, values in known.items():
        reading = _read_out(vectors, np.array(values), speakers, folds, seed)
        if reading:
            made[name] = reading
    sessions = np.array([u.session for u in utterances])
    session = attribute_probes.session_probe(vectors, sessions, speakers, folds, seed=seed)
    if session:
        made["session"] = _reading("auc", session.reading, speakers[session.rows])
    seconds = np.log([u.duration for u in utterances])
    if np.ptp(seconds) > 0:
        duration = attribute_probes.value_probe(vectors, seconds, speakers, folds, seed)
        made["log duration"] = _reading("r2", duration, speakers)
    return made


def _read_out(vectors, values, speakers, folds, seed) -> dict[str, Any] | None:
    known = values != ""
    values, speakers = values[known], speakers[known]
    kinds = sorted(set(values))
    if len(kinds) < 2 or len(set(speakers)) < 2:
        return None
    rows = vectors[torch.from_numpy(np.flatnonzero(known)).to(vectors.device)]
    numbers = as_numbers(values)
    if numbers is not None:
        return _reading(
            "r2", attribute_probes.value_probe(rows, numbers, speakers, folds, seed), speakers
        )
    if len(kinds) > 2:
        raise ValueError(f"values must be numbers or of two kinds, not {', '.join(kinds[:3])} ...")
    try:
        reading = attribute_probes.class_probe(rows, values == kinds[1], speakers, folds, seed)
    except ValueError:
        return None  # too few speakers of one kind to hold any out
    return _reading("auc", reading, speakers)


def as_numbers(values: Sequence[str]) -> np.ndarray | None:
    """Texts as finite numbers (N,), or None where one of them is none."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _reading(measure: str, reading: probes.Reading, speakers: np.ndarray) -> dict[str, Any]:
    return {
        "measure": measure,
        **reading._asdict(),
        "utterances": len(speakers),
        "speakers": len(set(speakers)),
    }


def without_nan(value: Any) -> Any:
    """Nested dictionaries, sequences and numbers fit for JSON: NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, np.ndarray):
        return without_nan(value.tolist())
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
