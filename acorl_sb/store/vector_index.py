"""Exact search for the largest inner products: one matrix, one product."""

from __future__ import annotations

import numpy as np

_SLACK = 32  # candidates beyond the ones asked for, since float32 may swap neighbours
_ROWS = 1 << 16


class VectorIndex:
    """Named vectors (M, D) float32 in memory.

    Arguments
    ---------
    names : M different names
    matrix : (M, D) float32

    Example
    -------
    >>> index = VectorIndex(["a", "b"], np.eye(2, dtype=np.float32))
    >>> index.put("c", np.array([0.6, 0.8]))
    >>> index.search(np.array([0.0, 1.0]), top=2)
    [('b', 1.0), ('c', 0.800000011920929)]
    """

    def __init__(self, names: list[str], matrix: np.ndarray):
        self.names, self.matrix = list(names), matrix
        self.rows = {name: row for row, name in enumerate(self.names)}

    def put(self, name: str, vector: np.ndarray) -> None:
        """Add a vector (D,), or replace the one of that name."""
        row = self.rows.get(name)
        if row is None:
            row = len(self.names)
            if row == len(self.matrix):  # doubled, so that a row costs the same on average
                room = np.empty((max(16, row), self.matrix.shape[1]), np.float32)
                self.matrix = np.concatenate([self.matrix, room])
            self.rows[name] = row
            self.names.append(name)
        self.matrix[row] = vector

    def remove(self, name: str) -> None:
        """Take a vector out; the last one moves to its row."""
        row, last = self.rows.pop(name), self.names.pop()
        if last != name:
            self.names[row], self.rows[last] = last, row
            self.matrix[row] = self.matrix[len(self.names)]
        self.matrix[len(self.names)] = 0

    def search(self, query: np.ndarray, top: int | None = None) -> list[tuple[str, float]]:
        """The ``top`` names (None: all) of largest inner product with (D,), largest first.

        Equal products are in the order of the names. The products that are returned are sums in
        float64.
        """
        held = self.matrix[: len(self.names)]
        chosen = np.arange(len(held))
        if top is not None and top + _SLACK < len(held):
            scores = held @ np.asarray(query, np.float32)
            chosen = np.argpartition(scores, -(top + _SLACK))[-(top + _SLACK) :]
        query = np.asarray(query, np.float64)
        found: list[tuple[str, float]] = []
        for start in range(0, len(chosen), _ROWS):
            rows = chosen[start : start + _ROWS]
            products = held[rows].astype(np.float64) @ query
            found += [(self.names[i], float(p)) for i, p in zip(rows, products, strict=True)]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:top]
