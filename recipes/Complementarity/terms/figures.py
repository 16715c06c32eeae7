"""One row's figures: AS-normed scores, calibrated fusion, errors, and how alike the members are."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import norm

from acorl_sb import metrics
from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.fusion.subsets import score_correlations
from acorl_sb.metrics.bootstrap import Measure, speaker_bootstrap
from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.normalise import AdaptiveSNorm
from acorl_sb.utils.files import atomic_path, write_json
from terms import sets

TOP = 200  # cohort speakers of an utterance in AS-norm
PRIOR = 0.05  # at which the fusion is calibrated
REPLICATES = 1000


@functools.lru_cache(maxsize=16)
def side(data: Path, part: str, name: str) -> TrialSet:
    return sets.read_set(data, part, name)


def scores(own: Path, part: str, name: str, condition: str) -> np.ndarray:
    """A member's scores (N,) of a set under a condition, after AS-norm; kept as float32."""
    path = own / "scores" / part / f"{name}, {condition}.npz"
    if not path.is_file():
        made = normed(own, own.parents[1] / "data", part, name, condition)
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, scores=made.astype(np.float32))
    return np.load(path)["scores"].astype(np.float64)


def normed(own: Path, data: Path, part: str, name: str, condition: str) -> np.ndarray:
    """Cosine, then AS-norm against the training speakers' means."""
    cosine, trials = Cosine(), side(data, part, name)
    cohort = read_manifest(data / "cohort.csv")
    _, groups = np.unique([u.spk_id for u in cohort], return_inverse=True)
    embedded = torch.from_numpy(np.load(own / "embeddings" / "cohort.npy").astype(np.float32))
    means = cosine.average(cosine.prepare(embedded), torch.from_numpy(groups))
    z = np.load(own / "embeddings" / part / f"{name}, {condition}.npy").astype(np.float32)
    z = cosine.prepare(torch.from_numpy(z))
    enrol, test = torch.from_numpy(trials.enrol), torch.from_numpy(trials.test)
    raw = cosine.sides(z, z).trials(enrol, test).double()
    return AdaptiveSNorm(min(TOP, len(means)))(raw, enrol, test, cosine, means, z, z).numpy()


def row_figures(folder: Path, seed: int, name: str, members: Sequence[str], part: str) -> dict:
    """Figures of a row on all sets and conditions of a part; kept as JSON and replicates.

    The fusion is calibrated on the development sets together, clean. ``eer`` of each member and of
    the fusion, ``min_dcf`` (0.01) and ``cllr`` of the fusion, and the ``correlation`` of the first
    and the last member's target and non-target scores.
    """
    path = row_file(folder, name, seed, part)
    data, own = folder / "data", [folder / f"seed{seed}" / member for member in members]

    def stacked(part: str, name: str, condition: str) -> np.ndarray:
        return np.stack([scores(one, part, name, condition) for one in own])

    dev = [(stacked("dev", n, "clean"), side(data, "dev", n)) for n in sets.SETS["dev"]]
    fusion = LogisticFusion(PRIOR).fit(
        np.concatenate([s for s, _ in dev], 1),
        np.concatenate([d.trials.labels for _, d in dev]),
    )
    figures, replicates = {}, {}
    for condition in sets.SCREENED if part == "dev" else sets.CONDITIONS:
        for set_name in sets.SETS[part]:
            key = f"{set_name}, {condition}"
            trials = side(data, part, set_name)
            systems = stacked(part, set_name, condition)
            labels, fused = trials.trials.labels, fusion(systems)
            alike = score_correlations(systems[[0, -1]], labels)
            figures[key] = {
                "members": [float(metrics.eer(s, labels)) for s in systems],
                "fused": float(metrics.eer(fused, labels)),
                "min_dcf": float(metrics.min_dcf(fused, labels, 0.01)),
                "cllr": float(metrics.cllr(fused, labels)),
                "correlation": [float(alike[kind][0, 1]) for kind in ("target", "nontarget")],
            }
            replicates |= draws(fused, trials, key)
    with atomic_path(path.with_suffix(".npz")) as temporary:
        np.savez_compressed(temporary, **replicates)
    write_json(path, figures)
    return figures


def row_file(folder: Path, name: str, seed: int, part: str) -> Path:
    """Where the figures of a row are kept; their replicates beside them, ``.npz``."""
    return folder / "figures" / f"seed{seed}" / part / f"{name}.json"


def draws(fused: np.ndarray, trials: TrialSet, key: str) -> dict[str, np.ndarray]:
    """EER (R,) over draws of speakers, the same for every system on these trials.

    Under ``key``; clean, where the fusion is calibrated, also the Cllr, under ``key, cllr``.
    """
    measures = {key: Measure("eer")}
    if key.endswith(", clean"):
        measures[f"{key}, cllr"] = Measure("cllr")
    speaker = np.array([u.spk_id for u in trials.utterances])
    values = speaker_bootstrap(
        fused,
        trials.trials.labels,
        speaker[trials.enrol],
        speaker[trials.test],
        list(measures.values()),
        REPLICATES,
    )
    return {name: values[str(m)][0].astype(np.float32) for name, m in measures.items()}


def weights(data: Path, part: str) -> dict[str, float]:
    """Of each set: its share of the speakers with target trials."""
    found = counts(data, part)
    return {name: count / sum(found.values()) for name, count in found.items()}


def counts(data: Path, part: str) -> dict[str, int]:
    """Of each set: its speakers with target trials."""
    return {name: len(sets.target_speakers(side(data, part, name))) for name in sets.SETS[part]}


def strength(eer: float | np.ndarray) -> float | np.ndarray:
    """d' of an EER."""
    return -2 * norm.ppf(np.clip(eer, 1e-4, 0.5))
