"""What encoders are worth: EERs on test speakers by condition and group, against GE2E, paired."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.signal import butter, resample_poly, sosfilt
from terms.sets import in_noise_or_room

from acorl_sb import metrics
from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.fusion.logistic import LogisticFusion
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
    wanted = {data / name for name in json.loads((folder / part / "noise.json").read_text())}
    noises = sorted(
        found
        for beside in {path.parent for path in wanted}
        for found in audio_lengths(str(beside), "noise", SAMPLE_RATE)
        if found[0] in wanted
    )
    rooms = sorted((folder / part / "rooms").glob("*.wav"))
    return in_noise_or_room(None if condition.room else condition.snr, noises, rooms)


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


class Systems:
    """Encoders by name, with what they make of the sets, kept below the recipe's folder.

    Arguments
    ---------
    folder, data : paths of the recipe and of the speech
    load : callable(name) -> SpeakerEncoder, asked for when something is to be embedded
    """

    def __init__(self, folder: Path, data: Path, load: Callable[[str], SpeakerEncoder]):
        self.folder, self.data, self.load = folder, data, functools.lru_cache(None)(load)
        self.joined: dict[str, dict[str, float]] = {}

    def side(self, part: str, name: str) -> TrialSet:
        return sets.read_set(self.folder / "data", self.data, part, name)

    def scores(self, system: str, part: str, name: str, condition: str) -> np.ndarray:
        """Cosines (N,) of a set's trials."""
        return cosine_trial_scores(
            self.side(part, name), self.embedded(system, part, name, condition)
        )

    def embedded(self, system: str, part: str, name: str, condition: str) -> np.ndarray:
        """Embeddings (M, D) of unit length of a set's utterances under a condition.

        Those of an encoder in ``joined`` come from its branches, by their shares.
        """
        if system in self.joined:
            branches = self.joined[system].items()
            parts = [s**0.5 * self.embedded(b, part, name, condition) for b, s in branches]
            return np.concatenate(parts, 1)
        path = self.folder / "embeddings" / system / part / f"{name}, {condition}.npy"
        if not path.is_file():
            how = CONDITIONS[condition]
            hear = hearing(self.folder / "data", self.data, part, how)
            utterances = self.side(part, name).utterances
            z = embed_utterances(self.load(system), utterances, how.seconds, hear=hear).numpy()
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.save(file, z.astype(np.float32))
        z = np.load(path)
        return z / np.linalg.norm(z, axis=1, keepdims=True)


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
    systems: Systems, names: Sequence[str], shipped: str, fusion: LogisticFusion
) -> dict[str, Any]:
    """All figures of the test sets: of ``names`` under the ``MAIN`` conditions, else of two.

    ``fusion`` makes the shipped encoder's cosines LLRs.
    """
    made: dict[str, Any] = {}
    for name in sets.TESTS:
        side = systems.side("test", name)
        for condition in CONDITIONS:
            judged = [*names, shipped] if condition in MAIN else [BASE, shipped]
            scores = {n: systems.scores(n, "test", name, condition) for n in judged}
            key = f"{name}, {condition}"
            made[key] = compared(scores, side)
            llrs, labels = fusion(scores[shipped][None]), side.trials.labels
            made[key][shipped] |= {
                "cllr": float(metrics.cllr(llrs, labels)),
                "min_cllr": float(metrics.min_cllr(llrs, labels)),
            }
            if condition in MAIN:
                two = {n: scores[n] for n in (BASE, shipped)}
                made[f"{key}, groups"] = {
                    group: compared(two, side, kept) for group, kept in groups(side).items()
                }
    return made
