"""One pair's figures: errors of both members and of their fusion, and how alike the members are."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from acorl_sb import corpora, metrics
from acorl_sb.analysis.probes import mlp_r2
from acorl_sb.analysis.representations import linear_cka
from acorl_sb.data.embeddings import read_embeddings
from acorl_sb.data.trial_set import TrialSet, read_trial_set
from acorl_sb.fusion.models import MeanZNorm
from acorl_sb.fusion.subsets import error_overlap, score_correlations
from acorl_sb.scoring.backends.cosine import cosine_trial_scores
from pairs.conditions import Condition

P_TARGET = 0.01


class Pair(NamedTuple):
    """Two members by the folders of their embeddings under all conditions."""

    first: Path
    second: Path


@functools.lru_cache(maxsize=4)
def side(manifests: Path, part: str) -> TrialSet:
    """The development or test trials of a run's manifests."""
    return read_trial_set(
        corpora.read_manifest(manifests / f"{part}.csv"), manifests / f"{part}_trials.txt"
    )


@functools.lru_cache(maxsize=64)
def scores(member: Path, condition: str, part: str, manifests: Path) -> np.ndarray:
    """A member's cosine scores (N,) of all trials under a condition."""
    return cosine_trial_scores(side(manifests, part), vectors(member, condition, part))


def vectors(member: Path, condition: str, part: str) -> np.ndarray:
    return read_embeddings(member / condition / part).vectors


def fused(pair: Pair, condition: str, part: str, main: str, manifests: Path) -> np.ndarray:
    """Mean of z-normalised scores (N,); means and spreads are of the clean development trials."""
    stacked = [
        np.stack([scores(member, *which, manifests) for member in pair])
        for which in ((main, "dev"), (condition, part))
    ]
    return MeanZNorm().fit(stacked[0])(stacked[1])


def measure(pair: Pair, conditions: Sequence[Condition], manifests: Path) -> dict[str, Any]:
    """All figures of a pair, as plain numbers; errors are fractions.

    ``dev`` and ``test`` hold the figures under the first condition; ``conditions`` the errors of
    both members and the fusion on the test trials under each.
    """
    main = conditions[0].name
    made: dict[str, Any] = {}
    for part in ("dev", "test"):
        labels = side(manifests, part).trials.labels
        stacked = np.stack([scores(member, main, part, manifests) for member in pair])
        both = fused(pair, main, part, main, manifests)
        correlation = score_correlations(stacked, labels)
        made[part] = {
            **_errors(stacked, both, labels),
            "first_min_dcf": metrics.min_dcf(stacked[0], labels, P_TARGET),
            "second_min_dcf": metrics.min_dcf(stacked[1], labels, P_TARGET),
            "fused_min_dcf": metrics.min_dcf(both, labels, P_TARGET),
            "correlation_target": float(correlation["target"][0, 1]),
            "correlation_nontarget": float(correlation["nontarget"][0, 1]),
            "error_overlap": float(error_overlap(stacked, labels)["share"][0, 1]),
        }
    v, z = (torch.from_numpy(vectors(member, main, "test")) for member in pair)
    v, z = (torch.nn.functional.normalize(x, dim=-1) for x in (v, z))
    speakers = np.array([u.spk_id for u in side(manifests, "test").utterances])
    made["test"]["cka"] = linear_cka(v, z)
    made["test"]["r2_of_probe"] = mlp_r2(z, v, speakers).value
    labels = side(manifests, "test").trials.labels
    made["conditions"] = {
        c.name: _errors(
            np.stack([scores(member, c.name, "test", manifests) for member in pair]),
            fused(pair, c.name, "test", main, manifests),
            labels,
        )
        for c in conditions
    }
    return made


def _errors(stacked: np.ndarray, both: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {
        "first": metrics.eer(stacked[0], labels),
        "second": metrics.eer(stacked[1], labels),
        "fused": metrics.eer(both, labels),
    }
