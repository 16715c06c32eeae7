"""What a scoring run reads: systems, training set, cohort, trials, and who speaks in them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acorl_sb.data import speakers as speaker_lists
from acorl_sb.data.lines import some
from acorl_sb.data.protocols import Protocol, check_training, find_protocol, read_protocol
from acorl_sb.data.trials import TrialList, read_enrolment, read_trials
from acorl_sb.encoders.run_members import trained_members
from acorl_sb.scoring.sources import LabelledSet, Source
from acorl_sb.scoring.stage import Lineup
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_json

logger = logging.getLogger(__name__)


@dataclass
class Setup:
    """What a run reads: systems and sets, the trials, and who speaks in them."""

    systems: dict[str, Source]
    training: LabelledSet
    cohort: LabelledSet
    trials: TrialList
    protocol: Protocol | None
    lineup: Lineup
    speaker_of: list[str] | None  # of trials.ids


def read_setup(options: dict[str, Any]) -> Setup:
    """Read trials and lists, and resolve where every system's embeddings come from.

    Raises ``UserError`` for inputs that are missing, contradict each other, or train on speakers of
    the trials.
    """
    options = with_run_folder(options)
    systems = {
        name: Source(str(path), options["manifest"], options["seconds"], options["trust"])
        for name, path in options["systems"].items()
    }
    if not systems:
        raise UserError("nothing to score: give systems ({name: path}) or run_folder")
    if not options["trials"]:
        raise UserError("give the trial list: trials")
    training = labelled_set("training", systems, options)
    cohort = labelled_set("cohort", systems, options)
    cohort = cohort if cohort.sources else training
    protocol = None
    if options["protocol"]:
        protocol = find_protocol(options["protocol"])
        trials = read_protocol(protocol.name, options["trials"])
    else:
        trials = read_trials(options["trials"], options["duplicate_trials"])
    enrolment = read_enrolment(options["enrolment"]) if options["enrolment"] else None
    lineup = Lineup.of(trials, enrolment, str(options["enrolment"]))
    speaker_of = find_speakers(trials, enrolment, protocol, options)
    setup = Setup(systems, training, cohort, trials, protocol, lineup, speaker_of)
    check_speakers(setup, bool(options["allow_test_speakers"]))
    return setup


def with_run_folder(options: dict[str, Any]) -> dict[str, Any]:
    """Fill what is not given from a run of ``train.py``: its members, trials and manifests."""
    options = dict(options)
    options["systems"] = dict(options["systems"] or {})
    if not options["run_folder"]:
        return options
    run, part = Path(options["run_folder"]), options["part"]
    manifest = run / "manifest"
    members = trained_members(run)
    if not members:
        raise UserError(f"{run}: no members; the output folder of train.py is expected")
    if not options["systems"]:
        options["systems"] = {name: run / "embeddings" / name / part for name in members}
        # The run has no embeddings of its training set: its encoders make them if need be.
        if not options["training"]:
            options["training"] = {name: run / "members" / name for name in members}
            options["training_manifest"] = options["training_manifest"] or manifest / "train.csv"
        if options["seconds"] is None:
            options["seconds"] = read_score_seconds(run)
    options["manifest"] = options["manifest"] or manifest / f"{part}.csv"
    options["trials"] = options["trials"] or manifest / f"{part}_trials.txt"
    if not options["speakers"] and not options["speaker_pattern"]:
        options["speakers"] = manifest / f"{part}.csv"
    return options


def read_score_seconds(run: Path) -> float | None:
    """The centre crop (s) that a run of ``train.py`` was scored with; None: whole utterances."""
    path = run / "results.json"
    seconds = read_json(path, "result of a finished run").get("score_seconds")
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and 0 < seconds < float("inf")):
        raise UserError(f"{path}: score_seconds must be above 0 or null, not {seconds!r}")
    return seconds


def labelled_set(what: str, systems: dict[str, Source], options: dict[str, Any]) -> LabelledSet:
    """The training set or the cohort; an encoder embeds ``<what>_manifest`` by itself."""
    manifest, how = options[f"{what}_manifest"], (options["seconds"], options["trust"])
    given = options[what] or {}
    sources = {name: Source(str(path), manifest, *how) for name, path in given.items()}
    if manifest:
        for name, system in systems.items():
            if name not in sources and system.is_encoder:
                sources[name] = Source(system.path, manifest, *how)
    return LabelledSet(what, sources, options[f"{what}_speakers"] or manifest)


def find_speakers(
    trials: TrialList,
    enrolment: dict[str, list[str]] | None,
    protocol: Protocol | None,
    options: dict[str, Any],
) -> list[str] | None:
    """Speaker of each of ``trials.ids``: from a list, from a pattern, or None.

    An enrolled model's speaker is that of its utterances, or stands in the list itself. Raises
    ``UserError`` for a model of several speakers, and speakers that contradict the labels.
    """
    path, pattern = options["speakers"], options["speaker_pattern"]
    if not path and not pattern and protocol is not None:
        pattern = r"id\d{5}"
    if not path and not pattern:
        return None
    table = speaker_lists.read_speakers(path) if path else {}
    # A model in the list needs no utterances that are; of others, those that are will do.
    of = [[i] if i in table else (enrolment or {}).get(i, [i]) for i in trials.ids]
    if path:
        of = [[u for u in said if u in table] or said for said in of]
    heard = list(dict.fromkeys(itertools.chain(*of)))
    if path:
        names = speaker_lists.by_table(heard, table, str(path))
    else:
        names = speaker_lists.by_pattern(heard, pattern)
    speaker = dict(zip(heard, names, strict=True))
    torn = [
        i for i, said in zip(trials.ids, of, strict=True) if len({speaker[u] for u in said}) > 1
    ]
    if torn:
        raise UserError(
            f"{path or pattern}: {len(torn)} models have several speakers: {some(torn)}"
        )
    found = [speaker[said[0]] for said in of]
    (numbers,) = speaker_lists.number(found)
    wrong = speaker_lists.contradictions(trials, numbers)
    if len(wrong):
        raise UserError(
            f"{path or pattern}: the speakers contradict the labels of {len(wrong)} trials: "
            f"{some(trials.name(trial) for trial in wrong)}"
        )
    return found


def check_speakers(setup: Setup, allow: bool) -> None:
    """Refuse training data, cohorts and encoders that hold speakers of the trials."""
    test = setup.protocol or (set(setup.speaker_of) if setup.speaker_of else None)
    if test is None:
        return
    groups: dict[str, Iterable[str]] = {
        f"the {group.what} set": group.table().values()
        for group in (setup.training, setup.cohort)
        if group.speakers is not None
    }
    for source in (*setup.systems.values(), *setup.training.sources.values()):
        groups[f"the training set of the encoder {source.path}"] = source.training_speakers()
    for what, names in groups.items():
        shared = check_training(names, test, what, allow)
        if shared:
            logger.warning("CAUTION: %s holds %d test speakers", what, len(shared))
