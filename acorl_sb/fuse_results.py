"""From aligned scores to all that ``fuse.py`` reports: figures, intervals, curves, models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from acorl_sb import bootstrap, calibration, contribution, metrics, resampling
from acorl_sb.bootstrap import Measure
from acorl_sb.fuse_inputs import Inputs
from acorl_sb.protocol import CrossValidation, DevTest, FusedSystem, Outcome, Recipe, ScoreSet
from acorl_sb.report import curves as drawn

LABELS = {
    "best_single": "best single",
    "mean_znorm": "mean of z-norm",
    "logistic": "logistic fusion",
}


@dataclass(frozen=True)
class Settings:
    """What is computed: the recipe of the fused system, cost points, intervals, subsets, folds."""

    recipe: Recipe
    points: tuple[float, ...] = (0.01, 0.05)
    c_miss: float = 1.0
    c_fa: float = 1.0
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0
    folds: int = 5
    exhaustive: int = 8


@dataclass(frozen=True)
class Evaluated:
    """``results`` is plain, for JSON; ``curves`` is what the figures are drawn from.

    ``fused`` holds, by part, the LLRs of the fused system; ``model`` is the system to keep.
    """

    results: dict[str, Any]
    curves: dict[str, Any]
    fused: dict[str, np.ndarray]
    model: FusedSystem


def dcf_name(p_target: float) -> str:
    """Name of a cost point's figure: ``min_dcf(0.01)``."""
    return f"min_dcf({p_target:g})"


def make_protocol(inputs: Inputs, settings: Settings) -> DevTest | CrossValidation:
    """Development and test where both are there, else cross-validation of the one set."""
    return _protocol_of({name: part.set for name, part in inputs.parts.items()}, settings)


