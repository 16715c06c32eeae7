"""Enrols speakers until it is killed: ``python -m tests.store.enrolling FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from acorl_sb.store import SpeakerStore, StoreModel, open_store
from acorl_sb.store.store_model import join

COUNT = 1000


def model(weights: str = "0") -> StoreModel:
    """Two members, of 3 and 5 dimensions, that nobody trained."""
    return StoreModel(("first", "second"), (3, 5), (weights * 64,) * 2, vector(-1))


def vector(seed: int) -> np.ndarray:
    """A speaker's vector, (8,) float32."""
    generator = np.random.default_rng(seed + 1)
    return join([generator.standard_normal(3), generator.standard_normal(5)])


def enrol(store: SpeakerStore, number: int) -> None:
    store.enrol(f"speaker {number}", vector(number), number + 1, 0.5 * number)


def stored(path: Path, count: int) -> Path:
    """The file of a new store of ``count`` speakers."""
    opened = open_store(path, model(), create=True)
    for number in range(count):
        enrol(opened, number)
    opened.close()
    return path


if __name__ == "__main__":
    opened = open_store(sys.argv[1], model(), create=True)
    for i in range(len(opened), COUNT):
        enrol(opened, i)
        print(i, flush=True)
