"""Who trains, develops and tests; trials; noises and rooms; paths are below the data folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from terms.sets import DROPPED, named, room_response

from acorl_sb.corpora import commonvoice, librispeech, speechcommands, speechocean762
from acorl_sb.corpora.splits import cut, make_trials
from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.data.manifest import Utterance, read_manifest, write_manifest
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.data.trials import read_trials, write_trials
from acorl_sb.utils.files import atomic_path, write_json

PIECE = 3.0  # s, the length that training utterances are cut to
TARGETS_EACH = {"several": 12, "ocean": 60}  # target trials of a speaker, about
NONTARGETS = 5.0  # non-target trials for each target trial, where there are so many
ESC_FOLDS = {"train": "123", "test": "5"}  # ESC-10's own folds: no recording in two
ROOMS = {"train": 120, "test": 40}
DEV, TESTS = "several", ("several", "ocean")


def prepare(data: Path, folder: Path) -> None:
    """Write manifests, trial lists and rooms to ``folder``, unless they are there."""
    if (folder / "prepared.json").is_file():
        return
    ocean = speechocean762.collect(data / "speechocean762")
    libri = librispeech.collect(data / "LibriSpeech")
    voice = commonvoice.collect(data / "CommonVoice", str(DROPPED))
    commands = speechcommands.collect(data / "SpeechCommands")
    accounts = [*voice.train, *voice.dev, *voice.test]
    train = [
        *named(ocean.train, "ocean"),
        *named(libri.train, "libri"),
        *named([u for u in accounts if not several(u)], "cv"),
        *named(commands.train, "sc"),
    ]
    pieces = [piece for u in train for piece in cut(u, PIECE)]
    write_manifest(folder / "train.csv", below(data, pieces))
    parts = {
        ("dev", "several"): [u for u in voice.dev if several(u)],
        ("test", "several"): [u for u in voice.test if several(u)],
        ("test", "ocean"): ocean.test,
    }
    counts = {"train": {"speakers": len({u.spk_id for u in train}), "utterances": len(train)}}
    for (part, name), utterances in parts.items():
        group = commonvoice.language if name == "several" else None
        limit = TARGETS_EACH[name] * len({u.spk_id for u in utterances})
        trials = make_trials(utterances, 1, limit, NONTARGETS, group)
        used = set(trials.ids)
        kept = [u for u in utterances if u.id in used]
        write_manifest(folder / part / f"{name}.csv", below(data, kept))
        write_trials(folder / part / f"{name}.txt", trials)
        counts[f"{part} {name}"] = TrialSet.of(kept, trials).counts()
    noises = sorted(path.relative_to(data) for path in (data / "ESC-10").rglob("*.ogg"))
    for part, folds in ESC_FOLDS.items():
        chosen = [str(path) for path in noises if path.name[0] in folds]
        write_json(folder / part / "noise.json", chosen)
        rng = np.random.default_rng(sorted(ROOMS).index(part))
        for number in range(ROOMS[part]):
            with atomic_path(folder / part / "rooms" / f"{number:03d}.wav") as temporary:
                soundfile.write(temporary, room_response(rng), SAMPLE_RATE)
    write_json(folder / "prepared.json", counts)


def several(utterance: Utterance) -> bool:
    """Whether a Common Voice clip is of an account with several sessions."""
    return Path(utterance.wav).parts[-4] == "several"


def below(data: Path, utterances: Iterable[Utterance]) -> list[Utterance]:
    """Paths relative to the data folder, so that another machine can use what is prepared."""
    return [
        replace(u, wav=str(Path(u.wav).resolve().relative_to(data.resolve()))) for u in utterances
    ]


def read(path: Path, data: Path) -> list[Utterance]:
    """A manifest of ``prepare``, with the paths of its audio in the data folder."""
    return [replace(u, wav=str(data / u.wav)) for u in read_manifest(path)]


def read_set(folder: Path, data: Path, part: str, name: str) -> TrialSet:
    """A development or test set of ``prepare``'s folder."""
    return TrialSet.of(
        read(folder / part / f"{name}.csv", data), read_trials(folder / part / f"{name}.txt")
    )
