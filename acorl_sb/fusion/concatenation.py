"""Embedding-level fusion: the unit-length embeddings of all systems side by side, scored as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from acorl_sb.data import speakers
from acorl_sb.data.embeddings import Embeddings, read_embeddings
from acorl_sb.data.embeddings import concatenate as join
from acorl_sb.data.lines import some
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.systems import System
from acorl_sb.fusion.validation import ScoreSet
from acorl_sb.scoring.backends.cosine import cosine_scores
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.utils.errors import UserError


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """bar(v) = v / |v| for each row of (U, D), float64.

    Raises:
        UserError: a row is zero or not finite, so that it has no direction.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
    if len(bad):
        raise UserError(
            f"{len(bad)} of {len(vectors)} embeddings are zero or not finite, "
            f"first row number {bad[0] + 1}"
        )
    return vectors / norms


def concatenate(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Embedding-level fusion: [bar(v_1) ... bar(v_K)] / sqrt(K), of unit length.

    The cosine of two such rows is the mean of the members' cosines; a back end such as PLDA can
    weigh them otherwise. Rows of every part are the same utterances: K times (U, D_k) ->
    (U, D_1 + ... + D_K).
    """
    if len({len(part) for part in parts}) != 1:
        raise ValueError("every part must hold the same utterances")
    return np.hstack([unit_length(part) for part in parts]) / math.sqrt(len(parts))


def score_concatenated(
    trials: TrialList, embeddings: Sequence[Embeddings], plda: PLDA | None
) -> dict[str, np.ndarray]:
    """Scores (N,) of the members' embeddings, each of unit length, side by side."""
    joined = join(embeddings)
    rows = joined.index(trials.ids)
    enrol, test = rows[trials.enrol], rows[trials.test]
    made = {
        "embedding concatenation, cosine": np.asarray(cosine_scores(joined.vectors, enrol, test))
    }
    if plda is not None:
        vectors = plda.prepare(torch.from_numpy(joined.vectors))
        scores = plda.sides(vectors, vectors).trials(*map(torch.from_numpy, (enrol, test)))
        made["embedding concatenation, PLDA"] = scores.numpy()
    return made


def train_plda(
    systems: Sequence[System], speaker_files: Sequence[str], sets: dict[str, ScoreSet]
) -> PLDA | None:
    """A PLDA of the concatenated training embeddings, where every system has some."""
    given = [system.embeddings["train"] for system in systems if "train" in system.embeddings]
    if len(given) != len(systems):
        return None
    joined = join([read_embeddings(path) for path in given])
    where = " and ".join(map(str, speaker_files)) or "no manifest is given"
    table = speakers.read_speaker_files(speaker_files)
    names = speakers.by_table(joined.ids, table, f"training embeddings ({where})")
    tested = {table[u] for scored in sets.values() for u in scored.trials.ids if u in table}
    leaked = sorted(tested & set(names))
    if leaked:
        raise UserError(
            f"training embeddings: {len(leaked)} of their speakers are in the trials: "
            f"{some(leaked)}; train the PLDA on others"
        )
    plda = PLDA()
    try:
        plda.fit(torch.from_numpy(joined.vectors), torch.from_numpy(speakers.number(names)[0]))
    except ValueError as error:
        raise UserError(f"training embeddings: {error}") from None
    return plda
