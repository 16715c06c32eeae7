"""Tiny corpora on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def audio_tree(tmp_path) -> Callable[..., Path]:
    """Makes a folder of audio files: ``audio_tree("name", ["a/1.wav", ...], rate)``."""

    def make(name: str, files: list[str], rate: int = 16000) -> Path:
        rng = np.random.default_rng(0)
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.uniform(-0.1, 0.1, rate // 10), rate)
        return tmp_path / name

    return make
