"""What encoders are worth: EERs on test speakers by condition and group, against GE2E, paired."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from acorl_sb import metrics
from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.metrics.bootstrap import Measure, SpeakerBootstrap
from acorl_sb.metrics.intervals import interval
from acorl_sb.scoring.backends.cosine import cosine_trial_scores
from acorl_sb.training.augment import audio_lengths
from acorl_sb.utils.files import atomic_path
from open_speech import sets

BASE = "ge2e"
REPLICATES = 1000
FEWEST = 5  # speakers of a group that gets a figure
Hear = Callable[[np.ndarray, Utterance], np.ndarray]


class Condition(NamedTuple):
    """Centre of ``seconds`` (None: whole), noise at ``snr`` dB, in a room, of a band."""

    seconds: float | None = None
    snr: float | None = None
    room: bool = False
    band: str = ""


CONDITIONS = {
    "clean": Condition(),
    "8 kHz": Condition(band="8 kHz"),
    "telephone": Condition(band="telephone"),
    "10 dB": Condition(snr=10),
    "0 dB": Condition(snr=0),
    "room": Condition(room=True),
    "1 s": Condition(seconds=1.0),
}
MAIN = ("clean", "8 kHz")
CALIBRATED_ON = ("clean", "8 kHz", "10 dB", "room")


def hearing(folder: Path, data: Path, part: str, condition: Condition) -> Hear | None:
    """What becomes of each wave; noise and room follow from the ID alone."""
    if condition.band:
        return eight_kilohertz if condition.band == "8 kHz" else telephone
    if condition.snr is None and not condition.room:
        return None
    part = "test" if part == "test" else "train"
    names = json.loads((folder / part / "noise.json").read_text())
    lengths = [
        n
        for f in {(data / name).parent for name in names}
        for n in audio_lengths(str(f), "noise", SAMPLE_RATE)
    ]
    noises = [(path, n) for path, n in lengths if str(path.relative_to(data)) in set(names)]
    noises.sort()
    rooms = sorted((folder / part / "rooms").glob("*.wav"))

    def hear(wave: np.ndarray, utterance: Utterance) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(utterance.id.encode()))
        if condition.room:
            response = read_audio(rooms[rng.integers(len(rooms))])
            response = response[np.abs(response).argmax() :]
            return fftconvolve(wave, response)[: len(wave)].astype(np.float32)
        while True:
            path, length = noises[rng.integers(len(noises))]
            start = int(rng.integers(max(1, length - len(wave) + 1)))
            noise = np.resize(read_audio(path, start, min(start + len(wave), length)), len(wave))
            power = float(np.mean(noise**2))
            if power > 1e-8:
                level = np.mean(wave**2) / (power * 10 ** (condition.snr / 10))
                return (wave + noise * np.sqrt(level)).astype(np.float32)

    return hear


def eight_kilohertz(wave: np.ndarray, utterance: Utterance) -> np.ndarray:
    """A wave (T,) as a recording at 8 kHz gives it."""
    return resample_poly(resample_poly(wave, 1, 2), 2, 1)[: len(wave)].astype(np.float32)


def telephone(wave: np.ndarray, utterance: Utterance) -> np.ndarray:
    """A wave (T,) between 300 and 3400 Hz, at 8 kHz and through 8-bit mu-law."""
    narrow = sosfilt(
        butter(6, (300, 3400), "bandpass", fs=8000, output="sos"), resample_poly(wave, 1, 2)
    )
    narrow = np.clip(narrow, -1, 1)
    coded = np.rint(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    narrow = np.sign(coded) * (256 ** np.abs(coded) - 1) / 255
    return resample_poly(narrow, 2, 1)[: len(wave)].astype(np.float32)


def embedded(
    encoder: Callable[[], SpeakerEncoder],
    own: Path,
    folder: Path,
    data: Path,
    part: str,
    name: str,
    condition: str,
) -> np.ndarray:
    """Embeddings (N, D) of a set under a condition, kept below ``own``."""
    path = own / part / f"{name}, {condition}.npy"
    if not path.is_file():
        how = CONDITIONS[condition]
        side = sets.read_set(folder, data, part, name)
        hear = hearing(folder, data, part, how)
        z = embed_utterances(encoder(), side.utterances, how.seconds, hear=hear).numpy()
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, z.astype(np.float32))
    return np.load(path)


def compared(scores: Mapping[str, np.ndarray], side: TrialSet, kept=None) -> dict[str, Any]:
    """Of each system: EER with its interval, and its change against ``BASE``, paired."""
    kept = np.arange(len(side.enrol)) if kept is None else np.flatnonzero(kept)
    labels = side.trials.labels[kept]
    speaker = np.array([u.spk_id for u in side.utterances])
    enrol, test = speaker[side.enrol[kept]], speaker[side.test[kept]]
    counts = {
        "speakers": len(np.union1d(enrol[labels], test[labels])),
        "target": int(labels.sum()),
        "nontarget": int((~labels).sum()),
    }
    if counts["speakers"] < FEWEST or not counts["nontarget"]:
        return counts
    draw = SpeakerBootstrap(labels, enrol, test, REPLICATES)
    drawn = {n: draw(s[kept], [Measure("eer")])["eer"] for n, s in scores.items()}
    made: dict[str, Any] = dict(counts)
    for name, system in scores.items():
        eer = float(metrics.eer(system[kept], labels))
        made[name] = {"eer": eer, "interval": within(drawn[name])}
        if name != BASE and BASE in scores:
            base = float(metrics.eer(scores[BASE][kept], labels))
            ratios = drawn[name] / np.maximum(drawn[BASE], 1e-4)
            made[name] |= {"change": eer / base - 1, "change_interval": within(ratios - 1)}
    return made


def within(values: np.ndarray) -> list[float] | None:
    try:
        return [float(x) for x in interval(values)]
    except ValueError:
        return None  # too few speakers


def groups(side: TrialSet) -> dict[str, np.ndarray]:
    """Trials both sides of which are of a group: gender, shorter duration, family of languages."""
    gender = np.array([u.gender for u in side.utterances])
    seconds = np.array([u.duration for u in side.utterances])
    shorter = np.minimum(seconds[side.enrol], seconds[side.test])
    found = {}
    for code, name in (("f", "female"), ("m", "male")):
        found[name] = (gender[side.enrol] == code) & (gender[side.test] == code)
    for low, high in ((0, 3), (3, 5), (5, np.inf)):
        name = f"{low} to {high} s" if np.isfinite(high) else f"{low} s and longer"
        found[name] = (shorter >= low) & (shorter < high)
    family = np.array([FAMILIES.get(language(u), "other languages") for u in side.utterances])
    for name in sorted(set(family)):
        found[name] = (family[side.enrol] == name) & (family[side.test] == name)
    age = np.array([child(u) for u in side.utterances])
    for name in sorted(set(age) - {""}):
        found[name] = (age[side.enrol] == name) & (age[side.test] == name)
    return found


def child(utterance: Utterance) -> str:
    age = utterance.attribute("age")
    return ("children" if int(age) < 16 else "adults") if age.isdigit() else ""


def language(utterance: Utterance) -> str:
    head, sep, _ = utterance.spk_id.partition("__")
    return head if sep else ""


FAMILIES = {
    **dict.fromkeys(("br", "cy", "ga-IE"), "Celtic"),
    **dict.fromkeys(("ca", "es", "fr", "it", "pt", "ro", "rm-sursilv", "rm-vallader"), "Romance"),
    **dict.fromkeys(("de", "fy-NL", "nl", "sv-SE", "en"), "Germanic"),
    **dict.fromkeys(("cs", "pl", "ru", "sl", "uk", "hsb", "lv", "lt"), "Slavic and Baltic"),
    **dict.fromkeys(
        ("zh-CN", "zh-HK", "zh-TW", "ja", "id", "vi", "th", "ta"), "East and South Asian"
    ),
    **dict.fromkeys(("kab", "rw", "lg", "mt", "ar"), "African and Semitic"),
    "": "English by Mandarin speakers",
}


def figures(
    systems: Mapping[str, Callable[[], SpeakerEncoder]],
    folder: Path,
    names: Sequence[str],
    shipped: str,
    data: Path,
) -> dict[str, Any]:
    """All figures of the test sets; ``names`` are the systems of the main conditions."""
    prepared, made = folder / "data", {}
    for name in sets.TESTS:
        side = sets.read_set(prepared, data, "test", name)
        for condition in CONDITIONS:
            scores = {}
            for system in names if condition in MAIN else (BASE, shipped):
                own = folder / "embeddings" / system
                z = embedded(systems[system], own, prepared, data, "test", name, condition)
                scores[system] = cosine_trial_scores(side, z)
            key = f"{name}, {condition}"
            made[key] = compared(scores, side)
            if condition in MAIN:
                two = {n: scores[n] for n in (BASE, shipped)}
                made[f"{key}, groups"] = {
                    group: compared(two, side, kept) for group, kept in groups(side).items()
                }
    return made


def unit(z: np.ndarray) -> np.ndarray:
    return torch.nn.functional.normalize(torch.from_numpy(z), dim=1).numpy()
