"""One run of ``acorl groups``: scores, speakers and attributes to figures by group."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acorl_sb import metrics
from acorl_sb.analysis.group_calibration import GroupCalibration
from acorl_sb.analysis.group_errors import GroupSettings, group_errors
from acorl_sb.analysis.group_options import as_settings, columns
from acorl_sb.data.attributes import Attributes, read_attributes
from acorl_sb.data.speakers import by_folder, by_pattern, by_table, read_speaker_files
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.score_inputs import load
from acorl_sb.fusion.systems import System
from acorl_sb.fusion.validation import ScoreSet
from acorl_sb.utils.errors import UserError

_FUSED = ("score-logistic", "score-mean")  # a run's fusions, the calibrated one first


def measure(options: dict[str, Any]) -> dict[str, Any]:
    """Read, calibrate, measure.

    Arguments
    ---------
    options : dict
        The keys of ``acorl_sb.analysis.group_options.GroupOptions``.

    Returns
    -------
    dict
        What ``group_errors`` returns, and where it comes from.

    Raises
    ------
    UserError
        For files that are refused, a column that is missing, trials without labels and speakers
        that are not known.
    """
    system, speaker_files = _find(options)
    tables = [path for path in speaker_files if path.lower().endswith(".csv")]
    known = read_attributes([*tables, *options["attributes"]])
    lists = {"dev": options["dev_trials"], "test": options["trials"]}
    lists = {part: path for part, path in lists.items() if path and part in system.scores}
    inputs = load([system], lists, speaker_files, options["speaker_pattern"])
    sets = {name: part.set for name, part in inputs.parts.items()}
    for part, found in sets.items():
        _require_labels(found, system.scores[part])
    speakers = {name: speakers_of(s.trials, speaker_files, options) for name, s in sets.items()}
    everybody = sorted({str(name) for sides in speakers.values() for name in np.unique(sides)})
    groups = group_map(known, options["groups"], everybody, options["bands"])
    test = sets["test"]
    scores, llrs = test.scores[0], options["llr"]
    threshold, source, maps = options["threshold"], "given", {}
    by = options["calibrate_by"]
    if "dev" in sets:
        dev, labels = sets["dev"].scores[0], sets["dev"].trials.known_labels
        if not llrs:
            # Without a column every trial is between unknown groups: one map for all.
            of = known.groups(by, everybody, options["bands"]) if by else []
            calibration = GroupCalibration(
                dict(zip(everybody, of, strict=False)), options["prior"], options["least_speakers"]
            )
            calibration.fit(dev, labels, speakers["dev"])
            scores, llrs = calibration(scores, speakers["test"]), True
            dev = calibration(dev, speakers["dev"])
            maps = {"calibrated_by": by, "maps": calibration.maps()}
        if threshold is None:
            threshold = metrics.eer_threshold(dev, labels)
            source = "EER threshold of the development trials"
    elif threshold is None:
        threshold = metrics.eer_threshold(scores, test.labels)
        source = "EER threshold of these very trials"
    if not np.isfinite(threshold):
        raise UserError("the EER threshold is infinite; give a --threshold")
    settings = GroupSettings(**as_settings(options, float(threshold), llrs))
    try:
        found = group_errors(scores, test.trials.known_labels, *speakers["test"], groups, settings)
    except ValueError as error:
        raise UserError(f"{system.scores['test']}: {error}") from None
    path = str(Path(system.scores["test"]).absolute())
    return {"scores": path, "threshold_source": source, **found, **maps}


def refuse_other_scores(path: Path, scores: str) -> None:
    """``UserError`` where ``path``, a finished ``groups.json``, is of other scores than these."""
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["scores"]
    except (OSError, ValueError, TypeError, KeyError):
        before = "what is not known"
    if before != scores:
        raise UserError(
            f"{path.parent}: holds results of other scores ({before}); name another folder with "
            "--output_folder"
        )


def group_map(
    known: Attributes, names: Sequence[str], speakers: Sequence[str], bands: dict[str, list[float]]
) -> dict[str, dict[str, str]]:
    """Attribute -> speaker -> group, as ``group_errors`` takes it; UserError names what lacks."""
    return {
        name: dict(zip(speakers, known.groups(name, speakers, bands), strict=True))
        for name in columns(list(names))
    }


def speakers_of(
    trials: TrialList, speaker_files: Sequence[str], options: dict[str, Any]
) -> np.ndarray:
    """(2, N) names of the speakers of both sides of the trials."""
    found: list[str] | None
    if speaker_files:
        table = read_speaker_files(speaker_files)
        found = by_table(trials.ids, table, " and ".join(speaker_files))
    elif options["speaker_pattern"]:
        found = by_pattern(trials.ids, options["speaker_pattern"])
    else:
        found = by_folder(trials.ids)
    if found is None:
        raise UserError(
            "whose trials these are is not known: give --speakers MANIFEST or --speaker_pattern"
        )
    names = np.array(found)
    return np.stack([names[trials.enrol], names[trials.test]])


def _find(options: dict[str, Any]) -> tuple[System, list[str]]:
    """The system's score files, and the files that say who speaks."""
    if not options["run_folder"]:
        scores = {"test": options["test"][0]}
        if options["dev"]:
            scores = {"dev": options["dev"], **scores}
        return System("scores", scores), list(options["speakers"])
    root = Path(options["run_folder"])
    present = sorted(path.parent.name for path in root.glob("scores/*/test.txt"))
    name = options["system"] or next((n for n in _FUSED if n in present), next(iter(present), ""))
    if name not in present:
        raise UserError(
            f"{root}: no scores of {name or 'any system'!r}; it has {', '.join(present) or 'none'}"
        )
    scores = {part: str(root / "scores" / name / f"{part}.txt") for part in ("dev", "test")}
    if not Path(scores["dev"]).is_file():
        raise UserError(f"{scores['dev']}: no such file, so there is nothing to calibrate on")
    manifests = [str(root / "manifest" / f"{part}.csv") for part in ("dev", "test")]
    return System(name, scores), list(options["speakers"]) or manifests


def _require_labels(found: ScoreSet, path: str) -> None:
    if found.labels is None:
        raise UserError(f"{path}: the trials have no labels; give a trial list that has them")
    if found.labels.all() or not found.labels.any():
        raise UserError(f"{path}: target and non-target trials are both needed")
