"""What a study has found so far: a row per finished pair, and differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acorl_sb.metrics.bootstrap import Measure
from acorl_sb.utils.files import write_json
from pairs.candidates import FIRST, Candidate
from pairs.compare import Difference, Error, difference, error
from pairs.conditions import Condition
from pairs.figures import Pair, fused, measure, side


class Results:
    """Figures of the pairs ``wanted``, (candidate, seed), as far as their members are trained.

    ``rows`` holds one dictionary per finished pair, see ``figures.measure``, with ``candidate``,
    ``seed``, ``parameters`` and ``seconds`` of training of the second member. A pair's figures are
    kept in ``figures/`` and not computed again.
    """

    def __init__(
        self,
        folder: Path,
        candidates: dict[str, Candidate],
        wanted: Sequence[tuple[str, int]],
        chosen: Sequence[str],
        seeds: Sequence[int],
        conditions: Sequence[Condition],
    ):
        self.folder, self.candidates, self.wanted = folder, candidates, wanted
        self.chosen, self.seeds, self.conditions = list(chosen), list(seeds), conditions
        self.rows: list[dict[str, Any]] = []
        self._errors: dict[tuple, Error] = {}

    @property
    def manifests(self) -> Path:
        return self.folder / "manifest"

    @property
    def main(self) -> str:
        """The condition that members are chosen by."""
        return self.conditions[0].name

    def update(self) -> bool:
        """Take in every pair whose members are trained by now; whether anything is new."""
        before = self.rows
        self.rows = [row for pair in self.wanted if (row := self.row(*pair)) is not None]
        return self.rows != before

    def row(self, name: str, seed: int) -> dict[str, Any] | None:
        trained = self.folder / f"seed{seed}" / (self.candidates[name].member or name)
        pair, conditions = self.pair(name, seed), self.conditions_of(name, seed)
        heard = [member / c.name / "test" for member in pair for c in conditions]
        if not all(path.exists() for path in heard):
            return None
        kept = self.folder / "figures" / f"{name}_{seed}.json"
        # A member that was trained again is heard again.
        newest = max(path.stat().st_mtime for path in heard)
        valid = kept.is_file() and kept.stat().st_mtime >= newest
        row = json.loads(kept.read_text()) if valid else {}
        if not {c.name for c in conditions} <= set(row.get("conditions", {})):
            record = json.loads((trained / "members" / "second" / "member.json").read_text())
            row = {
                "candidate": name,
                "seed": seed,
                "parameters": record["parameters"],
                "seconds": record["seconds"],
                **measure(pair, conditions, self.manifests),
            }
            write_json(kept, row)
        return row

    def conditions_of(self, name: str, seed: int) -> Sequence[Condition]:
        """All conditions for the pairs that are reported, the first for those only screened.

        What a chosen pair is compared with is reported with it.
        """
        reported = {*self.chosen}.union(*(self.candidates[n].against for n in self.chosen))
        return self.conditions if name in reported and seed in self.seeds else self.conditions[:1]

    def conditions_for(self, name: str, seed: int) -> Sequence[Condition]:
        """The conditions under which a member, ``first`` or a candidate's, has to be heard."""
        pairs = [(c.name, c.reference, c.member or c.name) for c in self.candidates.values()]
        wanted = [self.conditions_of(pair, seed) for pair, *members in pairs if name in members]
        return max(wanted, key=len, default=self.conditions[:1])

    def pair(self, name: str, seed: int) -> Pair:
        """Where the embeddings of a pair's members are."""
        candidate, seed_folder = self.candidates[name], self.folder / f"seed{seed}"
        first = self.folder / "references" / candidate.reference
        if candidate.reference == FIRST or candidate.reference in self.candidates:
            first = seed_folder / candidate.reference
        return Pair(first / "heard", seed_folder / (candidate.member or name) / "heard")

    def of(self, name: str, seeds: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """A candidate's rows, of some seeds or all, in the order of the seeds."""
        rows = [row for row in self.rows if row["candidate"] == name]
        return [row for row in rows if seeds is None or row["seed"] in seeds]

    def against(self, name: str, other: str, condition: str, kind: Measure) -> Difference | None:
        """A candidate minus another on the test trials, over the reported seeds.

        None before all of these are there, of both: intervals take a while.
        """
        done = [{row["seed"] for row in self.of(which, self.seeds)} for which in (name, other)]
        if done[0] & done[1] != set(self.seeds):
            return None
        return difference(
            *(
                [self.error(which, s, condition, kind) for s in self.seeds]
                for which in (name, other)
            )
        )

    def error(self, name: str, seed: int, condition: str, kind: Measure) -> Error:
        """The fused error of one pair on the test trials, computed once."""
        key = (name, seed, condition, kind)
        if key not in self._errors:
            scores = fused(self.pair(name, seed), condition, "test", self.main, self.manifests)
            self._errors[key] = error(scores, side(self.manifests, "test"), kind)
        return self._errors[key]
