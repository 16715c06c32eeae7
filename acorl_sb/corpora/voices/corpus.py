"""The embedded default corpus: synthetic speakers, for a first run without any data.

Speakers are eSpeak NG's voice variants less the near-duplicates; each speaks in several sessions
that differ in language, rate, pitch, room, band and noise. The audio is made once, below the data
folder as ``<speaker>/<session>/<number>.wav`` (16 kHz, 16 bit), and is the same to the byte for the
same settings.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import random
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy import fft
from tqdm import tqdm

from acorl_sb.corpora.listing import utterances
from acorl_sb.corpora.preparation import Corpus
from acorl_sb.corpora.voices import espeak
from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json

logger = logging.getLogger(__name__)

NEAR_DUPLICATES = frozenset(
    (
        "Gene2",
        "Henrique",
        "RicishayMax3",
        "adam",
        "anikaRobot",
        "edward2",
        "f4",
        "fast",
        "iven3",
        "klatt2",
        "klatt5",
        "klatt6",
        "m7",
        "michel",
        "miguel",
        "mike2",
        "robert",
        "robosoft2",
        "robosoft3",
        "robosoft5",
        "robosoft8",
        "steph2",
        "steph3",
    )
)
"""Variants that :mod:`acorl_sb.corpora.voices.near_duplicates` finds too close to an earlier one."""

LANGUAGES = ("en-us", "en-gb-x-rp", "de", "es", "fr", "it", "nl", "pl", "pt-br", "sv")

_SETTINGS = "voices.json"
_FORMAT = 1  # raised when the same settings would give other audio


@dataclass(frozen=True)
class Session:
    """How a speaker sounds and is recorded on one occasion.

    ``rate`` in words per minute, ``pitch`` and ``range`` in eSpeak's 0-99, ``rt60`` (s) the room's
    reverberation time, ``direct`` (dB) the level of the direct sound over the reverberation,
    ``band`` (Hz) what the microphone passes, ``snr`` (dB), ``tilt`` the noise's spectral slope
    (0 white, 2 brown), ``level`` (dBFS) the peak.
    """

    language: str
    rate: int
    pitch: int
    range: int
    rt60: float
    direct: float
    band: tuple[float, float]
    snr: float
    tilt: float
    level: float


def collect(
    data_folder: Path | None,
    n_voices: int | None = None,
    sessions: int = 5,
    utterances_per_session: int = 5,
    audio_seed: int = 0,
    pitch_range: float = 12,
    rate_range: float = 30,
    rt60_range: Sequence[float] = (0.1, 0.6),
    snr_range: Sequence[float] = (5, 25),
    languages: Sequence[str] = LANGUAGES,
) -> Corpus:
    """Make the audio where it is not there yet, then list it; splits are left to the caller.

    ``n_voices`` takes that many of the voices (all by default). ``pitch_range`` and ``rate_range``
    say how far a session may be from a voice's own pitch (eSpeak's units) and from 175 words per
    minute; ``rt60_range`` (s) and ``snr_range`` (dB) are the rooms and the noise.
    """
    names = voice_names(n_voices, audio_seed)
    settings = _settings(
        sessions=sessions,
        utterances_per_session=utterances_per_session,
        audio_seed=audio_seed,
        pitch_range=pitch_range,
        rate_range=rate_range,
        rt60_range=list(rt60_range),
        snr_range=list(snr_range),
        languages=list(languages),
    )
    _claim(data_folder, settings)
    missing = [name for name in names if not (data_folder / _word(name)).is_dir()]
    if missing:
        logger.info("making synthetic speech of %d voices in %s", len(missing), data_folder)
        _generate_all(data_folder, missing, settings)
    rows = []
    for name in names:
        for path in sorted((data_folder / _word(name)).glob("*/*.wav")):
            session = path.parent.name
            utterance = f"{_word(name)}-{session}-{path.stem}"
            rows.append((utterance, path, _word(name), session, espeak.gender(name)))
    return Corpus(train=utterances(rows))


def default_folder(n_voices: int | None = None, **options: Any) -> Path:
    """Where the audio is kept when no data folder is named: one cache folder for all settings
    that differ in more than the number of voices, below ``$XDG_CACHE_HOME`` or ``~/.cache``.
    """
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(collect).parameters.items()
        if name not in ("data_folder", "n_voices")
    }
    settings = _settings(**{**defaults, **options})
    digest = hashlib.sha256(json.dumps(settings, default=list).encode()).hexdigest()[:10]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "acorl_sb", f"voices-{digest}")


def _settings(**options: Any) -> dict[str, Any]:
    """What the audio of one voice depends on, checked; it is kept beside the audio."""
    for name in ("sessions", "utterances_per_session"):
        if not isinstance(options[name], int) or options[name] < 1:
            raise UserError(f"voices: {name} must be a whole number above 0, got {options[name]}")
    for name in ("rt60_range", "snr_range"):
        low, high = options[name]
        if low > high or (name == "rt60_range" and low <= 0):
            raise UserError(f"voices: {name} must be [low, high], got {list(options[name])}")
    return {"format": _FORMAT, **{k: options[k] for k in sorted(options)}}


def voice_names(count: int | None = None, seed: int = 0) -> list[str]:
    """The distinct variants, or ``count`` of them."""
    names = [name for name in espeak.variants() if name not in NEAR_DUPLICATES]
    if count is None:
        return names
    if not 2 <= count <= len(names):
        raise UserError(f"voices: n_voices must be from 2 to {len(names)}, got {count}")
    return sorted(random.Random(f"voices {seed}").sample(names, count))


def draw_session(rng: random.Random, settings: dict) -> Session:
    """Draw one occasion; ``settings`` are the options of :func:`collect`."""
    rate, pitch = settings["rate_range"], settings["pitch_range"]
    return Session(
        language=rng.choice(settings["languages"]),
        rate=round(175 + rng.uniform(-rate, rate)),
        pitch=min(99, max(0, round(50 + rng.uniform(-pitch, pitch)))),
        range=rng.randint(30, 70),
        rt60=rng.uniform(*settings["rt60_range"]),
        direct=rng.uniform(0, 10),
        band=rng.choice(_BANDS),
        snr=rng.uniform(*settings["snr_range"]),
        tilt=rng.uniform(0, 2),
        level=rng.uniform(-20, -1),
    )


_BANDS = ((60, 7600), (60, 7600), (100, 5500), (150, 4500), (300, 3400))  # from studio to telephone


def room(session: Session, generator: np.random.Generator) -> np.ndarray:
    """A synthetic impulse response: the direct sound, then noise that decays by 60 dB in rt60.

    float64 of shape (T,), with unit energy.
    """
    time = np.arange(1, round(session.rt60 * SAMPLE_RATE)) / SAMPLE_RATE
    tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / session.rt60)
    tail *= 10 ** (-session.direct / 20) / np.sqrt((tail**2).sum())
    response = np.concatenate([[1.0], tail])
    return response / np.sqrt((response**2).sum())


def record(
    wave: np.ndarray, session: Session, response: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """What the session's microphone would have heard of ``wave``: float32, of the same length.

    Room, noise and band are applied in the frequency domain with one inverse transform.
    """
    size = fft.next_fast_len(len(wave) + len(response), real=True)
    spectrum = fft.rfft(wave, size) * fft.rfft(response, size)
    frequency = fft.rfftfreq(size, 1 / SAMPLE_RATE)
    noise = generator.standard_normal((2, len(frequency)))
    # Flat below 50 Hz: a slope would otherwise put all the noise where nobody hears it.
    noise = (noise[0] + 1j * noise[1]) * np.maximum(frequency, 50) ** (-session.tilt / 2)
    low, high = session.band
    with np.errstate(divide="ignore"):  # at 0 Hz
        band = 1 / np.sqrt((1 + (low / frequency) ** 8) * (1 + (frequency / high) ** 16))
    spectrum, noise = spectrum * band, noise * band
    # Levels are compared after the band, so that the SNR is that of what is heard.
    noise *= np.sqrt((np.abs(spectrum) ** 2).sum() / (np.abs(noise) ** 2).sum())
    # The noise fills all of the transform's length, the speech only the wave's.
    noise *= np.sqrt(size / len(wave)) * 10 ** (-session.snr / 20)
    heard = fft.irfft(spectrum + noise, size)[: len(wave)]
    return (heard * (10 ** (session.level / 20) / np.abs(heard).max())).astype(np.float32)


def text(rng: random.Random, language: str) -> str:
    """Something to say: numbers, which any language reads in its words, or an English phrase."""
    if language.startswith("en") and rng.random() < 0.7:
        return " ".join(rng.choice(words) for words in _PHRASE) + "."
    return ", ".join(str(rng.randrange(10 ** (digits - 1), 10**digits)) for digits in (2, 3, 4))


_PHRASE = [
    line.split("|")
    for line in """\
