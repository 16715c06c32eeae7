"""From aligned scores to all that ``fuse.py`` reports: figures, intervals, curves, models."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from acorl_sb import metrics
from acorl_sb.fusion import calibration
from acorl_sb.fusion import subsets as contribution
from acorl_sb.fusion.checks import FusionWarning
from acorl_sb.fusion.disagreement import Disagreement, judge_uncertainty, spread_of
from acorl_sb.fusion.judging import Resample, Row, Settings, dcf_name, judge_outcome, make_resampler
from acorl_sb.fusion.models import LABELS
from acorl_sb.fusion.score_inputs import Inputs
from acorl_sb.fusion.validation import (
    CrossValidation,
    DevTest,
    FusedSystem,
    Outcome,
    ScoreSet,
)
from acorl_sb.metrics.intervals import interval


@dataclass(frozen=True)
class Evaluated:
    """``results`` is plain, for JSON; ``curves`` is what the figures are drawn from.

    ``fused`` holds, by part, the LLRs of the fused system, ``std`` their standard deviations where
    they are asked for; ``model`` is the system to keep, ``spread`` what gives ``std``.
    """

    results: dict[str, Any]
    curves: dict[str, Any]
    fused: dict[str, np.ndarray]
    model: FusedSystem
    std: dict[str, np.ndarray] = field(default_factory=dict)
    spread: Disagreement | None = None


def make_protocol(inputs: Inputs, settings: Settings) -> DevTest | CrossValidation:
    """Development and test where both are there, else cross-validation of the one set."""
    return protocol_of({name: part.set for name, part in inputs.parts.items()}, settings)


def protocol_of(sets: dict[str, ScoreSet], settings: Settings) -> DevTest | CrossValidation:
    """As ``make_protocol``, from the sets alone."""
    if "scores" in sets:
        return CrossValidation(sets["scores"], settings.folds, settings.seed)
    return DevTest(sets["dev"], sets["test"])


def evaluate(
    inputs: Inputs,
    settings: Settings,
    with_curves: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> Evaluated:
    """Fit and judge every member, every fusion and every subset.

    Where the reported trials have no labels, only the fused scores and the model are made, and
    ``results["table"]`` is empty.
    """
    protocol = make_protocol(inputs, settings)
    recipe, names = settings.recipe, inputs.names
    everyone = tuple(range(len(names)))
    reported = protocol.reported
    progress(f"fit: {protocol.sentence}")

    chosen = protocol.run(recipe, everyone, names)
    fused = {"scores" if protocol.kind == "cross_validation" else "test": chosen.llr}
    if isinstance(protocol, DevTest):
        dev = protocol.dev
        fused["dev"] = chosen.model(dev.scores, dev.quality)
    results: dict[str, Any] = {
        "protocol": describe_protocol(protocol, inputs, settings),
        "systems": names,
        "quality": inputs.quality_names,
        "fusion": {
            "kind": recipe.fusion,
            "calibration": recipe.calibration,
            "prior": recipe.prior,
            "l2": recipe.l2,
            "parameters": _parameters(chosen.model, names, inputs.quality_names),
        },
        "decisions": calibration.decisions(
            [(p, settings.c_miss, settings.c_fa) for p in settings.points], chosen.model.calibration
        ),
        "cost_points": [
            {"p_target": p, "c_miss": settings.c_miss, "c_fa": settings.c_fa}
            for p in settings.points
        ],
        "table": [],
    }
    std, spread = spread_of(protocol, names, recipe.prior) if settings.uncertainty else ({}, None)
    if reported.labels is None:
        return Evaluated(results, {}, fused, chosen.model, std, spread)

    labels = reported.trials.known_labels
    resample, method = make_resampler(reported, settings)
    jobs = _jobs(protocol, inputs, settings, chosen)

    def judge(job: tuple[str, str]) -> Row:
        progress(f"judge {job[1]}")
        outcome = jobs[job]()
        if job[0] == "member" and getattr(outcome.model.calibration, "scale", 1.0) < 0:
            warnings.warn(
                f"{job[1]}: the lower its score, the more likely is one speaker; negate the scores "
                "if they are distances",
                FusionWarning,
                stacklevel=2,
            )
        return judge_outcome(outcome, labels, settings, resample, with_curves)

    with ThreadPoolExecutor(_workers(inputs)) as pool:
        made = dict(zip(jobs, pool.map(judge, jobs), strict=True))
        judged = {name: row for (_, name), row in made.items()}
        results["contributions"] = _contributions(
            protocol, inputs, settings, judged, resample, progress, pool.map
        )
    best = min(names, key=lambda name: judged[name].judged.selection)
    for kind, name in jobs:
        row = {"name": name, "kind": kind, **judged[name].figures}
        row["dev_eer"] = judged[name].judged.selection if protocol.kind == "dev_test" else None
        values = judged[name].judged.replicates
        row["intervals"] = {
            figure: list(interval(v, settings.level)) for figure, v in values.items()
        }
        row["against_best"] = (
            None
            if name == best
            else contribution.change(judged[best].judged, judged[name].judged, settings.level)
        )
        results["table"].append(row)
    results["best_member"] = best
    label = LABELS[recipe.fusion]
    results["fused_name"] = label if ("fusion", label) in jobs else names[0]
    results["intervals"] = {
        "level": settings.level,
        "replicates": settings.replicates if judged[best].judged.replicates else 0,
        "method": method,
    }
    results |= similarity(reported)
    curves = {name: {"kind": kind, **judged[name].curves} for kind, name in jobs if with_curves}
    if spread is not None:
        results["uncertainty"] = judge_uncertainty(protocol, fused, std)
    return Evaluated(results, curves, fused, chosen.model, std, spread)


# ------------------------------------------------------------------------------------------------


def describe_protocol(
    protocol: DevTest | CrossValidation, inputs: Inputs, settings: Settings
) -> dict[str, Any]:
    """What was fitted on what, in words and counts, for ``results.json``."""

    def counts(scored: ScoreSet) -> dict[str, int | None]:
        labels = scored.labels
        targets = None if labels is None else int(labels.sum())
        return {
            "trials": len(scored.trials),
            "target": targets,
            "nontarget": None if targets is None else len(scored.trials) - targets,
            "speakers": None if scored.speaker is None else len(np.unique(scored.speaker)),
        }

    made: dict[str, Any] = {
        "kind": protocol.kind,
        "sentence": protocol.sentence,
        "parts": {name: counts(part.set) for name, part in inputs.parts.items()},
        "speakers": inputs.speaker_source,
    }
    if protocol.kind == "cross_validation":
        made["folds"], made["seed"] = settings.folds, settings.seed
    else:
        made["shared_speakers"] = inputs.shared_speakers
    return made


def similarity(reported: ScoreSet) -> dict[str, Any]:
    """How alike the members are, ``error_overlap`` and ``correlation``, for ``results.json``."""
    scores, labels = reported.scores, reported.trials.known_labels
    overlap = contribution.error_overlap(scores, labels)
    correlation = contribution.score_correlations(scores, labels)
    return {
        "error_overlap": {key: _plain(value) for key, value in overlap.items()},
        "correlation": {key: _plain(value) for key, value in correlation.items()},
    }


def _workers(inputs: Inputs) -> int:
    """How many systems are fused and judged at a time: one where memory matters more than time."""
    trials = max(len(part.set.trials) for part in inputs.parts.values())
    return 1 if trials > 2_000_000 else min(2, os.cpu_count() or 1)


def _jobs(
    protocol, inputs: Inputs, settings: Settings, chosen: Outcome
) -> dict[tuple[str, str], Callable[[], Outcome]]:
    """Every row of the table, (kind, name), and how its outcome is made; members first."""
    recipe, names = settings.recipe, inputs.names
    everyone = range(len(names))
    single = replace(recipe, fusion="best_single")
    jobs: dict[tuple[str, str], Callable[[], Outcome]] = {}
    for member, name in enumerate(names):
        jobs["member", name] = partial(protocol.run, single, (member,), names)
    if len(names) == 1:
        if inputs.quality_names and recipe.fusion == "logistic":
            jobs["fusion", LABELS[recipe.fusion]] = lambda: chosen
        return jobs
    for kind, label in LABELS.items():
        make = partial(protocol.run, replace(recipe, fusion=kind), everyone, names)
        jobs["fusion", label] = (lambda: chosen) if kind == recipe.fusion else make
    for label in next(iter(inputs.parts.values())).concatenated:
        parts = {
            name: replace(part.set, scores=part.concatenated[label][None], quality=None)
            for name, part in inputs.parts.items()
        }
        alone = protocol_of(parts, settings)
        jobs["fusion", label] = partial(alone.run, single, (0,), [label])
    return jobs


def _contributions(
    protocol,
    inputs: Inputs,
    settings: Settings,
    known: dict[str, Row],
    resample: Resample,
    progress: Callable[[str], None],
    mapper: Callable,
) -> dict[str, Any] | None:
    names, labels = inputs.names, protocol.reported.labels
    if len(names) < 2:
        return None
    # A fusion that picks one system has no parts to take away; its subsets are fused all the same.
    kind = settings.recipe.fusion if settings.recipe.fusion != "best_single" else "logistic"
    recipe = replace(settings.recipe, fusion=kind)

    def judge(subset: contribution.Subset) -> contribution.Judged:
        if len(subset) == len(names):
            return known[LABELS[kind]].judged
        if len(subset) == 1 and isinstance(protocol, DevTest) and not inputs.quality_names:
            dev, targets = protocol.dev.scores[subset[0]], protocol.dev.trials.known_labels
            # Its one map then rises, so it ranks as its scores do.
            if dev[targets].mean() >= dev[~targets].mean():
                return known[names[subset[0]]].judged
        progress(f"judge {contribution.named(subset, names)}")
        outcome = protocol.run(recipe, subset, names)
        costs = (settings.c_miss, settings.c_fa)
        made = metrics.evaluate(outcome.score, labels, settings.points, *costs)
        figures = {"eer": made["eer"]}
        figures.update({dcf_name(p): made["min_dcf"][p] for p in settings.points})
        error = metrics.eer(*outcome.selection)
        return contribution.Judged(error, figures, resample(outcome.score, False))

    made = contribution.contributions(
        len(names), judge, settings.exhaustive, settings.level, mapper
    )
    made["fusion"] = kind
    return made


def _parameters(model: FusedSystem, names: Sequence[str], quality: Sequence[str]) -> dict[str, Any]:
    """The fitted numbers by the names of what they weigh."""
    state = model.fusion.state()
    made: dict[str, Any] = {"kind": state["kind"]}
    if state["kind"] == "logistic":
        columns = [*names, *quality][: len(state["weights"])]
        made["weights"] = dict(zip(columns, state["weights"], strict=True))
        made.update({key: state[key] for key in ("bias", "l2_used", "separable")})
    elif state["kind"] == "mean_znorm":
        made["mean"] = dict(zip(names, state["mean"], strict=True))
        made["std"] = dict(zip(names, state["std"], strict=True))
    else:
        made["chosen"] = names[state["index"]]
        made["errors"] = dict(zip(names, state["errors"], strict=True))
    if model.calibration is not None and model.calibration.kind == "linear":
        made["scale"], made["offset"] = model.calibration.scale, model.calibration.offset
    return made


def _plain(values: np.ndarray) -> list:
    """An array as nested lists, NaN and infinity as None."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [value if np.isfinite(value) else None for value in values.tolist()]
