"""Enrolled speakers in one SQLite file; see docs/store.md for its form and what it promises."""

from __future__ import annotations

import contextlib
import sqlite3
import unicodedata
import warnings
from collections.abc import Iterator

import numpy as np

from acorl_sb.store.speaker_store import (
    Enrolment,
    SpeakerStore,
    StoreWarning,
    check_speaker,
    damaged,
)
from acorl_sb.store.store_file import faults
from acorl_sb.store.store_model import StoreModel
from acorl_sb.store.vector_index import VectorIndex

_BLOCK = 8192


class SqliteStore(SpeakerStore):
    """Speakers in one file, searched exactly in memory.

    Every enrolment is one transaction: after a crash it is there as a whole or not at all. What
    is deleted is overwritten in the file. Processes may share a store; what another one writes is
    seen.

    Arguments
    ---------
    connection : sqlite3.Connection
    model, path
        See ``SpeakerStore``.
    """

    def __init__(self, connection: sqlite3.Connection, model: StoreModel, path: str):
        super().__init__(model, path)
        self._connection = connection
        self._index: VectorIndex | None = None
        self._version = -1

    def _put(self, made: Enrolment, vector: np.ndarray, replace: bool) -> None:
        row = (made.name, vector.tobytes(), *made[1:4])
        with self._lock:
            with self._transaction():
                self.check_new(made.name, replace)
                insert = "INSERT OR REPLACE INTO speakers VALUES (?, ?, ?, ?, ?)"
                self._connection.execute(insert, row)
            if self._index is not None:
                self._index.put(made.name, vector)

    def _forget(self, names: list[str]) -> None:
        """The rows are overwritten, then the file is written anew without them.

        The first is a transaction; where the second fails the speakers are gone all the same.
        """
        with self._transaction():
            self._require_whole()
            for name in names:
                self._require(name)
            rows = [(name,) for name in names]
            self._connection.executemany("DELETE FROM speakers WHERE name = ?", rows)
        with self._lock:
            self._index = None
            try:
                self._connection.execute("VACUUM")
            except sqlite3.Error as error:
                warnings.warn(
                    f"{self.path}: deleted and overwritten, but the file is not made smaller yet "
                    f"({error}); the next deletion does it",
                    StoreWarning,
                    stacklevel=3,
                )

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

    def _some_names(self) -> list[str]:
        query = "SELECT name FROM speakers ORDER BY name LIMIT 5"
        return [row[0] for row in self._connection.execute(query)]

    def _require_whole(self) -> None:
        """``UserError`` for a row or a vector that no enrolment has written."""
        self.speakers()
        rows = self._connection.execute("SELECT vector FROM speakers")
        while block := rows.fetchmany(_BLOCK):
            self._matrix(block)

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
        return self._require_vectors(made)

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