def _protocol_of(sets: dict[str, ScoreSet], settings: Settings) -> DevTest | CrossValidation:
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
    if protocol.kind == "dev_test":
        dev = protocol.dev
        fused["dev"] = chosen.model(dev.scores, dev.quality)
    results: dict[str, Any] = {
        "protocol": _protocol(protocol, inputs, settings),
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
    if reported.labels is None:
        return Evaluated(results, {}, fused, chosen.model)

    outcomes = _outcomes(protocol, inputs, settings, chosen)
    resample, method = _resampler(reported, settings)
    rows, replicates = [], {}
    for (kind, name), outcome in outcomes.items():
        progress(f"judge {name}")
        row = {"name": name, "kind": kind, **_figures(outcome, reported.labels, settings)}
        known = (n for k, n in outcomes if n in replicates and k == "member")
        same = next((n for n in known if _equal(outcomes["member", n], outcome)), None)
        replicates[name] = replicates[same] if same else resample(outcome.score)
        row["intervals"] = _intervals(replicates[name], settings.level)
        row["dev_eer"] = _selection_eer(outcome) if protocol.kind == "dev_test" else None
        rows.append(row)
    best = min((row for row in rows if row["kind"] == "member"), key=_choice)
    for row in rows:
        row["against_best"] = _difference(row, best, replicates, settings)
    results["best_member"] = best["name"]
    results["fused_name"] = (
        LABELS[recipe.fusion] if ("fusion", LABELS[recipe.fusion]) in outcomes else names[0]
    )
    results["table"] = rows
    results["intervals"] = {
        "level": settings.level,
        "replicates": settings.replicates if replicates[names[0]] else 0,
        "method": method,
    }
    results["common_errors"] = {
        key: _plain(value)
        for key, value in contribution.common_errors(reported.scores, reported.labels).items()
    }
    results["correlation"] = {
        key: _plain(value)
        for key, value in contribution.score_correlations(reported.scores, reported.labels).items()
    }
    results["contributions"] = _contributions(
        protocol, inputs, settings, outcomes, rows, replicates, resample, progress
    )
    made = _curves(outcomes, reported.labels) if with_curves else {}
    return Evaluated(results, made, fused, chosen.model)


# ------------------------------------------------------------------------------------------------


def _protocol(protocol, inputs: Inputs, settings: Settings) -> dict[str, Any]:
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


def _outcomes(
    protocol, inputs: Inputs, settings: Settings, chosen: Outcome
) -> dict[tuple[str, str], Outcome]:
    """Every row of the table: (kind, name) -> outcome; members first."""
    recipe, names = settings.recipe, inputs.names
    single = replace(recipe, fusion="best_single")
    outcomes = {("member", name): protocol.run(single, (m,), names) for m, name in enumerate(names)}
    if len(names) > 1:
        for kind, label in LABELS.items():
            outcomes["fusion", label] = (
                chosen
                if kind == recipe.fusion
                else protocol.run(replace(recipe, fusion=kind), range(len(names)), names)
            )
        for label in next(iter(inputs.parts.values())).concatenated:
            parts = {
                name: replace(part.set, scores=part.concatenated[label][None], quality=None)
                for name, part in inputs.parts.items()
            }
            alone = _protocol_of(parts, settings)
            outcomes["fusion", label] = alone.run(single, (0,), [label])
    elif inputs.quality_names and recipe.fusion == "logistic":
        outcomes["fusion", LABELS[recipe.fusion]] = chosen
    return outcomes


def _figures(outcome: Outcome, labels: np.ndarray, settings: Settings) -> dict[str, Any]:
    made = metrics.evaluate(outcome.score, labels, settings.points, settings.c_miss, settings.c_fa)
    calibrated = metrics.sort_trials(outcome.llr, labels)
    costs = (settings.c_miss, settings.c_fa)
    return {
        "eer": made["eer"],
        "min_dcf": {f"{p:g}": made["min_dcf"][p] for p in settings.points},
        "act_dcf": {
            f"{p:g}": metrics.act_dcf(calibrated, None, p, *costs) for p in settings.points
        },
        "cllr": metrics.cllr(calibrated, None),
        "min_cllr": metrics.min_cllr(calibrated),
    }


def _named_figures(row: dict[str, Any], settings: Settings) -> dict[str, float]:
    return {
        "eer": row["eer"],
        **{dcf_name(p): row["min_dcf"][f"{p:g}"] for p in settings.points},
    }


def _equal(one: Outcome, other: Outcome) -> bool:
    return np.array_equal(one.score, other.score)


def _choice(row: dict[str, Any]) -> float:
    """What the best member is chosen by: development error where there is one."""
    return row["eer"] if row["dev_eer"] is None else row["dev_eer"]


def _selection_eer(outcome: Outcome) -> float:
    return metrics.eer(*outcome.selection)


def _difference(row, best, replicates, settings: Settings) -> dict[str, Any] | None:
    if row is best:
        return None
    made = {}
    mine, theirs = _named_figures(row, settings), _named_figures(best, settings)
    for name in mine:
        interval = None
        if replicates[row["name"]]:
            paired = replicates[row["name"]][name] - replicates[best["name"]][name]
            interval = [float(v) for v in bootstrap.interval(paired, settings.level)]
        made[name] = {"change": mine[name] - theirs[name], "interval": interval}
    return made


def _intervals(replicates: dict[str, np.ndarray], level: float) -> dict[str, list[float]]:
    return {
        name: [float(v) for v in bootstrap.interval(values, level)]
        for name, values in replicates.items()
    }


def _resampler(
    reported: ScoreSet, settings: Settings
) -> tuple[Callable[[np.ndarray], dict[str, np.ndarray]], str]:
    """A function from scores (N,) to bootstrap replicates by figure, and how they are made.

    It draws the same speakers for every system; where there can be no replicates it returns none.
    """
    if settings.replicates == 0:
        return lambda _: {}, "none: switched off"
    if reported.speaker is None:
        return lambda _: {}, "none: the speakers are not known"
    sides = reported.speaker[reported.trials.enrol], reported.speaker[reported.trials.test]
    draw = resampling.SpeakerResampler(reported.labels, *sides, settings.replicates, settings.seed)
    if min(np.mean(draw.n_target > 0), np.mean(draw.n_nontarget > 0)) < 0.9:
        return lambda _: {}, "none: too few speakers, most draws of them miss a class of trials"
    costs = (settings.c_miss, settings.c_fa)
    measures = {"eer": Measure("eer")}
    measures.update({dcf_name(p): Measure("min_dcf", p, *costs) for p in settings.points})

    def resample(scores: np.ndarray) -> dict[str, np.ndarray]:
        made = draw(scores, measures.values())
        return {name: made[str(measure)] for name, measure in measures.items()}

    method = (
        f"{settings.replicates} bootstrap draws of speakers, jointly on both sides of a trial, "
        "the same draws for every system"
    )
    return resample, method


def _contributions(
    protocol,
    inputs: Inputs,
    settings: Settings,
    outcomes: dict[tuple[str, str], Outcome],
    rows: Sequence[dict[str, Any]],
    replicates: dict[str, dict[str, np.ndarray]],
    resample: Callable,
    progress: Callable[[str], None],
) -> dict[str, Any] | None:
    names = inputs.names
    if len(names) < 2:
        return None
    labels = protocol.reported.labels
    # A fusion that picks one system has no parts to take away; its subsets are fused all the same.
    kind = settings.recipe.fusion if settings.recipe.fusion != "best_single" else "logistic"
    recipe = replace(settings.recipe, fusion=kind)
    by_name = {row["name"]: row for row in rows}

    def judge(subset: contribution.Subset) -> contribution.Judged:
        known = None
        if len(subset) == 1 and not inputs.quality_names:
            known = names[subset[0]]  # a rising map of one score ranks as the score does
        elif len(subset) == len(names):
            known = LABELS[kind]
        if known is not None:
            row = by_name[known]
            outcome = outcomes[row["kind"], known]
            figures, values = _named_figures(row, settings), replicates[known]
        else:
            progress(f"judge {contribution.named(subset, names)}")
            outcome = protocol.run(recipe, subset, names)
            made = metrics.evaluate(
                outcome.score, labels, settings.points, settings.c_miss, settings.c_fa
            )
            figures = {"eer": made["eer"]}
            figures.update({dcf_name(p): made["min_dcf"][p] for p in settings.points})
            values = resample(outcome.score)
        return contribution.Judged(_selection_eer(outcome), figures, values)

    made = contribution.contributions(len(names), judge, settings.exhaustive, settings.level)
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


def _curves(outcomes: dict[tuple[str, str], Outcome], labels: np.ndarray) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for (kind, name), outcome in outcomes.items():
        made[name] = {
            "kind": kind,
            "det": drawn.det_curve(outcome.score, labels),
            "histogram": drawn.histogram(outcome.llr, labels),
            "bayes": drawn.bayes_curve(outcome.llr, labels),
        }
    return made


def _plain(values: np.ndarray) -> list:
    """An array as nested lists, NaN as None."""
    if values.ndim > 1:
        return [_plain(row) for row in values]
    return [None if value != value else value for value in values.tolist()]
