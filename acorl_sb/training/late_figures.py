"""Figures of training steps that a GPU hands over when it has them, while the CPU goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch


class LateFigures:
    """A queue of figures under way from a GPU; on a CPU they are there at once.

    Example
    -------
    >>> late = LateFigures()
    >>> late.put(1, ["loss"], torch.tensor([0.5]))
    >>> late.put(2, ["loss"], torch.tensor([0.25]))
    >>> list(late.take(keep=1))
    [(1, {'loss': 0.5})]
    >>> list(late.take())
    [(2, {'loss': 0.25})]
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Sequence[str], torch.Tensor, torch.cuda.Event | None]] = (
            deque()
        )

    def put(self, step: int, names: Sequence[str], values: torch.Tensor) -> None:
        """Send the figures (names,) of a step on their way."""
        arrived = None
        if values.device.type == "cuda":
            here = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            here.copy_(values, non_blocking=True)
            arrived, values = torch.cuda.Event(), here
            arrived.record()
        self._waiting.append((step, names, values, arrived))

    def take(self, keep: int = 0) -> Iterator[tuple[int, dict[str, float]]]:
        """Steps with their figures in order, all but the ``keep`` last ones; waits for them."""
        while len(self._waiting) > keep:
            step, names, values, arrived = self._waiting.popleft()
            if arrived is not None:
                arrived.synchronize()
            yield step, dict(zip(names, values.tolist(), strict=True))
