"""Enrolled speakers by name: what every store keeps, checks and promises; see docs/store.md."""

from __future__ import annotations

import abc
import datetime
import threading
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from acorl_sb.store.store_model import StoreModel
from acorl_sb.utils.errors import UserError

LONGEST_NAME = 200


class StoreWarning(UserWarning):
    """What was asked for is done, and something beside it is not."""


class Enrolment(NamedTuple):
    """What is kept of a speaker beside the vector.

    ``enrolled`` is the time, ISO 8601 in UTC; ``utterances`` and ``seconds`` are the number and
    the length in all of what was embedded; ``model`` is the hash of the encoders.
    """

    name: str
    enrolled: str
    utterances: int
    seconds: float
    model: str


class SpeakerStore(abc.ABC):
    """Speakers by name, each one vector, of one model; made by ``open_store``.

    Threads may share a store.

    Arguments
    ---------
    model : StoreModel
        That the vectors are of.
    path : str
        How the store is called in messages.
    """

    def __init__(self, model: StoreModel, path: str):
        self.model, self.path = model, path
        self._lock = threading.RLock()

    def enrol(
        self,
        name: str,
        vector: np.ndarray,
        utterances: int = 1,
        seconds: float = 0.0,
        replace: bool = False,
    ) -> Enrolment:
        """Keep a speaker's vector (D,), each member's part of unit length.

        Raises ``UserError`` for a name that is there already unless ``replace`` says that the old
        vector goes, for one that cannot be a name, and where the store cannot be written.
        """
        name = check_speaker(name)
        vector = np.ascontiguousarray(vector, "<f4")
        if vector.shape != (self.model.size,) or not self.model.unit_parts(vector[None]):
            raise ValueError(f"a vector of {self.model.size} figures, its parts of unit length")
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        made = Enrolment(name, now, int(utterances), float(seconds), self.model.hash)
        self._put(made, vector, replace)
        return made

    def require_model(self, model: StoreModel) -> None:
        """Raise ``UserError`` where the vectors are of another model than this."""
        if not self.model.same_as(model):
            raise UserError(
                f"{self.path}: enrolled with another model (members "
                f"{', '.join(self.model.names)}, hash {self.model.hash[:12]}) than this one "
                f"({', '.join(model.names)}, {model.hash[:12]}); enrol its speakers anew in a "
                "store of their own"
            )

    def check_new(self, name: str, replace: bool = False) -> None:
        """Raise ``UserError`` for a name that ``enrol`` would refuse."""
        if check_speaker(name) in self and not replace:
            raise UserError(
                f"{self.path}: {name!r} is enrolled already; to enrol anew, say replace"
            )

    def delete(self, names: str | Sequence[str]) -> None:
        """Forget speakers for good: name and vector are in no file of the store any more.

        Raises ``UserError``, before anything is deleted, for a name that is not there and for a
        store that is damaged.
        """
        self._forget([check_speaker(n) for n in ([names] if isinstance(names, str) else names)])

    @abc.abstractmethod
    def vector(self, name: str) -> np.ndarray:
        """A speaker's vector (D,) float32; ``UserError`` for a name that is not there."""

    @abc.abstractmethod
    def search(self, query: np.ndarray, top: int | None = None) -> list[tuple[str, float]]:
        """Names and inner products with (D,), the ``top`` largest (None: all), largest first.

        Equal products are in the order of the names.
        """

    @abc.abstractmethod
    def speakers(self) -> list[Enrolment]:
        """All enrolments, in the order of their names."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let the store go; it cannot be used any more."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def __contains__(self, name: str) -> bool: ...

    @abc.abstractmethod
    def _put(self, made: Enrolment, vector: np.ndarray, replace: bool) -> None:
        """Keep an enrolment, all or nothing of it, after ``check_new``."""

    @abc.abstractmethod
    def _forget(self, names: list[str]) -> None:
        """Delete speakers after ``_require`` of each."""

    @abc.abstractmethod
    def _some_names(self) -> list[str]:
        """A few names, for messages."""

    def _require(self, name: str) -> None:
        if name not in self:
            some, count = self._some_names(), len(self)
            known = ", ".join(map(repr, some)) + (", ..." if count > len(some) else "")
            raise UserError(f"{self.path}: {name!r} is not enrolled; {count} are: {known or '-'}")

    def _require_vectors(self, vectors: np.ndarray) -> np.ndarray:
        if not self.model.unit_parts(vectors):  # NaN is not either
            raise damaged(self.path, "a vector not of unit length")
        return vectors


def damaged(name: str, what: str) -> UserError:
    """The error that says that the store ``name`` is damaged, and where."""
    return UserError(f"{name}: the store is damaged ({what}); take a copy of it, or enrol anew")


def check_speaker(name: object) -> str:
    """A speaker's name in Unicode's composed form; ``UserError`` for what cannot be one."""
    if not isinstance(name, str) or not name.strip() or name != name.strip():
        raise UserError(f"a speaker's name is a text without blanks round it, not {name!r}")
    if not name.isprintable() or len(name) > LONGEST_NAME:
        raise UserError(
            f"a speaker's name has at most {LONGEST_NAME} characters that can be printed, not "
            f"{name[:LONGEST_NAME]!r}"
        )
    return unicodedata.normalize("NFC", name)
