"""Exact search for the largest inner products: one matrix, one product."""

from __future__ import annotations

import numpy as np

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
        self.longest = _longest(self.matrix[: len(self.names)])

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
        self.longest = max(self.longest, _longest(self.matrix[row : row + 1]))

    def _error(self, query: np.ndarray) -> float:
        """What a product in float32 may differ by from the exact one, at most."""
        unit = np.finfo(np.float32).eps / 2
        return (len(query) + 2) * unit * float(np.linalg.norm(query)) * self.longest

    def search(self, query: np.ndarray, top: int | None = None) -> list[tuple[str, float]]:
        """The ``top`` names (None: all) of largest inner product with (D,), largest first.

        Equal products are in the order of the names, and so are chosen. The products that are
        returned are sums in float64, in which equal vectors have equal ones.
        """
        held = self.matrix[: len(self.names)]
        chosen = np.arange(len(held))
        query = np.asarray(query, np.float64)
        if top is not None and top < len(held):
            scores = held @ query.astype(np.float32)
            lowest = np.partition(scores, -top)[-top]
            chosen = np.flatnonzero(scores >= lowest - 2 * self._error(query))
        found: list[tuple[str, float]] = []
        for start in range(0, len(chosen), _ROWS):
            rows = chosen[start : start + _ROWS]
            products = np.einsum("md,d->m", held[rows].astype(np.float64), query)
            found += [(self.names[i], float(p)) for i, p in zip(rows, products, strict=True)]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:top]


def _longest(rows: np.ndarray) -> float:
    """Length of the longest row; 0 where there is none."""
    return float(np.sqrt(np.einsum("md,md->m", rows, rows).max(initial=0.0)))
