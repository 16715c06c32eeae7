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
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import utterances
from acorl_sb.corpora.voices import espeak
from acorl_sb.corpora.voices.phrases import text
from acorl_sb.corpora.voices.sessions import draw_session, record, room
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
"""Variants that ``acorl_sb.corpora.voices.near_duplicates`` finds too close to an earlier one."""

LANGUAGES = ("en-us", "en-gb-x-rp", "de", "es", "fr", "it", "nl", "pl", "pt-br", "sv")

_SETTINGS = "voices.json"
_FORMAT = 1  # raised when the same settings would give other audio


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
