"""Figures by group of speakers over the seeds, with intervals, tests and fairness."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from acorl_sb.analysis.group_calibration import LEAST_SPEAKERS, GroupCalibration, groups_of
from acorl_sb.analysis.group_errors import GroupSettings, judge_trials
from acorl_sb.data.attributes import group_order
from acorl_sb.metrics import eer_threshold
from acorl_sb.metrics.fairness import bootstrap_p, gini, holm
from acorl_sb.utils.tables import number
from students.systems import PRIOR, REPLICATES, Systems, over_seeds, told

Figures = dict[str, dict[str, np.ndarray]]  # group -> figure -> (1 + R,) of over_seeds
POINT = 0.05


def figures(
    systems: Systems,
    attribute: str,
    llrs: Callable[[int], tuple[np.ndarray, float]],
) -> Figures:
    """EER, FMR, FNMR, actDCF and Cllr of every group's own test trials.

    Arguments
    ---------
    systems : Systems
    attribute : column of the manifests; numbers in bands. Groups too small are left out.
    llrs : callable(seed) -> (LLRs of the test trials, threshold of FMR and FNMR)
    """
    enrol, test = systems.sides["test"].speakers
    left, right = (groups_of(side, group_of(systems, attribute)) for side in (enrol, test))
    found: Figures = {}
    for place, name in enumerate(sorted({*left.tolist()} - {""}, key=group_order)):
        inside = (left == name) & (right == name)
        if len(np.union1d(enrol[inside], test[inside])) < LEAST_SPEAKERS:
            continue
        rows: dict[str, list[np.ndarray]] = {}
        for seed in systems.seeds:
            scores, threshold = llrs(seed)
            settings = GroupSettings(threshold, llrs=True, points=(POINT,), replicates=REPLICATES)
            trials = (scores, systems.labels("test"), enrol, test)
            # One seed for all systems, another for each group: they share no speaker.
            judged = judge_trials(*(side[inside] for side in trials), settings, 1 + place)
            for figure, value in judged.figures.items():
                drawn = judged.replicates[figure]
                rows.setdefault(figure, []).append(np.append(value, drawn))
        found[name] = {figure: over_seeds(np.stack(row)) for figure, row in rows.items()}
    return found


def group_of(systems: Systems, attribute: str) -> dict[str, str]:
    """Speaker -> group, of all speakers of the trials."""
    names = sorted({str(n) for side in systems.sides.values() for n in np.unique(side.speakers)})
    return dict(zip(names, systems.known.groups(attribute, names), strict=True))


def calibrated(
    systems: Systems, name: str, attribute: str, strength: float
) -> Callable[[int], tuple[np.ndarray, float]]:
    """LLRs and threshold of a system under group-wise calibration at a strength.

    ``strength`` times the LLR of the trial's group's map, and the rest of that of the common map:
    0 is the common map alone, 1 what ``acorl groups --calibrate_by`` does. The threshold is the
    EER threshold of the development trials.
    """

    def llrs(seed: int) -> tuple[np.ndarray, float]:
        scores, mixed = systems.scores[name][seed], {}
        calibration = GroupCalibration(group_of(systems, attribute), PRIOR)
        calibration.fit(
            scores["dev"], systems.labels("dev"), np.stack(systems.sides["dev"].speakers)
        )
        for part in ("dev", "test"):
            speakers = np.stack(systems.sides[part].speakers)
            own, common = calibration(scores[part], speakers), calibration.common(scores[part])
            mixed[part] = strength * own + (1 - strength) * common
        return mixed["test"], eer_threshold(mixed["dev"], systems.labels("dev"))

    return llrs


def rows(found: Figures, speakers: dict[str, int]) -> list[list[str]]:
    """Table rows, a group each: its figures, and its EER against all others' mean, tested.

    p-values are adjusted for the number of groups by Holm's method; two groups are one comparison.
    """
    names = list(found)
    apart = {}
    for name in names:
        others = [found[other]["eer"] for other in names if other != name]
        apart[name] = found[name]["eer"] - np.mean(others, 0)
    raw = [bootstrap_p(apart[name][1:]) for name in names]
    adjusted = holm(raw) if len(names) > 2 else raw
    made = []
    for name, p in zip(names, adjusted, strict=True):
        own = found[name]
        made.append(
            [name, str(speakers[name])]
            + [told(own[figure]) for figure in ("eer", "fmr", "fnmr")]
            + [told(own[figure], 1, 3) for figure in (f"act_dcf({POINT:g})", "cllr")]
            + [told(apart[name], sign="+"), number(p)]
        )
    return made


def spread(found: Figures, figure: str) -> np.ndarray:
    """Gini coefficient of a figure's groups, (1 + R,)."""
    return gini(np.stack([own[figure] for own in found.values()]))


def garbe(found: Figures) -> np.ndarray:
    """Mean of the Gini coefficients of FMR and FNMR, (1 + R,)."""
    return (spread(found, "fmr") + spread(found, "fnmr")) / 2
