"""Which synthetic voices are too close to be two speakers.

A voice is rendered over many texts, languages, rates and pitches; each rendering is summed up by
the mean and spread over time of its cepstrum. Two voices are as far apart as their means, measured
in the spread that one voice has over its renderings (Mahalanobis distance): a linear detector would
confuse clean renderings of voices at distance d with probability Phi(-d / 2).

    python -m acorl_sb.corpora.voices.near_duplicates

prints the closest pairs and the voices to drop, which ``voices.NEAR_DUPLICATES`` lists.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import fft, signal
from torchaudio.functional import melscale_fbanks
from tqdm import tqdm

from acorl_sb.corpora.voices import espeak
from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.utils.errors import run_cli

THRESHOLD = 5.5  # Phi(-2.75): clean renderings of the two would be confused in 0.3 % of cases
_CEPSTRA = 20


def distances(features: np.ndarray) -> np.ndarray:
    """Mahalanobis distances between voices, (V, V), from renderings of shape (V, K, D).

    The covariance is that within voices, pooled over them, with a thousandth of its mean variance
    added for stability.
    """
    features = np.asarray(features, dtype=np.float64)
    voices, renderings, width = features.shape
    means = features.mean(axis=1)  # (V, D)
    within = (features - means[:, None]).reshape(-1, width)  # (V * K, D)
    covariance = within.T @ within / (voices * (renderings - 1))
    covariance += 1e-3 * np.trace(covariance) / width * np.eye(width)
    white = np.linalg.solve(np.linalg.cholesky(covariance), means.T).T  # (V, D)
    return np.linalg.norm(white[:, None] - white[None], axis=2)


def duplicates(names: Sequence[str], distance: np.ndarray, threshold: float) -> list[str]:
    """Names that are nearer than ``threshold`` to an earlier name that is kept."""
    kept: list[int] = []
    dropped: list[str] = []
    for i, name in enumerate(names):
        if any(distance[i, j] < threshold for j in kept):
            dropped.append(name)
        else:
            kept.append(i)
    return dropped


def renderings(name: str, count: int, languages: Sequence[str]) -> np.ndarray:
    """Features of ``count`` renderings of a voice, (count, 39); the k-th one of every voice
    has the same language, text, rate and pitch."""
    jobs = []
    for k in range(count):
        rng = random.Random(k)
        words = " ".join(str(rng.randrange(10 ** rng.randint(2, 4))) for _ in range(4))
        voice = f"{rng.choice(list(languages))}+{name}"
        jobs.append(espeak.Job(voice, words, rng.randint(150, 200), rng.randint(40, 60)))
    return np.stack([_summary(wave) for wave in espeak.speak(jobs)])


def _summary(wave: np.ndarray) -> np.ndarray:
    """Mean (without the level) and standard deviation over time of the mel cepstrum, (39,)."""
    _, _, spectrum = signal.stft(wave, SAMPLE_RATE, nperseg=400, noverlap=240, nfft=512)
    filters = melscale_fbanks(spectrum.shape[0], 60.0, 7600.0, 40, SAMPLE_RATE).numpy()
    mel = np.abs(spectrum.T) ** 2 @ filters  # (frames, 40)
    energy = mel.sum(axis=1)
    speech = energy > 1e-3 * energy.max()
    cepstrum = fft.dct(np.log(mel[speech] + 1e-8 * energy.max()), norm="ortho")[:, :_CEPSTRA]
    return np.concatenate([cepstrum.mean(axis=0)[1:], cepstrum.std(axis=0)])


def main() -> int:
    from acorl_sb.corpora.voices.corpus import LANGUAGES

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--renderings", type=int, default=24, help="per voice (default 24)")
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    arguments = parser.parse_args()
    names = espeak.variants()
    with ThreadPoolExecutor() as pool:
        jobs = pool.map(lambda name: renderings(name, arguments.renderings, LANGUAGES), names)
        features = np.stack(list(tqdm(jobs, "voices", len(names))))
    distance = distances(features)
    for i, j in sorted(
        zip(*np.triu_indices(len(names), 1), strict=True), key=lambda p: distance[p]
    ):
        if distance[i, j] >= arguments.threshold:
            break
        print(f"{distance[i, j]:5.2f}  {names[i]} {names[j]}")
    dropped = duplicates(names, distance, arguments.threshold)
    print(f"{len(names) - len(dropped)} of {len(names)} voices stay; near-duplicates:", *dropped)
    return 0


if __name__ == "__main__":
    run_cli(main)
