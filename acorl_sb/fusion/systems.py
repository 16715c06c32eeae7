"""Which systems are fused, and where their files lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acorl_sb.encoders.run_members import ensemble_of, trained_members
from acorl_sb.utils.errors import UserError


@dataclass(frozen=True)
class System:
    """Where one system's files lie: by part (``dev``, ``test``; or ``scores``, the only set).

    ``embeddings`` may also have the part ``train``, from which a PLDA learns.
    """

    name: str
    scores: dict[str, str]
    embeddings: dict[str, str] = field(default_factory=dict)
    cohort: str | None = None


def name_systems(paths: Sequence[str]) -> list[str]:
    """Short names that tell score files apart: the parts of their paths that differ.

    ``runs/a/dev.txt runs/b/dev.txt`` are ``a`` and ``b``. Raises ``UserError`` for a path given
    twice.
    """
    twice = [path for path in dict.fromkeys(paths) if list(paths).count(path) > 1]
    if twice:
        raise UserError(f"the score file {twice[0]} is given more than once")
    parts = [Path(path).with_suffix("").parts for path in paths]
    depth = max(len(p) for p in parts)
    columns = [[p[-back] if back <= len(p) else "" for p in parts] for back in range(1, depth + 1)]
    for column in columns:  # one part that tells all apart, the last such
        if len(set(column)) == len(paths) and all(column):
            return column
    differing = [column for column in columns if len(set(column)) > 1]
    return ["/".join(filter(None, reversed(names))) for names in zip(*differing, strict=True)]


def from_run_folder(folder: str | os.PathLike) -> tuple[list[System], list[str]]:
    """The encoders of a finished run's ensemble, references too, and its manifests.

    Raises ``UserError`` when the folder holds no members with scores.
    """
    root = Path(folder)
    systems = []
    for name in ensemble_of(root) or trained_members(root):
        scores = {part: str(root / "scores" / name / f"{part}.txt") for part in ("dev", "test")}
        if not all(Path(path).is_file() for path in scores.values()):
            continue
        embeddings = {
            part: str(root / "embeddings" / name / part)
            for part in ("dev", "test")
            if (root / "embeddings" / name / part).is_dir()
        }
        systems.append(System(name, scores, embeddings if len(embeddings) == 2 else {}))
    if not systems:
        raise UserError(f"{folder}: no members with scores (members/*, scores/*/dev.txt, test.txt)")
    return systems, [str(root / "manifest" / f"{part}.csv") for part in ("dev", "test")]
