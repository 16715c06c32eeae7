"""Attribution maps of many trials summed up: one member's numbers, and two members compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from acorl_sb.analysis import attribution, maps
from acorl_sb.analysis.attributed_trials import SHARES, MemberMaps
from acorl_sb.analysis.crop_trials import CropTrials
from acorl_sb.analysis.folds import trial_mean


def summarise_member(made: MemberMaps, sides: CropTrials, seed: int = 0) -> dict[str, Any]:
    """One member's numbers: completeness, profiles, deletion with its verdict, occlusion check."""
    cells = made.found.maps.numpy()
    rise = (made.found.score - made.found.neutral).numpy()
    gap = np.abs(made.found.gap.numpy())
    labels = sides.labels
    profile = maps.frequency_profile(cells)
    names = {"target": labels, "non-target": ~labels, "all": np.ones_like(labels)}
    drops, rows = made.drops, made.rows

    def gain(reference: str, chosen: np.ndarray) -> dict[str, float]:
        difference = (drops["map"] - drops[reference])[chosen]
        speakers = sides.own[rows][chosen], sides.others[rows][chosen]
        figures = trial_mean(difference, *speakers, seed)
        return dict(zip(("value", "low", "high"), figures, strict=True))

    over_random = {name: gain("random", part[rows]) for name, part in names.items()}
    over_other = {name: gain("another trial's map", part[rows]) for name, part in names.items()}
    return {
        "score": {
            name: float(made.found.score.numpy()[part].mean()) for name, part in names.items()
        },
        "neutral_score": float(made.found.neutral.mean()),
        "completeness": {
            "mean_rise": float(np.abs(rise).mean()),
            "mean_gap": float(gap.mean()),
            "largest_gap": float(gap.max()),
            "relative_gap": float(gap.sum() / max(np.abs(rise).sum(), 1e-12)),
        },
        "frequency": {
            "hertz": made.hertz,
            **{name: np.nanmean(profile[part], 0) for name, part in names.items()},
        },
        "time": {
            name: {
                kind: share._asdict()
                for kind, share in maps.time_profile(cells[part], made.classes[part]).items()
            }
            for name, part in names.items()
        },
        "deletion": {
            "shares": list(SHARES),
            "score": float(made.found.score.numpy()[rows].mean()),
            "curves": {name: curve.mean(0) for name, curve in made.curves.items()},
            "curves_target": {
                name: curve[labels[rows]].mean(0) for name, curve in made.curves.items()
            },
            "score_target": float(made.found.score.numpy()[rows][labels[rows]].mean()),
            "drop": {name: float(drop.mean()) for name, drop in drops.items()},
            "over_random": over_random,
            "over_another_trial": over_other,
            "worthless": not over_random["all"]["low"] > 0,
            "specific": over_other["all"]["low"] > 0,
        },
        "occlusion": {
            "rank_correlation": float(np.nanmean(made.blocks)),
            "sides": len(made.blocks),
        },
    }


def compare_maps(
    first: MemberMaps,
    second: MemberMaps,
    sides: CropTrials,
    neighbourhood: tuple[int, int] = (5, 3),
    seed: int = 0,
) -> tuple[dict[str, Any], maps.Overlap]:
    """Overlap of two members' maps: figures by class of trial, and the values they come from."""
    contrast = second.features - attribution.neutral(second.features)
    values = maps.overlap(
        first.found.maps.numpy(),
        second.found.maps.numpy(),
        contrast.numpy(),
        sides.elsewhere,
        neighbourhood,
    )
    labels = sides.labels
    names = {"target": labels, "non-target": ~labels, "all": np.ones_like(labels)}
    made: dict[str, Any] = {}
    for name, part in names.items():
        made[name] = {
            key: _mean(getattr(values, key)[part], sides, part, seed) for key in values._fields
        }
    return made, values


def less_alike(
    examined: maps.Overlap, reference: maps.Overlap, sides: CropTrials, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Overlap of the examined pair minus that of the reference pair, on the same sides."""
    everything = np.ones_like(sides.labels)
    return {
        key: _mean(getattr(examined, key) - getattr(reference, key), sides, everything, seed)
        for key in ("rank", "top")
    }


def _mean(values: np.ndarray, sides: CropTrials, part: np.ndarray, seed: int) -> dict[str, float]:
    figures = trial_mean(values, sides.own[part], sides.others[part], seed)
    return dict(zip(("value", "low", "high"), figures, strict=True))
