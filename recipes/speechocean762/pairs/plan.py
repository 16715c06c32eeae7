"""From candidates and seeds to runs of train.py, each member trained once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from acorl_sb.utils.hparams import read_tree
from pairs.candidates import FIRST, Candidate
from pairs.jobs import Job


class Plan:
    """From candidates and seeds to runs of train.py."""

    def __init__(
        self,
        base: Path,
        folder: Path,
        common: dict[str, Any],
        references: dict[str, Any],
        candidates: dict[str, Candidate],
        after: Callable[[str, int, Path], None],
    ):
        self.base, self.folder, self.common = base, folder, common
        self.references, self.candidates, self.after = references, candidates, after

    def jobs(self, wanted: list[tuple[str, int]]) -> list[Job]:
        """What both members of all pairs need, each run once and after those that it needs."""
        made: dict[Path, Job] = {}
        for name, seed in wanted:
            candidate = self.candidates[name]
            for needed in (candidate.reference, candidate.member or name):
                self.add(needed, seed, made)
        return list(made.values())

    def add(self, name: str, seed: int, made: dict[Path, Job]) -> tuple[Path, ...]:
        """Add the runs that train this member, unless they are there; returns its folder if any.

        ``name`` is ``first``, a candidate or an external encoder, which needs none.
        """
        if name in self.references:
            return ()
        folder = self.folder / f"seed{seed}" / name
        if folder in made:
            return (folder,)
        needs: tuple[Path, ...] = ()
        if name == FIRST:
            changes = {"members": [self.member(0, FIRST, {}, 1000 * seed)]}
        else:
            candidate = self.candidates[name]
            changes = dict(candidate.changes)
            own = {key: changes.pop(key) for key in ("objective", "encoder") if key in changes}
            if "start" in changes:
                start = changes.pop("start")
                needs += self.add(start, seed, made)
                own["start"] = str(self.trained(start, seed))
            # The same seed of initialisation and of the crops' order for all candidates.
            spec = self.member(1, "second", own, 1000 * seed + candidate.seed)
            if spec["objective"] is not None:
                needs += self.add(candidate.reference, seed, made)
                changes["references"] = [self.reference(candidate.reference, seed)]
            changes["members"] = [spec]
        changes = {**self.common, "seed": seed, **changes}
        trained = self.trained(name, seed)
        made[folder] = Job(folder, changes, needs, lambda: self.after(name, seed, trained))
        return (folder,)

    def trained(self, name: str, seed: int) -> Path:
        """Where a member that the study trains will be."""
        member = FIRST if name == FIRST else "second"
        return (self.folder / f"seed{seed}" / name / "members" / member).resolve()

    def member(self, index: int, name: str, own: dict[str, Any], seed: int) -> dict[str, Any]:
        """The base's member, changed."""
        return {**read_tree(self.base)["members"][index], "name": name, "seed": seed, **own}

    def reference(self, name: str, seed: int) -> dict[str, Any]:
        """The entry of train.py's key ``references`` for the other member of a pair."""
        if name in self.references:
            return {"name": name, **self.references[name]}
        return {"name": name, "folder": str(self.trained(name, seed))}
