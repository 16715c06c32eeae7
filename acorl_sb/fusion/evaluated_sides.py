"""What ``acorl evaluate`` compares: trials, models that are enrolled, their audio and speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from acorl_sb.corpora.trial_audio import find_audio, is_table
from acorl_sb.data import speakers
from acorl_sb.data.embeddings import Embeddings
from acorl_sb.data.lines import some
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trials import TrialList, read_enrolment, read_trials
from acorl_sb.fusion.evaluation import protocol_of
from acorl_sb.fusion.fuse_options import find_settings
from acorl_sb.fusion.score_inputs import with_speakers
from acorl_sb.fusion.validation import ScoreSet
from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.stage import Lineup
from acorl_sb.utils.errors import UserError


@dataclass(frozen=True)
class Side:
    """One part, ``dev``, ``test`` or ``scores``.

    Arguments
    ---------
    trials : TrialList
    utterances : list of Utterance
        The audio of the trials' ids, each once; of a model, that of its utterances.
    models : dict
        Ids of the utterances of each enrolled model of the trials; empty where both sides of a
        trial are utterances.
    """

    trials: TrialList
    utterances: list[Utterance]
    models: dict[str, list[str]] = field(default_factory=dict)

    def utterances_of(self, name: str) -> list[str]:
        """Ids of the utterances of a model; of an utterance, its own."""
        return self.models.get(name, [name])

    def spoken(self, names: Sequence[str]) -> list[tuple[str, Utterance]]:
        """Speaker and utterance of all audio; ``names`` are the speakers of ``trials.ids``."""
        known = {utterance.id: utterance for utterance in self.utterances}
        return [
            (speaker, known[utterance])
            for name, speaker in zip(self.trials.ids, names, strict=True)
            for utterance in self.utterances_of(name)
        ]

    def enrolled(self, made: Embeddings) -> Embeddings:
        """Unit-length embeddings of ``trials.ids``, from those of the utterances.

        A model is the mean of its utterances' unit-length embeddings, brought to unit length.
        """
        members = [self.utterances_of(name) for name in self.trials.ids]
        rows = made.index([utterance for of in members for utterance in of])
        groups = np.repeat(np.arange(len(members)), [len(of) for of in members])
        backend = Cosine()
        units = backend.prepare(torch.from_numpy(made.vectors[rows]))
        means = backend.average(units, torch.from_numpy(groups))
        return Embeddings(list(self.trials.ids), means.numpy())


def read_sides(options: dict[str, Any]) -> dict[str, Side]:
    """Read trials and models, and find their audio.

    Arguments
    ---------
    options : dict
        The keys of ``acorl evaluate``.

    Returns
    -------
    dict of Side
        By part: ``dev`` and ``test``, or ``scores``, which is cross-validated.

    Raises
    ------
    UserError
        For lists and audio that are missing, damaged or do not fit, an id that is a model and an
        utterance that is tested, and trials without labels where calibration needs some.
    """
    keys = {"test" if options["dev_trials"] else "scores": ("trials", "audio", "enrolment")}
    if options["dev_trials"]:
        keys = {"dev": ("dev_trials", "dev_audio", "dev_enrolment"), **keys}
    sides = {}
    for part, of in keys.items():
        path, audio, enrolment = (options[key] for key in of)
        if part == "dev":
            audio, enrolment = audio or options["audio"], enrolment or options["enrolment"]
        sides[part] = _read_side(path, audio, enrolment, needs_labels=part != "test")
    return sides


def _read_side(path: str, audio: str | None, enrolment: str | None, needs_labels: bool) -> Side:
    trials = read_trials(path)
    if trials.labels is None and needs_labels:
        raise UserError(f"{path}: these trials have no labels, and calibration needs them")
    if enrolment is None:
        return Side(trials, find_audio(trials.ids, audio, path))
    models = read_enrolment(enrolment)
    lineup = Lineup.of(trials, models, enrolment)
    used = {trials.ids[row] for row in np.unique(trials.enrol)}
    both = [name for name in lineup.test_ids if name in used and models[name] != [name]]
    if both:
        raise UserError(
            f"{enrolment}: {len(both)} models are called as utterances that {path} tests: "
            f"{some(both)}; name the models otherwise"
        )
    found = find_audio(lineup.utterances, audio, f"{path} with {enrolment}")
    return Side(trials, found, {name: models[name] for name in trials.ids if name in used})


def known_speakers(options: dict[str, Any], sides: dict[str, Side]) -> dict[str, str]:
    """Speaker of each id of the trials.

    Arguments
    ---------
    options : dict
        The keys of ``acorl evaluate``.
    sides : dict of Side

    Returns
    -------
    dict
        A model's speaker is that of its utterances. Empty where nothing tells the speakers, or
        where files or a pattern tell them and there are no models: fusion reads these itself.

    Raises
    ------
    UserError
        For speakers of a table, files or a pattern that contradict the labels or a model.
    """
    given = options["speakers"] or options["speaker_pattern"]
    if given and not any(side.models for side in sides.values()):
        return {}
    table: dict[str, str] = {}
    for part, side in sides.items():
        audio = (part == "dev" and options["dev_audio"]) or options["audio"]
        source = given or (audio if audio and is_table(audio) else None)
        source = " and ".join(source) if isinstance(source, list) else source
        of = _speakers_of_ids(options, side)
        torn = [name for name, found in of.items() if len(found) > 1]
        if torn and source:
            raise UserError(f"{source}: {len(torn)} models have several speakers: {some(torn)}")
        names = {name: "_".join(min(found).split()) for name, found in of.items()}
        (numbers,) = speakers.number(list(names.values()))
        wrong = speakers.contradictions(side.trials, numbers)
        if all(names.values()) and len(wrong) and source:
            raise UserError(
                f"{source}: its speakers contradict the labels of {len(wrong)} trials: "
                f"{some(side.trials.name(trial) for trial in wrong)}"
            )
        if torn or len(wrong) or not all(names.values()):
            return {}  # what stands before the first slash is no speaker
        other = [name for name, speaker in names.items() if table.get(name, speaker) != speaker]
        if other:
            raise UserError(
                f"{options['trials']} and {options['dev_trials']}: {len(other)} ids have another "
                f"speaker in each: {some(other)}; name them otherwise in one"
            )
        table |= names
    return table


def _speakers_of_ids(options: dict[str, Any], side: Side) -> dict[str, set[str]]:
    """Speakers of each of the trials' ids, one or, for a model that is torn, several."""
    ids = [utterance.id for utterance in side.utterances]
    known = {utterance.id: utterance.spk_id for utterance in side.utterances}
    if options["speakers"]:
        table = speakers.read_speaker_files(options["speakers"])
        named = {name: {table[name]} for name in side.trials.ids if name in table}
        needed = {u for n in side.trials.ids if n not in named for u in side.utterances_of(n)}
        needed_ids = [name for name in ids if name in needed]
        where = " and ".join(options["speakers"])
        known |= zip(needed_ids, speakers.by_table(needed_ids, table, where), strict=True)
    else:
        named = {}
        if options["speaker_pattern"]:
            found = speakers.by_pattern(ids, options["speaker_pattern"])
            known = dict(zip(ids, found, strict=True))
    return {
        name: named.get(name) or {known[utterance] for utterance in side.utterances_of(name)}
        for name in side.trials.ids
    }


