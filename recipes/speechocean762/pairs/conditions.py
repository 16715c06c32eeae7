"""What a member is tried on: the centre of each utterance, long or short, clean or in noise."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from acorl_sb import corpora
from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.embeddings import Embeddings, write_embeddings
from acorl_sb.data.manifest import Utterance
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.training.augment import audio_lengths
from acorl_sb.utils.errors import UserError

SILENT = 1e-4  # root mean square of full scale; a stretch of noise below it is none


class Condition(NamedTuple):
    """``seconds`` of the centre (None: whole utterances), noise at ``snr`` dB (None: clean)."""

    name: str
    seconds: float | None
    snr: float | None = None


def read_conditions(tree: Mapping[str, Any], noise_folder: str | None) -> list[Condition]:
    """The conditions of the YAML; the noisy ones are left out where there is no noise folder.

    The first is the one that members are chosen by; it must be clean.
    """
    made = []
    for name, keys in tree.items():
        for key in set(keys) - {"seconds", "snr"}:
            raise UserError(f"conditions.{name}: unknown key {key!r}; known: seconds, snr")
        made.append(Condition(str(name), keys["seconds"], keys.get("snr")))
    if not made or made[0].snr is not None:
        raise UserError("the key 'conditions' must begin with a clean one, by which to choose")
    return [c for c in made if c.snr is None or noise_folder is not None]


def embed_conditions(
    load: Callable[[], SpeakerEncoder],
    manifests: Path,
    conditions: Sequence[Condition],
    noise_folder: str | None,
    folder: Path,
) -> None:
    """Embed the test speakers under every condition, the development speakers under the first.

    Writes ``folder/<condition>/<dev or test>``; what is there already is kept, and the encoder is
    loaded only where something is not.
    """
    wanted = [(conditions[0], "dev"), *((condition, "test") for condition in conditions)]
    missing = [(c, part) for c, part in wanted if not (folder / c.name / part).exists()]
    encoder = load() if missing else None
    for condition, part in missing:
        hear = None if condition.snr is None else noisy(noise_folder, condition.snr)
        utterances = corpora.read_manifest(manifests / f"{part}.csv")
        z = embed_utterances(encoder, utterances, condition.seconds, hear=hear)
        path = folder / condition.name / part
        write_embeddings(path, Embeddings([u.id for u in utterances], z.numpy()))


def noisy(folder: str, snr: float) -> Callable[[np.ndarray, Utterance], np.ndarray]:
    """Adds a stretch of a noise file of ``folder`` at ``snr`` dB.

    Which one follows from the utterance's ID alone: every member hears the same, at every SNR.
    """
    files = audio_lengths(folder, "noise", SAMPLE_RATE)

    def hear(wave: np.ndarray, utterance: Utterance) -> np.ndarray:
        generator = np.random.default_rng(zlib.crc32(utterance.id.encode()))
        for _ in range(100):
            path, length = files[generator.integers(len(files))]
            start = int(generator.integers(max(1, length - len(wave) + 1)))
            noise = read_audio(path, start, min(start + len(wave), length), SAMPLE_RATE)
            noise = np.resize(noise, len(wave))
            power = float(np.mean(noise**2))
            if power**0.5 > SILENT:
                level = np.mean(wave**2) / (power * 10 ** (snr / 10))
                return (wave + noise * np.sqrt(level)).astype(np.float32)
        raise UserError(f"noise folder {folder}: its files are silent; name another")

    return hear
