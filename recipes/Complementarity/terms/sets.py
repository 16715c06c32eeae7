"""The study's data: who trains, develops and tests across corpora; noises and rooms; trials."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import fftconvolve

from acorl_sb.corpora import commonvoice, librispeech, speechcommands, speechocean762
from acorl_sb.corpora.splits import by_speaker, cut, make_trials, split_speakers, thin
from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.manifest import Utterance, read_manifest, write_manifest
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.data.trials import read_trials, write_trials
from acorl_sb.training.augment import audio_lengths
from acorl_sb.utils.files import atomic_path, write_json

DROPPED = Path(__file__).parents[1] / "dropped_speakers.txt"
DEV_SPEAKERS = 40  # of speechocean762's training speakers
SEGMENT = 3.0  # s, the length that training utterances are cut to
TARGETS_EACH = 12  # target trials of a speaker, about: a few with many clips must not decide alone
TARGETS_EACH_LONG = 60  # where all have ten utterances or more
NONTARGETS = 5.0  # non-target trials for each target trial
COHORT_EACH = 2  # utterances of a training speaker in the AS-norm cohort
PARTS = ("train", "dev", "test")
ESC_FOLDS = {"train": "123", "dev": "4", "test": "5"}  # ESC-10's own folds: no recording in two
ROOMS = {"train": 120, "dev": 40, "test": 40}
SILENT = 1e-4  # root mean square of full scale


class Condition(NamedTuple):
    """Centre of ``seconds`` (None: whole), noise at ``snr`` dB, in a room."""

    seconds: float | None = 2.0
    snr: float | None = None
    room: bool = False


CONDITIONS = {
    "clean": Condition(),
    "10 dB": Condition(snr=10),
    "0 dB": Condition(snr=0),
    "room": Condition(room=True),
    "1 s": Condition(seconds=1.0),
    "whole": Condition(seconds=None),
}
SCREENED = ("clean", "10 dB", "room")  # conditions of the development sets
SETS = {
    "dev": ("speechocean762", "commonvoice_several", "commonvoice_one"),
    "test": ("speechocean762", "librispeech", "commonvoice_several", "commonvoice_one"),
}


def prepare(data: Path, folder: Path) -> None:
    """Write audio, manifests, trials, noises and rooms to ``folder``, unless they are there."""
    if (folder / "prepared.json").is_file():
        return
    ocean = speechocean762.collect(data / "speechocean762")
    ocean_train, ocean_dev = split_speakers(ocean.train, DEV_SPEAKERS, 1)
    libri = librispeech.collect(data / "LibriSpeech")
    voice = commonvoice.collect(data / "CommonVoice", str(DROPPED))
    commands = speechcommands.collect(data / "SpeechCommands")
    train = [
        *named(ocean_train, "ocean"),
        *named(libri.train, "libri"),
        *named(voice.train, "cv"),
        *named(commands.train, "sc"),
    ]
    audio = Decoded(folder / "audio")
    write_manifest(folder / "cohort.csv", audio.of(thin(train, COHORT_EACH, 0)))
    pieces = [piece for u in train for piece in cut(u, SEGMENT)]
    write_manifest(folder / "train.csv", audio.of(pieces))
    counts = {"train": {"speakers": len({u.spk_id for u in train}), "utterances": len(train)}}
    for part, ocean_part, cv in (
        ("dev", ocean_dev, voice.dev),
        ("test", ocean.test, voice.test),
    ):
        sessions = {name: {u.session for u in clips} for name, clips in by_speaker(cv).items()}
        parts = {
            "speechocean762": (ocean_part, None),
            # Speakers of one session give no target trial across sessions, but impostors.
            "commonvoice_several": (cv, commonvoice.language),
            "commonvoice_one": (
                [u for u in cv if len(sessions[u.spk_id]) == 1],
                commonvoice.language,
            ),
        }
        if part == "test":
            parts["librispeech"] = (libri.test, None)
        for name, (utterances, group) in parts.items():
            each = TARGETS_EACH_LONG if group is None else TARGETS_EACH
            limit = each * len({u.spk_id for u in utterances})
            if name == "commonvoice_several":
                limit = each * sum(len(s) > 1 for s in sessions.values())
            trials = make_trials(utterances, 1, limit, NONTARGETS, group)
            used = set(trials.ids)
            kept = [u for u in utterances if u.id in used]
            write_manifest(folder / part / f"{name}.csv", audio.of(kept))
            write_trials(folder / part / f"{name}.txt", trials)
            speakers = {u.id: u.spk_id for u in kept}
            counts[f"{part} {name}"] = {
                "speakers": len(set(speakers.values())),
                "target_speakers": len(target_speakers(TrialSet.of(kept, trials))),
                "utterances": len(kept),
                "target": int(trials.labels.sum()),
                "non-target": int((~trials.labels).sum()),
            }
    noises = sorted((data / "ESC-10").rglob("*.ogg"))
    for part in PARTS:
        chosen = [p for p in noises if p.name[0] in ESC_FOLDS[part]]
        for path in chosen:
            target = folder / "noise" / part / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        rng = np.random.default_rng(PARTS.index(part))
        for number in range(ROOMS[part]):
            with atomic_path(folder / "rooms" / part / f"{number:03d}.wav") as temporary:
                soundfile.write(temporary, room_response(rng), SAMPLE_RATE)
        counts[f"noise {part}"], counts[f"rooms {part}"] = len(chosen), ROOMS[part]
    write_json(folder / "prepared.json", counts)


class Decoded:
    """Files decoded once to 16-bit WAV: every member's training and embedding reads them again.

    ``of`` gives utterances with the new files, which are numbered in the order of their first use.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.files: dict[str, str] = {}

    def of(self, utterances: Sequence[Utterance]) -> list[Utterance]:
        return [replace(u, wav=self.file(u.wav)) for u in utterances]

    def file(self, path: str) -> str:
        if path not in self.files:
            target = self.folder / f"{len(self.files):05d}.wav"
            with atomic_path(target) as temporary:
                soundfile.write(temporary, read_audio(path), SAMPLE_RATE, format="WAV")
            self.files[path] = str(target)
        return self.files[path]


