"""A finished run of train.py, read back: its encoders, their fusion, and how they were scored."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from acorl_sb.data.alignment import align
from acorl_sb.data.audio import SHORTEST
from acorl_sb.data.recording_range import RecordingRange
from acorl_sb.data.scorefiles import read_scores
from acorl_sb.encoders.ensemble import FrozenEnsemble, standing
from acorl_sb.encoders.member_folder import load_member, load_reference
from acorl_sb.encoders.trusted import read_yaml
from acorl_sb.fusion import models as fusion
from acorl_sb.fusion.disagreement import Disagreement
from acorl_sb.fusion.saved_model import read_disagreement
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.names import check_name

SPREAD = Path("fusion", "disagreement.json")


class FinishedRun(NamedTuple):
    """The ensemble, the fusion of its members' cosines, and how the run was scored.

    ``score_seconds`` is the centre crop; ``calibrated_on`` is None where the run has not noted it,
    ``spread`` where no standard deviation of LLRs is asked for.
    """

    ensemble: FrozenEnsemble
    model: fusion.LogisticFusion
    score_seconds: float | None
    calibrated_on: RecordingRange | None
    spread: Disagreement | None = None


def load_run(
    folder: str | os.PathLike,
    trust: bool = False,
    members: Sequence[str] | None = None,
    uncertainty: bool = False,
) -> FinishedRun:
    """Load the output folder of ``train.py``; no code of it is run unless ``trust`` allows it.

    ``members`` are names of encoders, references among them, to load alone, one or several: the
    fusion is then fitted anew on their scores of the run's development trials, as train.py fits
    that of all of them. With ``uncertainty``, ``spread`` is read where ``save_run`` has written it,
    else fitted on these scores.

    Raises ``UserError`` for a run that is not finished, damaged, or has a single member that is
    not asked for by name, and for one that needs ``trust``.
    """
    folder = Path(folder)
    model_path, yaml_path, results_path = (
        folder / "fusion" / "score-logistic.json",
        folder / "hyperparams.yaml",
        folder / "results.json",
    )
    for path in (yaml_path, results_path) if members else (yaml_path, model_path, results_path):
        if not path.is_file():
            raise UserError(
                f"{folder}: {path.relative_to(folder)} is missing; a finished run of train.py "
                "with two members or more is needed"
            )
    seconds, calibrated_on = _read_scoring(results_path)
    given, trained = _listed(yaml_path)
    ensemble, names = FrozenEnsemble(), [*(spec["name"] for _, spec in given), *trained]
    for where, spec in given:
        if not members or spec["name"] in members:
            ensemble.add(spec["name"], load_reference(spec, where, trust))
    for name in trained:
        if not members or name in members:
            ensemble.add(name, load_member(folder / "members" / name, trust))
    for name in members or ():
        if name not in names:
            raise UserError(f"{folder}: no member {name!r}, only {', '.join(sorted(names))}")
    if members:
        spread = _spread(folder, ensemble.names) if uncertainty else None
        alone = fusion.LogisticFusion().fit(*_development(folder, ensemble.names))
        return FinishedRun(ensemble, alone, seconds, calibrated_on, spread)
    model = fusion.load(model_path)
    k = len(ensemble)
    if (
        not isinstance(model, fusion.LogisticFusion)
        or (model.n_systems, model.n_quality, np.shape(model.weights)) != (k, 0, (k,))
        or not np.isfinite([*model.weights, model.bias]).all()
    ):
        raise UserError(f"{model_path}: no logistic fusion of the run's {k} members")
    spread = _spread(folder, ensemble.names) if uncertainty else None
    return FinishedRun(ensemble, model, seconds, calibrated_on, spread)


def _listed(path: Path) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """A run's ``references``, each with its place in the YAML, and the names of its members.

    A member that another one went on from is none of the ensemble.
    """
    tree, names = read_yaml(path), set()
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {"references": [], "members": []}
    for kind, entries in found.items():
        specs = tree.get(kind) or []
        if not isinstance(specs, list):
            raise UserError(f"{path}: {kind} must be a list")
        for i, spec in enumerate(specs):
            where = f"{path} {kind}[{i}]"
            if not isinstance(spec, dict):
                raise UserError(f"{where} must have keys, such as name")
            name = check_name(spec.get("name"), where)
            if name in names:
                raise UserError(f"{where}: the name {name!r} is there twice")
            names.add(name)
            entries.append((where, spec))
    return found["references"], standing([spec for _, spec in found["members"]])


def _spread(folder: Path, names: Sequence[str]) -> Disagreement:
    """What tells how much members disagree: saved, or fitted on the run's development scores."""
    if len(names) < 2:
        raise UserError(f"{folder}: one member cannot disagree with itself; load two or more")
    saved = folder / SPREAD
    if saved.is_file() and _listed(folder / "hyperparams.yaml")[1] == list(names):
        return read_disagreement(saved, len(names))
    return Disagreement().fit(*_development(folder, names), names)


def _development(folder: Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Scores (K, N) of some members on the run's development trials, and the labels (N,)."""
    paths = [folder / "scores" / name / "dev.txt" for name in names]
    files = [read_scores(path) for path in paths]
    rows = []
    for path, file in zip(paths, files, strict=True):
        order = align(files[0].trials, file.trials, str(paths[0]), str(path))
        rows.append(file.scores if order is None else file.scores[order])
    labels = files[0].trials.labels
    if labels is None:
        raise UserError(f"{paths[0]}: its trials have no labels; run train.py again")
    return np.stack(rows), labels


def _read_scoring(path: Path) -> tuple[float | None, RecordingRange | None]:
    """The centre crop that a run was scored with, and what of, as ``results.json`` says."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{path}: not readable as JSON; run train.py again") from None
    if not isinstance(results, dict) or "score_seconds" not in results:
        raise UserError(f"{path}: it does not say score_seconds; run train.py again")
    seen = results.get("calibrated_on")
    try:
        calibrated_on = None if seen is None else RecordingRange.from_json(seen)
    except ValueError as error:
        raise UserError(f"{path}: calibrated_on: {error}; run train.py again") from None
    return check_seconds(results["score_seconds"], f"{path}: score_seconds"), calibrated_on


def check_seconds(value: Any, where: str) -> float | None:
    """A length of centres, as a number; ``UserError`` for what cannot be one."""
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not SHORTEST <= value < math.inf:
        raise UserError(f"{where} must be null or a number from {SHORTEST:g} on, not {value!r}")
    return float(value)
