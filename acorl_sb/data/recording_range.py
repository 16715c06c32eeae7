"""What recordings a calibration has seen, and a warning for one that is unlike them.

An LLR is calibrated for recordings such as those of the development trials. What is shorter, longer
or noisier than all of them gets an LLR whose calibration nobody has tried.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.waves import centre_of

MOST_READ = 300
"""Utterances of which the noise is estimated, evenly from all."""

_FRAME = SAMPLE_RATE // 40  # 25 ms
_SILENCE, _MARGIN = 1e-9, 1.0  # power of a frame of digital silence; dB


class OutOfRangeWarning(UserWarning):
    """A recording is unlike those that the LLRs are calibrated on."""


class RecordingRange(NamedTuple):
    """Of the recordings as embedded, so cut to their centres: seconds, and noise.

    ``lowest_snr`` is the lowest ``estimate_snr`` (dB).
    """

    shortest: float
    longest: float
    lowest_snr: float

    @classmethod
    def of(cls, utterances: Sequence[Utterance], seconds: float | None) -> RecordingRange:
        """Of utterances whose centre of ``seconds`` is embedded (None: all of them)."""
        spans = [centre_of(u.start, u.stop, seconds, SAMPLE_RATE) for u in utterances]
        lengths = [(stop - start) / SAMPLE_RATE for start, stop in spans]
        chosen = np.unique(np.linspace(0, len(spans) - 1, MOST_READ).round().astype(int))
        ratios = [estimate_snr(read_audio(utterances[i].wav, *spans[i])) for i in chosen]
        return cls(min(lengths), max(lengths), min(ratios))

    @classmethod
    def from_json(cls, value: Any) -> RecordingRange:
        """The reverse of ``_asdict``; ``ValueError`` for anything else."""
        try:
            made = cls(**value)
            fits = all(type(v) in (int, float) and np.isfinite(v) for v in made)
        except TypeError:
            fits = False
        if not fits:
            raise ValueError("three numbers are needed")
        return made

    def warn(self, samples: np.ndarray, where: str, noise: bool = True) -> None:
        """Give an ``OutOfRangeWarning`` for samples (T,) at 16 kHz, as embedded, if they are out.

        ``noise`` False leaves the noise out, as where pauses are cut away.
        """
        seconds, out = len(samples) / SAMPLE_RATE, []
        if seconds < self.shortest - 0.01:
            out.append(f"{seconds:.2f} s, shorter than the shortest of them, {self.shortest:.2f} s")
        if seconds > self.longest + 0.01:
            out.append(f"{seconds:.2f} s, longer than the longest of them, {self.longest:.2f} s")
        snr = estimate_snr(samples) if noise else np.inf
        if snr < self.lowest_snr - _MARGIN:
            out.append(
                f"noisier (an SNR of about {snr:.0f} dB) than the noisiest of them "
                f"({self.lowest_snr:.0f} dB)"
            )
        if out:
            text = f"{where}: unlike the recordings that the LLR is calibrated on: "
            warnings.warn(text + "; ".join(out), OutOfRangeWarning, stacklevel=3)


def estimate_snr(samples: np.ndarray) -> float:
    """How far a recording's loud frames stand above its quiet ones, in dB.

    The 95th minus the 10th percentile of the levels of frames of 25 ms. In speech the quiet frames
    are pauses, which hold the noise; so noise lowers it, and speech without pauses looks noisy.
    It compares recordings of one kind, and measures none.

    Example
    -------
    >>> tone = np.sin(np.arange(16000))
    >>> tone[8000:] *= 0.1
    >>> round(estimate_snr(tone))
    20
    """
    frames = samples[: max(1, len(samples) // _FRAME) * _FRAME].astype(np.float64)
    frames = frames.reshape(-1, min(_FRAME, len(frames)))
    levels = 10 * np.log10(np.square(frames).mean(1) + _SILENCE)
    low, high = np.percentile(levels, [10, 95])
    return float(high - low)


@contextlib.contextmanager
def out_of_range() -> Iterator[list[str]]:
    """Collect the sentences of ``OutOfRangeWarning`` of the block; they are there at its end."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OutOfRangeWarning)
        yield said
    for warning in caught:
        if issubclass(warning.category, OutOfRangeWarning):
            said.append(str(warning.message))
        else:
            warnings.showwarning(
                warning.message, warning.category, warning.filename, warning.lineno
            )
