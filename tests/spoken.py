"""A synthetic voice's sentence, and noise, for tests of what speech is."""

from __future__ import annotations

import functools

import numpy as np

from acorl_sb.corpora.voices.espeak import Job, speak

_TEXT = "The boy was there when the sun rose, and the ship sailed over a calm and quiet sea."


@functools.cache
def sentence(voice: str = "en-us+m3") -> np.ndarray:
    """About five seconds of speech at 16 kHz, float32 (T,)."""
    return speak([Job(voice, _TEXT)])[0]


def noise(seconds: float, level: float = 0.05, seed: int = 0) -> np.ndarray:
    """White noise at 16 kHz, float32 (T,)."""
    generator = np.random.default_rng(seed)
    return (level * generator.standard_normal(round(16000 * seconds))).astype(np.float32)
