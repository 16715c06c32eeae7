"""A finished run of ``train.py`` as ``fuse.py`` would report it: calibrated, with curves.

EER and minDCF, with their intervals, are those of the run's ``results.json``. The score files give
what is not in it: LLRs by a linear calibration fitted on the development trials, what deciding by
them costs, and the curves.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from acorl_sb.fusion import calibration
from acorl_sb.fusion.carry_over import carry_over_warnings
from acorl_sb.fusion.checks import FusionWarning
from acorl_sb.fusion.ensemble_scoring import LOGISTIC
from acorl_sb.fusion.evaluation import describe_protocol, make_protocol, similarity
from acorl_sb.fusion.fuse_run import made_by
from acorl_sb.fusion.judging import Settings, judge_outcome, make_resampler
from acorl_sb.fusion.score_inputs import load
from acorl_sb.fusion.subsets import with_verdicts
from acorl_sb.fusion.systems import System
from acorl_sb.fusion.validation import Recipe
from acorl_sb.metrics.intervals import interval
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.names import check_name
from acorl_sb.utils.reading import read_json, shown

Interval = tuple[FiniteFloat, FiniteFloat]


class _Figures(BaseModel):
    eer: FiniteFloat
    min_dcf: dict[str, FiniteFloat]


class _Change(BaseModel):
    change: FiniteFloat
    interval: Interval | None


class _Row(BaseModel):
    name: str
    kind: Literal["member", "fusion"]
    dev: _Figures
    test: _Figures
    intervals: dict[str, Interval]
    against_best: dict[str, _Change] | None


class _Point(BaseModel):
    p_target: Annotated[float, Field(gt=0, lt=1)]
    c_miss: Annotated[FiniteFloat, Field(gt=0)]
    c_fa: Annotated[FiniteFloat, Field(gt=0)]


class _Intervals(BaseModel):
    level: Annotated[float, Field(gt=0, lt=1)]
    replicates: Annotated[int, Field(ge=0)]
    method: str


class RunResults(BaseModel):
    """What ``results.json`` of ``train.py`` must hold to be reported."""

    systems: Annotated[list[_Row], Field(min_length=1)]
    best_member: str
    cost_points: Annotated[list[_Point], Field(min_length=1)]
    intervals: _Intervals


def read_run_results(
    folder: str | Path, command: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results and curves of a finished run, in the form of ``fuse.py``'s.

    Arguments
    ---------
    folder : path
        Output folder of ``train.py``.
    command : sequence of str
        The command line, for the page.

    Returns
    -------
    results : dict
        As ``results.json`` of ``fuse.py``; ``contributions`` is None.
    curves : dict
        DET curve, histogram and Bayes error curve of each system.

    Raises
    ------
    UserError
        For a folder that is no finished run of ``train.py``, and for files of it that are damaged
        or do not fit each other.
    """
    started, folder = time.perf_counter(), Path(folder)
    run = read_results(folder / "results.json")
    parts = ("dev", "test")
    systems = [
        System(row.name, {part: f"{folder}/scores/{row.name}/{part}.txt" for part in parts})
        for row in run.systems
    ]
    inputs = load(systems, speaker_files=[f"{folder}/manifest/{part}.csv" for part in parts])
    settings = Settings(
        Recipe(),
        tuple(point.p_target for point in run.cost_points),
        run.cost_points[0].c_miss,
        run.cost_points[0].c_fa,
        run.intervals.replicates,
        run.intervals.level,
    )
    protocol, alone = (
        make_protocol(inputs, settings),
        replace(settings.recipe, fusion="best_single"),
    )
    labels = protocol.reported.trials.known_labels
    resample, method = make_resampler(protocol.reported, settings)
    table, curves = [], {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FusionWarning)
        for n, row in enumerate(run.systems):
            outcome = protocol.run(alone, (n,), inputs.names)
            judged = judge_outcome(outcome, labels, settings, resample, True)
            drawn = {
                name: list(interval(values, settings.level))
                for name, values in judged.judged.replicates.items()
            }
            changes = row.model_dump()["against_best"]
            table.append(
                {
                    **{"name": row.name, "kind": row.kind, **judged.figures},
                    **row.test.model_dump(),
                    "dev_eer": row.dev.eer,
                    "intervals": drawn | row.intervals,
                    "against_best": changes and with_verdicts(changes),
                }
            )
            curves[row.name] = {"kind": row.kind, **judged.curves}
    members = [n for n, row in enumerate(run.systems) if row.kind == "member"]
    names = [inputs.names[n] for n in members]
    recipe = settings.recipe
    results = {
        "protocol": describe_protocol(protocol, inputs, settings),
        "systems": names,
        "fusion": {
            key: getattr(recipe, key if key != "kind" else "fusion")
            for key in ("kind", "calibration", "prior", "l2")
        },
        "decisions": calibration.decisions(
            [(p, settings.c_miss, settings.c_fa) for p in settings.points]
        ),
        "cost_points": [point.model_dump() for point in run.cost_points],
        "table": table,
        "best_member": run.best_member,
        "fused_name": LOGISTIC if len(names) > 1 else names[0],
        "contributions": None,
        "intervals": {
            "level": settings.level,
            "replicates": settings.replicates if table[0]["intervals"] else 0,
            "method": method,
        },
        **similarity(protocol.reported.members(members)),
        "warnings": [*dict.fromkeys(str(w.message) for w in caught), *carry_over_warnings(table)],
        "inputs": inputs.files,
        "made": made_by(command, time.perf_counter() - started),
    }
    return results, curves


def read_results(path: str | Path) -> RunResults:
    """``results.json`` of a finished run of ``train.py``, checked.

    Raises
    ------
    UserError
        For a file that cannot be read, and one that another command has written, or an older
        ``train.py``.
    """
    try:
        run = RunResults.model_validate(read_json(path, "result of a finished run"))
    except ValidationError as error:
        first = error.errors()[0]
        place = shown(".".join(map(str, first["loc"])))
        raise UserError(
            f"{shown(path)}: not a result of train.py ({place}: {first['msg']}); run train.py "
            "again, which trains nothing that is finished"
        ) from None
    points = {f"{point.p_target:g}" for point in run.cost_points}
    for row in run.systems:
        check_name(row.name, f"{shown(path)}, systems")
        if set(row.test.min_dcf) != points:
            raise UserError(f"{shown(path)}: the minDCF of {row.name} is not at the cost points")
    if run.best_member not in [row.name for row in run.systems if row.kind == "member"]:
        raise UserError(f"{shown(path)}: the best member is {run.best_member!r}, none of these")
    return run
