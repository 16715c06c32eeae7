"""Errors by group of the system that ``acorl evaluate`` fuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from acorl_sb import metrics
from acorl_sb.analysis.group_calibration import LEAST_SPEAKERS
from acorl_sb.analysis.group_errors import GroupSettings, group_errors
from acorl_sb.analysis.group_options import as_settings
from acorl_sb.analysis.group_run import group_map, speakers_of
from acorl_sb.data.attributes import read_attributes
from acorl_sb.data.speakers import by_table, contradictions, number
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.evaluate_run import Evaluation
from acorl_sb.fusion.evaluation import Evaluated
from acorl_sb.utils.errors import UserError


@dataclass(frozen=True)
class EvaluatedGroups:
    """What the reported trials are grouped by.

    Arguments
    ---------
    trials : TrialList
        The reported trials, with labels.
    speakers : (2, N) names of both sides' speakers
    groups : attribute -> speaker -> group
    options : dict
        The keys of ``acorl evaluate``.
    """

    trials: TrialList
    speakers: np.ndarray
    groups: Mapping[str, Mapping[str, str]]
    options: dict[str, Any]

    def measure(self, made: Evaluated, dev_labels: np.ndarray | None) -> dict[str, Any] | None:
        """Figures by group of the fused LLRs, as ``group_errors`` returns them.

        The threshold of FMR and FNMR is the EER threshold of the development trials, whose labels
        are ``dev_labels``; of the reported trials themselves where these are cross-validated. None
        where it is infinite, as with scores that a step function makes infinite LLRs.
        """
        if dev_labels is not None:
            llrs = made.fused["test"]
            threshold = metrics.eer_threshold(made.fused["dev"], dev_labels)
            source = "EER threshold of the development trials"
        else:
            llrs = made.fused["scores"]
            threshold = metrics.eer_threshold(llrs, self.trials.known_labels)
            source = "EER threshold of these very trials"
        if not np.isfinite(threshold):
            return None
        asked = as_settings({**self.options, "least_speakers": LEAST_SPEAKERS}, threshold, True)
        labels, settings = self.trials.known_labels, GroupSettings(**asked)
        found = group_errors(llrs, labels, *self.speakers, self.groups, settings)
        return {"threshold_source": source, **found}


def find_groups(evaluation: Evaluation) -> EvaluatedGroups | None:
    """The groups that are asked for, before anything is embedded; None where none are.

    Attributes are those that the audio's table has, the manifests under ``speakers`` and the
    tables under ``attributes``.

    Raises
    ------
    UserError
        For a column that is missing, files that contradict each other, reported trials without
        labels or of one class, and speakers that are not known or contradict the labels.
    """
    options = evaluation.options
    if not options["groups"]:
        return None
    side = evaluation.sides.get("test") or evaluation.sides["scores"]
    trials, path = side.trials, options["trials"]
    if trials.labels is None or trials.labels.all() or not trials.labels.any():
        raise UserError(f"{path}: errors by group need labels, of target and non-target trials")
    files = options["speakers"] or []
    if evaluation.speaker_of:
        names = by_table(trials.ids, evaluation.speaker_of, path)
        both = np.array(names)[np.stack([trials.enrol, trials.test])]
    else:
        both = speakers_of(trials, files, options)
    of = dict(zip(trials.enrol.tolist(), both[0].tolist(), strict=True))
    of |= dict(zip(trials.test.tolist(), both[1].tolist(), strict=True))
    (numbers,) = number([of[row] for row in range(len(trials.ids))])
    wrong = contradictions(trials, numbers)
    if len(wrong):
        raise UserError(
            f"{path}: the speakers contradict the labels of {len(wrong)} trials, first "
            f"{trials.name(wrong[0])}; give --speakers MANIFEST or --speaker_pattern"
        )
    tables = [name for name in files if name.lower().endswith(".csv")]
    heard = side.spoken([of[row] for row in range(len(trials.ids))])
    known = read_attributes([*tables, *options["attributes"]], heard)
    groups = group_map(known, options["groups"], sorted(set(of.values())), {})
    return EvaluatedGroups(trials, both, groups, options)
