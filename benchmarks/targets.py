"""The form that every benchmark reports in: a row per target, exit code 1 when one is missed."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed

from acorl_sb.utils.files import write_json


@dataclass(frozen=True)
class Row:
    """One measured figure against its target."""

    name: str
    figure: float
    relation: str
    target: float
    holds: bool


class Rows:
    """Collects rows, then prints and writes them.

    >>> rows = Rows()
    >>> rows.at_most("step / plain step", 1.2, 1.4)
    >>> rows.finish()
    step / plain step: 1.2 (target <= 1.4) holds
    0
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def at_least(self, name: str, figure: float, target: float) -> None:
        """Record a figure that must not fall below ``target``."""
        self._add(name, figure, ">=", target, figure >= target)

    def at_most(self, name: str, figure: float, target: float) -> None:
        """Record a figure that must not exceed ``target``."""
        self._add(name, figure, "<=", target, figure <= target)

    def _add(self, name: str, figure: float, relation: str, target: float, holds: bool) -> None:
        figure = float(figure)
        if not math.isfinite(figure):
            raise ValueError(f"{name}: the measured figure is {figure}")
        self.rows.append(Row(name, figure, relation, float(target), bool(holds)))

    def finish(self, json_path: str | None = None) -> int:
        """Print every row, write them to ``json_path`` if given; return 1 if a target is missed."""
        for row in self.rows:
            verdict = "holds" if row.holds else "MISSED"
            print(
                f"{row.name}: {row.figure:.4g} (target {row.relation} {row.target:.4g}) {verdict}"
            )
        if json_path:
            write_json(json_path, [asdict(row) for row in self.rows])
        return 0 if self.rows and all(row.holds for row in self.rows) else 1
