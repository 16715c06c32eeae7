"""How a synthetic speaker sounds on one occasion: language, room, microphone and noise."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from scipy import fft

from acorl_sb.data.audio import SAMPLE_RATE


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
    """What the session's microphone would have heard of ``wave`` (T,): float32, as long as it.

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