the|a|this|our|every|one|that|her
old|young|quiet|happy|tired|clever|small|famous|lonely|polite
teacher|farmer|doctor|neighbour|sailor|painter|driver|student|captain|lawyer
found|bought|carried|forgot|noticed|borrowed|painted|moved|offered|wanted
three|seven|many|several|few|eleven|twenty|five
yellow|broken|heavy|wooden|empty|round|warm|cheap|dusty
boxes|books|chairs|letters|bottles|apples|cameras|shoes|windows|guitars
yesterday|near the river|in the garden|behind the church|before lunch|at the station
""".splitlines()
]


def _generate_all(folder: Path, names: Sequence[str], settings: dict) -> None:
    # Threads: the synthesis runs in processes of its own, and the transforms release the lock.
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(names), desc="voices", unit="voice", disable=None) as bar,
    ):
        try:
            for _ in pool.map(lambda name: _generate(folder, name, settings), names):
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _generate(folder: Path, name: str, settings: dict) -> None:
    """Make all sessions of one voice; its folder appears when it is complete."""
    seed = f"{settings['audio_seed']} {name}"
    rng = random.Random(seed)
    generator = np.random.default_rng(list(seed.encode()))
    drawn = [draw_session(rng, settings) for _ in range(settings["sessions"])]
    jobs = [
        espeak.Job(
            f"{session.language}+{name}",
            text(rng, session.language),
            session.rate,
            session.pitch,
            session.range,
        )
        for session in drawn
        for _ in range(settings["utterances_per_session"])
    ]
    waves = iter(espeak.speak(jobs))
    partial = folder / f".{_word(name)}.{uuid.uuid4().hex[:8]}"
    try:
        for i, session in enumerate(drawn):
            (partial / f"s{i + 1}").mkdir(parents=True)
            response = room(session, generator)
            for k in range(settings["utterances_per_session"]):
                wave = record(next(waves), session, response, generator)
                path = partial / f"s{i + 1}" / f"{k + 1:02d}.wav"
                soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16")
        try:
            os.replace(partial, folder / _word(name))
        except OSError:
            if not (folder / _word(name)).is_dir():  # else another run has just made the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _claim(folder: Path, settings: dict) -> None:
    """Make ``folder`` ours for ``settings``: audio made with other settings is removed."""
    record = folder / _SETTINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: synthetic speech cannot be written there ({error.strerror}); "
            "name another data folder"
        ) from None
    if any(folder.iterdir()) and not record.is_file():
        raise UserError(
            f"{folder}: the folder holds other files; name an empty or new one for synthetic speech"
        )
    if record.is_file():
        try:
            if json.loads(record.read_text(encoding="utf-8")) == settings:
                return
        except ValueError:
            pass
        logger.info("%s: made with other settings, making it again", folder)
        for name in espeak.variants():
            shutil.rmtree(folder / _word(name), ignore_errors=True)
    write_json(record, settings)


def _word(name: str) -> str:
    return name.replace(" ", "_")
