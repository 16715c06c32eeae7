"""Where speech is in a recording, and the recording without the rest (Silero VAD)."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.waves import centre_of
from acorl_sb.utils.errors import UserError

if TYPE_CHECKING:
    import torch

LEAST_SPEECH = 0.5
"""Seconds of speech that a recording must hold."""

_lock = threading.Lock()  # the model has a state that runs along a recording
_model: Any = None


def speech_spans(samples: np.ndarray) -> list[tuple[int, int]]:
    """Start and stop of each stretch of speech in (T,) samples at 16 kHz, in order.

    The detector is Silero VAD (https://github.com/snakers4/silero-vad) with its own settings: a
    stretch lasts 250 ms or more, and pauses up to 100 ms belong to it. Its model comes with the
    package ``silero-vad``; nothing is downloaded.

    Raises ``UserError`` where that package is not installed.
    """
    import torch

    with _lock, torch.random.fork_rng(devices=[]):
        threads = torch.get_num_threads()
        try:
            model = _load()
            torch.set_num_threads(1)  # the steps are small and wait for one another
            wave = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
            found = _timestamps(wave, model)
        finally:
            torch.set_num_threads(threads)
    return [(int(span["start"]), int(span["end"])) for span in found]


def keep_speech(
    samples: np.ndarray, where: str = "the recording", least: float = LEAST_SPEECH
) -> np.ndarray:
    """The stretches of speech of a recording, one after another.

    Arguments
    ---------
    samples : (T,), full scale [-1, 1], at 16 kHz
    where : what to call the recording in messages
    least : seconds of speech that are asked for

    Returns
    -------
    (T',) samples, T' at most T

    Raises
    ------
    UserError
        For less speech than that, with the seconds that were found; and see ``speech_spans``.
    """
    spans = speech_spans(samples)
    _require_speech(spans, len(samples), where, least)
    return np.concatenate([samples[start:stop] for start, stop in spans])


def speech_of(utterance: Utterance) -> list[tuple[int, int]]:
    """Start and stop of each stretch of speech in an utterance, in samples of its file.

    Raises ``UserError`` for less than ``LEAST_SPEECH`` seconds of it, for what ``read_audio``
    refuses, and see ``speech_spans``.
    """
    samples = read_audio(utterance.wav, utterance.start, utterance.stop)
    spans = speech_spans(samples)
    _require_speech(spans, len(samples), f"utterance {utterance.id}", LEAST_SPEECH)
    return [(utterance.start + start, utterance.start + stop) for start, stop in spans]


def centre_of_pieces(pieces: list[tuple[int, int]], seconds: float | None) -> list[tuple[int, int]]:
    """The centre ``seconds`` of pieces of a recording at 16 kHz, put one after another.

    Example
    -------
    >>> centre_of_pieces([(0, 16000), (32000, 48000)], 1.0)
    [(8000, 16000), (32000, 40000)]
    """
    first, last = centre_of(0, sum(b - a for a, b in pieces), seconds, SAMPLE_RATE)
    made, before = [], 0
    for start, stop in pieces:
        low, high = max(first - before, 0), min(last - before, stop - start)
        if low < high:
            made.append((start + low, start + high))
        before += stop - start
    return made


def require_detector() -> None:
    """Load the detector; ``UserError`` where its package is not installed."""
    speech_spans(np.zeros(SAMPLE_RATE // 10, np.float32))


def _require_speech(spans: list[tuple[int, int]], length: int, where: str, least: float) -> None:
    found = sum(stop - start for start, stop in spans) / SAMPLE_RATE
    if not spans or found < least:
        raise UserError(
            f"{where}: {found:.2f} s of speech in {length / SAMPLE_RATE:.2f} s are too "
            f"little, {least:g} s at least are needed; record more, or leave it out"
        )


def _load() -> torch.jit.ScriptModule:
    global _model
    if _model is None:
        try:
            from silero_vad import load_silero_vad
        except ImportError:
            raise UserError(
                "finding speech needs the package silero-vad: pip install silero-vad, or take "
                "recordings as they are"
            ) from None
        with warnings.catch_warnings():  # torch advises the package to export its model anew
            warnings.simplefilter("ignore")
            _model = load_silero_vad(onnx=False)
    return _model


def _timestamps(wave: torch.Tensor, model: torch.jit.ScriptModule) -> list[dict[str, int]]:
    from silero_vad import get_speech_timestamps

    return get_speech_timestamps(wave, model, sampling_rate=SAMPLE_RATE)