def named(utterances: Sequence[Utterance], corpus: str) -> list[Utterance]:
    """Names that begin with the corpus, since two may use the same."""
    return [replace(u, id=f"{corpus}-{u.id}", spk_id=f"{corpus}-{u.spk_id}") for u in utterances]


def target_speakers(side: TrialSet) -> set[str]:
    """The speakers that have target trials."""
    return {side.utterances[i].spk_id for i in np.unique(side.enrol[side.trials.labels])}


def read_set(folder: Path, part: str, name: str) -> TrialSet:
    """A development or test set of ``prepare``'s folder."""
    utterances = read_manifest(folder / part / f"{name}.csv")
    return TrialSet.of(utterances, read_trials(folder / part / f"{name}.txt"))


def room_response(rng: np.random.Generator, order: int = 12) -> np.ndarray:
    """Impulse response (T,) of a random shoebox room by the image method (Allen and Berkley 1979).

    Sides of 3 to 10 m (height 2.5 to 4), reflection coefficients of 0.5 to 0.9 for all walls,
    speaker and microphone at random 0.5 m or more from them. All images up to ``order`` reflections
    along each axis.
    """
    size = np.append(rng.uniform(3, 10, 2), rng.uniform(2.5, 4))
    source, microphone = (rng.uniform(0.5, size - 0.5) for _ in range(2))
    reflection = rng.uniform(0.5, 0.9)
    shift, mirror = np.arange(-order // 2, order // 2 + 1), np.array([0, 1])
    axes = []
    for axis in range(3):
        n, p = (grid.ravel() for grid in np.meshgrid(shift, mirror))
        position = (1 - 2 * p) * source[axis] + 2 * n * size[axis] - microphone[axis]
        axes.append((position, np.abs(n - p) + np.abs(n)))
    (x, i), (y, j), (z, k) = axes
    squared = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2
    bounces = i[:, None, None] + j[:, None] + k
    distance = np.sqrt(squared).ravel()
    gain = reflection ** bounces.ravel() / distance
    delay = np.rint(distance / 343.0 * SAMPLE_RATE).astype(int)
    response = np.bincount(delay, gain)[: SAMPLE_RATE // 2]
    return (response / np.abs(response).max()).astype(np.float32)


def hearing(folder: Path, part: str, condition: Condition) -> Callable | None:
    """What becomes of each wave under a condition; noise and room follow from the ID alone."""
    if condition.snr is None and not condition.room:
        return None
    noises = audio_lengths(str(folder / "noise" / part), "noise", SAMPLE_RATE)
    rooms = sorted((folder / "rooms" / part).glob("*.wav"))
    return in_noise_or_room(None if condition.room else condition.snr, noises, rooms)


def in_noise_or_room(
    snr: float | None, noises: Sequence[tuple[Path, int]], rooms: Sequence[Path]
) -> Callable[[np.ndarray, Utterance], np.ndarray]:
    """What becomes of a wave with one of the noises (file, samples) at ``snr`` dB.

    None: in one of the rooms. Which one follows from the utterance's ID alone.
    """

    def hear(wave: np.ndarray, utterance: Utterance) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(utterance.id.encode()))
        if snr is None:
            response = read_audio(rooms[rng.integers(len(rooms))])
            response = response[np.abs(response).argmax() :]
            return fftconvolve(wave, response)[: len(wave)].astype(np.float32)
        while True:
            path, length = noises[rng.integers(len(noises))]
            start = int(rng.integers(max(1, length - len(wave) + 1)))
            noise = np.resize(read_audio(path, start, min(start + len(wave), length)), len(wave))
            power = float(np.mean(noise**2))
            if power**0.5 > SILENT:
                level = np.mean(wave**2) / (power * 10 ** (snr / 10))
                return (wave + noise * np.sqrt(level)).astype(np.float32)

    return hear
