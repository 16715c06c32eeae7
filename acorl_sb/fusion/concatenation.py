"""Embedding-level fusion: the embeddings of all systems side by side, scored as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from acorl_sb.data import speakers
from acorl_sb.data.embeddings import Embeddings, concatenate, read_embeddings
from acorl_sb.data.lines import some
from acorl_sb.data.trials import TrialList
from acorl_sb.fusion.models import CONCATENATIONS
from acorl_sb.fusion.systems import System
from acorl_sb.fusion.validation import ScoreSet
from acorl_sb.scoring.backends.cosine import cosine_scores
from acorl_sb.scoring.backends.plda import PLDA
from acorl_sb.utils.errors import UserError


def score_concatenated(
    trials: TrialList, embeddings: Sequence[Embeddings], plda: PLDA | None
) -> dict[str, np.ndarray]:
    """Scores (N,) of the members' embeddings, each of unit length, side by side."""
    joined = concatenate(embeddings)
    rows = joined.index(trials.ids)
    enrol, test = rows[trials.enrol], rows[trials.test]
    made = {CONCATENATIONS["cosine"]: np.asarray(cosine_scores(joined.vectors, enrol, test))}
    if plda is not None:
        vectors = plda.prepare(torch.from_numpy(joined.vectors))
        scores = plda.sides(vectors, vectors).trials(
            torch.from_numpy(enrol), torch.from_numpy(test)
        )
        made[CONCATENATIONS["plda"]] = scores.numpy()
    return made


def train_plda(
    systems: Sequence[System], speaker_files: Sequence[str], sets: dict[str, ScoreSet]
) -> PLDA | None:
    """A PLDA of the concatenated training embeddings, where every system has some."""
    given = [system.embeddings["train"] for system in systems if "train" in system.embeddings]
    if len(given) != len(systems):
        return None
    joined = concatenate([read_embeddings(path) for path in given])
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