def check_protocol(
    fusing: dict[str, Any], sides: dict[str, Side], speaker_of: dict[str, str]
) -> None:
    """Refuse, before anything is embedded, trials that cannot be judged.

    Arguments
    ---------
    fusing : dict
        The keys of ``fuse.py``.
    sides : dict of Side
    speaker_of : dict
        As ``known_speakers`` returns it.

    Raises
    ------
    UserError
        For too few speakers, and those that contradict the labels.
    """
    sets = {part: ScoreSet(s.trials, np.zeros((1, len(s.trials)))) for part, s in sides.items()}
    if speaker_of:
        found = [[speaker_of[name] for name in side.trials.ids] for side in sides.values()]
        numbers = dict(zip(sides, speakers.number(*found), strict=True))
        sets = {part: replace(made, speaker=numbers[part]) for part, made in sets.items()}
    else:
        sets, *_ = with_speakers(sets, fusing["speakers"] or (), fusing["speaker_pattern"])
    protocol_of(sets, find_settings(fusing))


def tested_speakers(
    options: dict[str, Any], sides: dict[str, Side], speaker_of: dict[str, str]
) -> set[str]:
    """Names of the speakers of the trials; empty where nothing tells them."""
    names = list(speaker_of.values())
    ids = [name for side in sides.values() for name in side.trials.ids]
    if not names and options["speakers"]:
        table = speakers.read_speaker_files(options["speakers"])
        names = speakers.by_table(ids, table, " and ".join(options["speakers"]))
    elif not names and options["speaker_pattern"]:
        names = speakers.by_pattern(ids, options["speaker_pattern"])
    return {"_".join(name.split()) for name in names}


def heard_before(options: dict[str, Any], sides: dict[str, Side]) -> list[str]:
    """A caution for each list with trials that test an utterance of their own model."""
    caution = []
    for part, side in sides.items():
        if not side.models:
            continue
        trials, models = side.trials, {name: set(of) for name, of in side.models.items()}
        pairs = zip(trials.enrol.tolist(), trials.test.tolist(), strict=True)
        own = sum(trials.ids[test] in models[trials.ids[enrol]] for enrol, test in pairs)
        if own:
            path = options["dev_trials" if part == "dev" else "trials"]
            caution.append(f"{path}: {own} trials test an utterance that their model holds")
    return caution
