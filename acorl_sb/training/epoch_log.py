"""The training log: one line per epoch, for people and as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)

from acorl_sb.utils.files import write_text

logger = logging.getLogger(__name__)


@register_checkpoint_hooks
class RunningMeans:
    """Means over an epoch of whatever a step tells, kept over an interruption.

    Example
    -------
    >>> means = RunningMeans()
    >>> means.add(loss=1.0)
    >>> means.add(loss=2.0, weight=0.5)
    >>> means.values()
    {'loss': 1.5, 'weight': 0.5}
    """

    def __init__(self):
        self.sums: dict[str, list[float]] = {}

    def clear(self) -> None:
        self.sums = {}

    def add(self, **values: float) -> None:
        """Take in what one step tells, by name."""
        for key, value in values.items():
            total, count = self.sums.get(key, (0.0, 0))
            self.sums[key] = [total + value, count + 1]

    def values(self) -> dict[str, float]:
        return {key: total / count for key, (total, count) in self.sums.items()}

    @mark_as_saver
    def save(self, path):
        """Write the sums so far; SpeechBrain's checkpointer calls it."""
        Path(path).write_text(json.dumps(self.sums), encoding="utf-8")

    @mark_as_loader
    def load(self, path, end_of_epoch):
        """Go on with the sums of an interrupted epoch."""
        self.sums = json.loads(Path(path).read_text(encoding="utf-8"))


def log_epoch(name: str, line: Mapping[str, float], path: str | Path) -> list[Mapping[str, float]]:
    """Show an epoch's figures of a member and put them into its log as a line of JSON.

    Arguments
    ---------
    name : str
        The member's.
    line : mapping
        ``epoch``, counted from 1, and the figures. A resumed run repeats the epoch that it was
        stopped in: lines of this epoch and later ones are replaced. Lines that are damaged are
        left out, with a warning: the log decides nothing.
    path : path
        The log.

    Returns
    -------
    list of mapping
        All lines of the log, this one last.
    """
    logger.info("%s: %s", name, " ".join(_shown(*figure) for figure in line.items()))
    path = Path(path)
    earlier = read_log(path) if path.exists() else []
    lines = [old for old in earlier if old["epoch"] < line["epoch"]]
    lines.append(dict(line))
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return lines


def read_log(path: str | Path) -> list[Mapping[str, float]]:
    """The lines of a log: ``epoch`` and figures, as far as they are mappings of numbers.

    Others are left out, with a warning. Raises ``OSError`` for a log that is not there.
    """
    lines = []
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    for number, row in enumerate(text.splitlines(), 1):
        if not row.strip():
            continue
        try:
            line = json.loads(row)
            figures = [line["epoch"], *line.values()]
            if any(type(figure) not in (int, float) for figure in figures):
                raise TypeError("not all figures are numbers")
            list(map(float, figures))  # of a whole number that is none, an error as well
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            logger.warning("%s line %d: not an epoch of training, left out", path, number)
        else:
            lines.append(line)
    return lines


def _shown(key: str, value: float) -> str:
    """A figure as the screen shows it: an EER in percent, as in the tables."""
    if isinstance(value, int):
        return f"{key} {value}"
    return f"{key} {100 * value:.2f} %" if key.endswith("eer") else f"{key} {value:.4g}"
