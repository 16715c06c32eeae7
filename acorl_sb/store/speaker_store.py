"""Enrolled speakers in one SQLite file; see docs/store.md for its form and what it promises."""

from __future__ import annotations

import contextlib
import datetime
import os
import sqlite3
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from acorl_sb.store.store_file import connect, damaged, faults, require_same
from acorl_sb.store.store_model import StoreModel
from acorl_sb.store.vector_index import VectorIndex
from acorl_sb.utils.errors import UserError

LONGEST_NAME = 200
_BLOCK = 8192


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


class SpeakerStore:
    """Speakers by name, each one vector, of one model; made by ``open_store``.

    Every enrolment is one transaction: after a crash it is there as a whole or not at all. What
    is deleted is overwritten in the file. Threads may share a store, and so may processes; what
    another one writes is seen.
    """

    def __init__(self, connection: sqlite3.Connection, model: StoreModel, path: str):
        self.model, self.path = model, path
        self._connection = connection
        self._lock = threading.RLock()
        self._index: VectorIndex | None = None
        self._version = -1

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
        vector goes, for one that cannot be a name, and where the file cannot be written.
        """
        name = check_speaker(name)
        vector = np.ascontiguousarray(vector, "<f4")
        if vector.shape != (self.model.size,) or not self.model.unit_parts(vector[None]):
            raise ValueError(f"a vector of {self.model.size} figures, its parts of unit length")
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        row = (name, vector.tobytes(), now, int(utterances), float(seconds))
        with self._lock:
            with self._transaction():
                self.check_new(name, replace)
                insert = "INSERT OR REPLACE INTO speakers VALUES (?, ?, ?, ?, ?)"
                self._connection.execute(insert, row)
            if self._index is not None:
                self._index.put(name, vector)
        return Enrolment(name, now, int(utterances), float(seconds), self.model.hash)

    def require_model(self, model: StoreModel) -> None:
        """Raise ``UserError`` where the vectors are of another model than this."""
        require_same(self.model, model, self.path)

    def check_new(self, name: str, replace: bool = False) -> None:
        """Raise ``UserError`` for a name that ``enrol`` would refuse."""
        if check_speaker(name) in self and not replace:
            raise UserError(
                f"{self.path}: {name!r} is enrolled already; to enrol anew, say replace"
            )

    def delete(self, names: str | Sequence[str]) -> None:
        """Forget speakers: their rows are overwritten, then the file is written anew without them.

        Raises ``UserError``, before anything is deleted, for a name that is not there.
        """
        names = [check_speaker(n) for n in ([names] if isinstance(names, str) else names)]
        with self._transaction():
            for name in names:
                self._require(name)
            rows = [(name,) for name in names]
            self._connection.executemany("DELETE FROM speakers WHERE name = ?", rows)
        with self._lock, faults(self.path):
            self._index = None
            self._connection.execute("VACUUM")

    def vector(self, name: str) -> np.ndarray:
        """A speaker's vector (D,) float32; ``UserError`` for a name that is not there."""
        name = check_speaker(name)
        with self._lock, faults(self.path):
            self._require(name)
            query = "SELECT vector FROM speakers WHERE name = ?"
            return self._matrix(self._connection.execute(query, (name,)).fetchall())[0]

    def search(self, query: np.ndarray, top: int | None = None) -> list[tuple[str, float]]:
        """Names and inner products with (D,), the ``top`` largest (None: all), largest first.

        The vectors are loaded when they are first searched, and again when another process has
        changed the file.
        """
        with self._lock, faults(self.path):
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if self._index is None or version != self._version:
                self._index, self._version = self._load(), version
            return self._index.search(query, top)

    def speakers(self) -> list[Enrolment]:
        """All enrolments, in the order of their names."""
        query = "SELECT name, enrolled, utterances, seconds FROM speakers ORDER BY name"
        with self._lock, faults(self.path):
            rows = self._connection.execute(query).fetchall()
        for row in rows:
            if [type(value) for value in row] != [str, str, int, float]:
                raise damaged(self.path, "a speaker's row")
        return [Enrolment(n, t, u, s, self.model.hash) for n, t, u, s in rows]

    def __len__(self) -> int:
        with self._lock, faults(self.path):
            return self._connection.execute("SELECT count(*) FROM speakers").fetchone()[0]

    def __contains__(self, name: str) -> bool:
        with self._lock, faults(self.path):
            query = "SELECT 1 FROM speakers WHERE name = ?"
            name = unicodedata.normalize("NFC", name)
            return self._connection.execute(query, (name,)).fetchone() is not None

    def close(self) -> None:
        """Let the file go; the store cannot be used any more."""
        self._connection.close()

    def _require(self, name: str) -> None:
        if name not in self:
            query = "SELECT name FROM speakers ORDER BY name LIMIT 5"
            some = [row[0] for row in self._connection.execute(query)]
            count = len(self)
            known = ", ".join(map(repr, some)) + (", ..." if count > len(some) else "")
            raise UserError(f"{self.path}: {name!r} is not enrolled; {count} are: {known or '-'}")

    def _load(self) -> VectorIndex:
        count = len(self)
        names: list[str] = []
        matrix = np.empty((count, self.model.size), np.float32)
        rows = self._connection.execute("SELECT vector, name FROM speakers ORDER BY rowid")
        while block := rows.fetchmany(_BLOCK):
            if len(names) + len(block) > count:  # another process enrols at this moment
                return self._load()
            matrix[len(names) : len(names) + len(block)] = self._matrix(block)
            names += [row[1] for row in block]
        return VectorIndex(names, matrix[: len(names)])

    def _matrix(self, rows: list[tuple]) -> np.ndarray:
        """Rows whose first column is a vector -> (M, D); ``UserError`` for what cannot be one."""
        size = 4 * self.model.size
        if not all(isinstance(row[0], bytes) and len(row[0]) == size for row in rows):
            raise damaged(self.path, "a vector of another length")
        made = np.frombuffer(b"".join(row[0] for row in rows), "<f4").reshape(len(rows), -1)
        if not self.model.unit_parts(made):  # NaN is not either
            raise damaged(self.path, "a vector not of unit length")
        return made

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, faults(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def open_store(
    path: str | os.PathLike | None, model: StoreModel | None = None, create: bool = False
) -> SpeakerStore:
    """Open a store, or make an empty one.

    Arguments
    ---------
    path : of the file; None keeps the store in memory
    model : StoreModel or None
        That the vectors must be of; None takes the store's own, to list and delete.
    create : make a store of ``model`` where there is no file

    Returns
    -------
    SpeakerStore

    Raises
    ------
    UserError
        For a file that is missing (unless ``create``), damaged, no store, of a later version, or
        of another model. It is not changed.
    """
    return SpeakerStore(*connect(path, model, create))


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
