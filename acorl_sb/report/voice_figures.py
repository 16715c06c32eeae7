"""Pictures of one recording and of one decision."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from acorl_sb.report.style import LIGHT, RC, WIDTH, Picture

_POINTS = 600  # of an envelope


def llr_scale(llr: float, threshold: float, key: str = "llr") -> Picture:
    """A log-likelihood ratio on a scale, with the threshold that decides.

    Example
    -------
    >>> llr_scale(3.2, 2.94).description
    'LLR +3.20, at or above the threshold +2.94: accepted'
    """
    accepted = llr >= threshold
    side = "at or above" if accepted else "below"
    end = max(8.0, 1.15 * abs(llr), 1.15 * abs(threshold))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH, 1.15), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlim=(-end, end), ylim=(0, 1), xlabel="log-likelihood ratio", yticks=[])
        axes.spines["left"].set_visible(False)
        axes.axvspan(threshold, end, color=LIGHT["good"], alpha=0.15, linewidth=0)
        axes.axvspan(-end, threshold, color=LIGHT["bad"], alpha=0.15, linewidth=0)
        axes.axvline(threshold, color=LIGHT["ink"], linestyle="--", linewidth=1.2)
        axes.plot([llr], [0.35], "D", color=LIGHT["good" if accepted else "bad"], markersize=9)
        where = "right" if threshold > 0 else "left"
        axes.annotate(
            f"threshold {threshold:+.2f}",
            (threshold, 0.8),
            xytext=(-5 if threshold > 0 else 5, 0),
            textcoords="offset points",
            ha=where,
        )
    verdict = "accepted" if accepted else "rejected"
    words = f"LLR {llr:+.2f}, {side} the threshold {threshold:+.2f}: {verdict}"
    return Picture(key, "Log-likelihood ratio and threshold", words, figure)


def waveform(
    samples: np.ndarray,
    sample_rate: int,
    speech: Sequence[tuple[int, int]] | None,
    key: str = "wave",
) -> Picture:
    """A wave (T,) with its stretches of speech marked, or with its level where they are unknown.

    ``speech`` are starts and stops in samples; None draws the level of frames of 25 ms (dB).
    """
    seconds = len(samples) / sample_rate
    pieces = np.array_split(samples, min(_POINTS, len(samples)))
    low, high = (np.array([limit(piece) for piece in pieces]) for limit in (np.min, np.max))
    time = np.linspace(0, seconds, len(pieces))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH, 1.5), layout="constrained")
        axes = figure.add_subplot()
        axes.fill_between(time, low, high, color=LIGHT["c0"], linewidth=0.5)
        top = float(max(np.abs(samples).max(), 1e-6))
        axes.set(xlim=(0, seconds), ylim=(-top, top), xlabel="time, s", yticks=[])
        if speech is None:
            frame = sample_rate // 40
            frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
            level = 10 * np.log10(np.square(frames, dtype=np.float64).mean(1) + 1e-9)
            twin = axes.twinx()
            twin.plot((np.arange(len(level)) + 0.5) / 40, level, color=LIGHT["c1"], linewidth=1)
            twin.set(ylabel="level, dB")
            twin.grid(False)
            words = f"{seconds:.1f} s, with its level"
        else:
            for start, stop in speech:
                axes.axvspan(
                    start / sample_rate, stop / sample_rate, color=LIGHT["good"], alpha=0.2, lw=0
                )
            found = sum(stop - start for start, stop in speech) / sample_rate
            words = f"{seconds:.1f} s, of which {found:.1f} s are speech (marked)"
    return Picture(key, "Recording", words, figure)
