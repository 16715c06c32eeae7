"""Which model the vectors of a store are of, so that another one's are never compared with them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from acorl_sb.encoders.ensemble import FrozenEnsemble

PROBE_SECONDS, PROBE_RATE = 1.0, 16000
SAME = 0.999
"""Cosine from which on two embeddings of the probe are one model's: a machine's arithmetic changes
the sixth digit, another front end the first ones."""


@dataclass(frozen=True, eq=False)
class StoreModel:
    """What identifies the encoders of an ensemble, and the layout of a speaker's vector.

    A speaker is one vector (D,), D = D_1 + .. + D_K: the members' enrolment embeddings, each of
    unit length, one after another. The fusion is no part of it: its weights are applied to the
    test side, so that a fusion fitted anew needs no new enrolments.

    Arguments
    ---------
    names, dims : of the K members, in order
    weights : SHA-256 of each member's weights, in hex
    probe : (D,) float32
        The vector of ``probe_wave()``. It tells front ends apart, which the weights do not.
    """

    names: tuple[str, ...]
    dims: tuple[int, ...]
    weights: tuple[str, ...]
    probe: np.ndarray

    @classmethod
    def of(cls, ensemble: FrozenEnsemble, device: Any = "cpu") -> StoreModel:
        """Identify the members of an ensemble that is on ``device``."""
        import torch

        from acorl_sb.encoders.weights import weights_hash
        from acorl_sb.utils.precision import full_precision

        wave = torch.from_numpy(probe_wave()).to(device).unsqueeze(0)
        with full_precision():
            heard = ensemble.embed(wave)
        return cls(
            tuple(ensemble.names),
            tuple(ensemble.dims),
            tuple(weights_hash(member.encoder) for member in ensemble.members),
            join([z[0].float().cpu().numpy() for z in heard]),
        )

    @property
    def hash(self) -> str:
        """SHA-256, in hex, of the members' weights in their order."""
        return hashlib.sha256("\n".join(self.weights).encode()).hexdigest()

    @property
    def size(self) -> int:
        """D."""
        return sum(self.dims)

    def same_as(self, other: StoreModel) -> bool:
        """Whether vectors of the two can be compared."""
        if (self.dims, self.weights) != (other.dims, other.weights):
            return False
        cosines = self.split(self.probe.astype(np.float64) * other.probe)
        return all(float(products.sum()) >= SAME for products in cosines)

    def split(self, vector: np.ndarray) -> list[np.ndarray]:
        """(..., D) -> K arrays (..., D_k)."""
        return np.split(vector, np.cumsum(self.dims)[:-1], axis=-1)

    def unit_parts(self, vectors: np.ndarray) -> bool:
        """Whether each member's part of each row of (M, D) has unit length, as float32 holds it."""
        return all(
            bool((np.abs(np.einsum("md,md->m", part, part) - 1) < 1e-3).all())
            for part in self.split(vectors)
        )

    def to_json(self) -> str:
        """All but the probe, as text."""
        rows = zip(self.names, self.dims, self.weights, strict=True)
        return json.dumps([{"name": n, "dim": d, "weights": w} for n, d, w in rows])

    @classmethod
    def from_json(cls, text: str, probe: bytes) -> StoreModel:
        """The reverse of ``to_json``; ``ValueError`` for anything else."""
        try:
            rows = json.loads(text)
            columns = [tuple(row[key] for row in rows) for key in ("name", "dim", "weights")]
            vector = np.frombuffer(probe, "<f4")
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError(str(error)) from None
        names, dims, weights = columns
        fits = (
            dims
            and all(isinstance(value, str) for value in (*names, *weights))
            and all(type(dim) is int and dim > 0 for dim in dims)
            and len(vector) == sum(dims)
        )
        if not fits:
            raise ValueError("members and probe do not fit")
        return cls(names, dims, weights, vector)


def join(parts: list[np.ndarray]) -> np.ndarray:
    """K embeddings (D_k,) -> one vector (D,) float32, each part of unit length.

    Raises ``ValueError`` for a part that is zero or not finite.
    """
    made = []
    for part in parts:
        part = np.asarray(part, np.float64)
        length = float(np.linalg.norm(part))
        if not np.isfinite(length) or not length:
            raise ValueError("an embedding is zero or not finite")
        made.append(part / length)
    return np.concatenate(made).astype(np.float32)


def probe_wave() -> np.ndarray:
    """One second at 16 kHz that any encoder can embed: a rising tone, float32 (16000,)."""
    time = np.arange(int(PROBE_SECONDS * PROBE_RATE)) / PROBE_RATE
    return (0.1 * np.sin(2 * np.pi * (100 * time + 1900 * time**2))).astype(np.float32)
