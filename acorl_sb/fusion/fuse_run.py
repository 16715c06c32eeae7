"""One run of ``fuse.py``: read, fit, judge, write; or apply a model that was fitted before."""

from __future__ import annotations

import datetime
import platform
import shlex
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import scipy
import torch

from acorl_sb import __version__, metrics
from acorl_sb.data.scorefiles import write_scores
from acorl_sb.fusion import fuse_options
from acorl_sb.fusion.carry_over import carry_over_warnings
from acorl_sb.fusion.checks import FusionWarning, check_llrs
from acorl_sb.fusion.evaluation import Evaluated, evaluate
from acorl_sb.fusion.record import RECORD, record_of, remove_old_page
from acorl_sb.fusion.saved_model import FusionModel, read_model
from acorl_sb.fusion.score_inputs import Inputs, load
from acorl_sb.fusion.systems import System, refuse_twice
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json

MODEL = "fusion_model.json"


def fit(
    options: dict[str, Any],
    systems: list[System],
    folder: Path,
    command: Sequence[str],
    progress: Callable[[str], None],
) -> Evaluated:
    """Fit and judge what ``options`` describe; write scores, model and ``results.json``.

    Arguments
    ---------
    options : dict[str, Any]
        The keys of ``acorl_sb.fusion.fuse_options``.
    systems : list[System]
        What is fused.
    folder : Path
        Where the files go.
    command : Sequence[str]
        The command line, for ``results.json``.
    progress : Callable[[str], None]
        Told what is being done.

    Returns
    -------
    Evaluated
        Results, curves, fused scores and the model.

    Raises
    ------
    UserError
        For inputs that are refused, a folder that holds results of other inputs, and inputs that
        the results would overwrite.
    """
    started = time.perf_counter()
    record = record_of(options, folder)
    settings = fuse_options.find_settings(options)
    inputs = read_inputs(options, systems, progress)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FusionWarning)
        made = evaluate(inputs, settings, options["report"], progress)
    results = made.results
    results["warnings"] = list(dict.fromkeys(str(w.message) for w in caught))
    results["warnings"] += carry_over_warnings(results["table"])
    results["inputs"] = inputs.files
    results["made"] = made_by(command, time.perf_counter() - started)
    for part, llrs in made.fused.items():
        for values in (llrs, made.std.get(part)):
            if values is not None:
                check_llrs(values, f"the {part} trials")
    remove_old_page(folder, results)
    write_json(folder / RECORD, record)
    for part, llrs in made.fused.items():
        name = "fused.txt" if part == "scores" else f"fused_{part}.txt"
        std = made.std.get(part)
        write_scores(folder / name, inputs.parts[part].set.trials, llrs, std=std)
    model = {
        "systems": inputs.names,
        "quality": inputs.quality_names,
        "quality_measures": options["quality"],
        "cohort_top": options["cohort_top"] if "cohort" in options["quality"] else None,
        **made.model.state(),
        "uncertainty": made.spread and made.spread.state(),
        "decisions": results["decisions"],
    }
    write_json(folder / MODEL, model)
    write_json(folder / "results.json", results)
    return made


@dataclass(frozen=True)
class Applied:
    """A saved model applied: ``figures`` of the fused scores, empty where there are no labels."""

    model: FusionModel
    path: Path
    figures: dict[str, Any]


def apply(options: dict[str, Any], folder: Path, progress: Callable[[str], None]) -> Applied:
    """Fuse new score files with a model that was fitted before; write ``fused_test.txt``.

    Raises
    ------
    UserError
        For another number of score files, embeddings or cohorts than the model has systems, a
        file given twice, another ``cohort_top`` than it was fitted with, and fused scores that are
        not finite.
    """
    stored = read_model(options["apply"])
    options = _as_fitted(stored, options)
    model, record = stored.fused_system(), record_of(options, folder)
    lists = {**options, "test_trials": options["test_trials"] or options["trials"]}
    inputs = read_inputs(lists, _systems_of(stored, options), progress)
    scored = inputs.parts["test"].set
    spread = stored.disagreement()
    with numpy.errstate(over="ignore", invalid="ignore"):  # refused below
        llrs = model(scored.scores, scored.quality)
        std = None if spread is None else spread(scored.scores)
    for values in (llrs, std):
        if values is not None:
            check_llrs(values, options["apply"])
    figures = {}
    if scored.labels is not None and scored.labels.any() and not scored.labels.all():
        at = (options["points"], options["c_miss"], options["c_fa"])
        figures = metrics.evaluate(llrs, scored.labels, *at, calibrated=True)
    write_json(folder / RECORD, record)
    write_scores(folder / "fused_test.txt", scored.trials, llrs, std=std)
    return Applied(stored, folder / "fused_test.txt", figures)


def _as_fitted(stored: FusionModel, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with the quality measures that the model was fitted with."""
    top, given = stored.cohort_top, options["cohort_top"]
    if top is None:
        top = given
    default = fuse_options.FuseOptions.model_fields["cohort_top"].default
    if given not in (top, default):
        raise UserError(
            f"{options['apply']}: the key 'cohort_top' is {given}, but the model was fitted with "
            f"{top}; leave the key out"
        )
    return {**options, "quality": stored.quality_measures, "cohort_top": top}


def _systems_of(stored: FusionModel, options: dict[str, Any]) -> list[System]:
    """The files given for each system of a saved model, in its order."""
    names, paths = stored.systems, options["test"] or options["scores"]
    if not paths:
        raise UserError("--apply needs the score files to fuse: --test a.txt b.txt")
    if len(paths) != len(names):
        raise UserError(
            f"{options['apply']} fuses {len(names)} systems ({', '.join(names)}), in this order, "
            f"but {len(paths)} score files are given"
        )
    refuse_twice(paths)
    embeddings = options["test_embeddings"] or options["embeddings"] or []
    cohorts = options["cohorts"] or []
    for key, values in (("embeddings", embeddings), ("cohorts", cohorts)):
        if values and len(values) != len(names):
            raise UserError(f"{len(names)} systems, but {len(values)} {key} are given")
    return [
        System(
            name,
            {"test": paths[n]},
            {"test": embeddings[n]} if embeddings else {},
            cohorts[n] if cohorts else None,
        )
        for n, name in enumerate(names)
    ]


def read_inputs(
    options: dict[str, Any], systems: list[System], progress: Callable[[str], None]
) -> Inputs:
    """Everything that is read from files."""
    lists = {
        "dev": options["dev_trials"],
        "test": options["test_trials"],
        "scores": options["trials"],
    }
    return load(
        systems,
        {part: path for part, path in lists.items() if path},
        options["speakers"] or (),
        options["speaker_pattern"],
        options["quality"],
        options["cohort_top"],
        lambda path: progress(f"read {path}"),
    )


def made_by(command: Sequence[str], seconds: float) -> dict[str, Any]:
    """The command, when it ran, and the versions of what it ran with."""
    return {
        "command": shlex.join(["python", *command]),
        "time": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(seconds, 2),
        "versions": {
            "acorl_sb": __version__,
            "Python": platform.python_version(),
            "numpy": numpy.__version__,
            "scipy": scipy.__version__,
            "torch": torch.__version__,
            "system": f"{platform.system()} {platform.machine()}",
        },
    }
