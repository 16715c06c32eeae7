"""The scoring stage on arrays: one system's scores by one back end and one normalisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from acorl_sb.data.embeddings import Embeddings
from acorl_sb.data.speakers import number
from acorl_sb.data.trials import TrialList
from acorl_sb.scoring.backends.backend import Backend
from acorl_sb.scoring.normalise import Normalisation
from acorl_sb.utils.errors import UserError


@dataclass(frozen=True)
class Lineup:
    """Trials resolved to what is enrolled and what is tested, the same for every system.

    ``enrol`` and ``test`` (N,) are rows of the two sides. Without models both sides are the
    utterances of the trials; with models the enrolment side has the utterances ``enrol_ids``, row
    by row of the model ``models`` (E,).
    """

    enrol_ids: list[str]
    test_ids: list[str]
    enrol: np.ndarray
    test: np.ndarray
    models: np.ndarray | None = None

    @classmethod
    def of(cls, trials: TrialList, enrolment: dict[str, list[str]] | None, where: str) -> Lineup:
        """Resolve ``trials``; ``enrolment`` gives the utterances of each enrolled model.

        Raises ``UserError`` naming the first few trials' models that are not enrolled.
        """
        if enrolment is None:
            return cls(trials.ids, trials.ids, trials.enrol, trials.test)
        used, enrol = np.unique(trials.enrol, return_inverse=True)
        names = [trials.ids[row] for row in used]
        unknown = [name for name in names if name not in enrolment]
        if unknown:
            shown = ", ".join(f"'{name}'" for name in unknown[:3])
            raise UserError(f"{where}: {len(unknown)} models are not enrolled, first {shown}")
        models = np.repeat(np.arange(len(names)), [len(enrolment[name]) for name in names])
        utterances = [utterance for name in names for utterance in enrolment[name]]
        tested, test = np.unique(trials.test, return_inverse=True)
        return cls(utterances, [trials.ids[row] for row in tested], enrol, test, models)

    @property
    def utterances(self) -> list[str]:
        """All utterances that need an embedding, each once."""
        return list(dict.fromkeys([*self.enrol_ids, *self.test_ids]))


@dataclass(frozen=True)
class Vectors:
    """One system's embeddings, as float32 tensors on the working device.

    ``enrol`` and ``test`` are one object where the lineup has no models, which saves their
    preparation twice.
    """

    enrol: torch.Tensor  # (E, D)
    test: torch.Tensor  # (T, D)

    @classmethod
    def of(cls, lineup: Lineup, made: Embeddings, name: str, device) -> Vectors:
        """Pick the lineup's rows; ``UserError`` naming the first few that have no embedding."""
        test = torch.from_numpy(made.vectors[made.index(lineup.test_ids, name)]).to(device)
        if lineup.models is None:
            return cls(test, test)
        enrol = torch.from_numpy(made.vectors[made.index(lineup.enrol_ids, name)]).to(device)
        return cls(enrol, test)


def fit(backend: Backend, vectors: np.ndarray, speakers: Sequence[str] | None, device) -> None:
    """Train a back end on vectors (M, D) and their speakers' names (M,)."""
    numbers = np.arange(len(vectors))  # enough for what needs no speakers, such as a mean
    if speakers is not None:
        (numbers,) = number(list(speakers))
    backend.fit(torch.from_numpy(vectors).to(device), torch.from_numpy(numbers).to(device))


@dataclass(frozen=True)
class Cohort:
    """Embeddings (M, D) to normalise against, and the numbers (M,) of their speakers, if known."""

    vectors: torch.Tensor
    speakers: torch.Tensor | None = None

    @classmethod
    def of(
        cls,
        vectors: np.ndarray,
        speakers: Sequence[str] | None,
        size: int | None,
        seed: int,
        device,
    ) -> Cohort:
        """``size`` draws that many of the speakers (else of the vectors), the same for one seed."""
        if speakers is None:
            numbers = np.arange(len(vectors))
        else:
            (numbers,) = number(list(speakers))
        count = int(numbers.max()) + 1
        if size is not None and size < count:
            drawn = np.random.default_rng(seed).choice(count, size, replace=False)
            keep = np.isin(numbers, drawn)
            vectors, numbers = vectors[keep], np.unique(numbers[keep], return_inverse=True)[1]
        tensors = torch.from_numpy(vectors).to(device), torch.from_numpy(numbers).to(device)
        return cls(tensors[0], None if speakers is None else tensors[1])

    def prepare(self, backend: Backend) -> torch.Tensor:
        """The cohort as a back end scores it: the mean of each speaker, or every vector, (C, d)."""
        prepared = backend.prepare(self.vectors)
        return prepared if self.speakers is None else backend.average(prepared, self.speakers)


def score(
    lineup: Lineup,
    vectors: Vectors,
    backend: Backend,
    normalisations: Mapping[str, Normalisation | None] | None = None,
    cohort: Cohort | None = None,
) -> dict[str, np.ndarray]:
    """Scores of all trials by the name of each normalisation, float64 (N,).

    A normalisation of None leaves the scores as they are; that is all there is by default, under
    the name "none". Raises ``ValueError`` for a cohort that is missing.
    """
    device = vectors.test.device
    enrol, test = (torch.from_numpy(rows).to(device) for rows in (lineup.enrol, lineup.test))
    models = None if lineup.models is None else torch.from_numpy(lineup.models).to(device)
    right = backend.prepare(vectors.test)
    left = right if vectors.enrol is vectors.test else backend.prepare(vectors.enrol)
    raw = backend.sides(left, right, models).trials(enrol, test)
    members, made = None, {}
    for name, normalisation in (normalisations or {"none": None}).items():
        scores = raw
        if normalisation is not None:
            if cohort is None:
                raise ValueError("score normalisation needs a cohort: give cohort or training data")
            members = cohort.prepare(backend) if members is None else members
            scores = normalisation(raw, enrol, test, backend, members, left, right, models)
        made[name] = scores.double().cpu().numpy()
    return made
