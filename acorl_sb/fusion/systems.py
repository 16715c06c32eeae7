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
    twice, however it is spelt.
    """
    refuse_twice(paths)
    parts = [Path(path).with_suffix("").parts for path in paths]
    if len(set(parts)) < len(parts):  # only their suffixes differ
        parts = [Path(path).parts for path in paths]
    depth = max(len(p) for p in parts)
    columns = [[p[-back] if back <= len(p) else "" for p in parts] for back in range(1, depth + 1)]
    for column in columns:  # one part that tells all apart, the last such
        if len(set(column)) == len(paths) and all(column):
            return column
    differing = [column for column in columns if len(set(column)) > 1]
    made = ["/".join(filter(None, reversed(names))) for names in zip(*differing, strict=True)]
    return [name or of[-1] for name, of in zip(made, parts, strict=True)]


def refuse_twice(paths: Sequence[str]) -> None:
    """Raise ``UserError`` where two of the paths lead to the same file."""
    seen: dict[str, str] = {}
    for path in paths:
        real = os.path.realpath(path)
        if real in seen:
            other = "" if seen[real] == path else f", as {seen[real]} too"
            raise UserError(f"{path} is given more than once{other}; give each of them once")
        seen[real] = path


def from_run_folder(
    folder: str | os.PathLike, names: Sequence[str] | None = None
) -> tuple[list[System], list[str]]:
    """The encoders of a finished run's ensemble, references too, and its manifests.

    Arguments
    ---------
    folder : path
        Output folder of ``train.py``.
    names : sequence of str or None
        Those of the ensemble that are wanted, in this order; None: all of it.

    Returns
    -------
    systems : list of System
    manifests : list of str
        Of the development and test speakers.

    Raises
    ------
    UserError
        For a folder that holds no members, a name that is none of theirs, and a member without
        its score files.
    """
    root = Path(folder)
    known = ensemble_of(root) or trained_members(root)
    if not known:
        raise UserError(f"{folder}: no members with scores (members/*, scores/*/dev.txt, test.txt)")
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise UserError(f"{folder}: no member '{unknown[0]}'; it has {', '.join(known)}")
    systems = []
    for name in names or known:
        scores = {part: str(root / "scores" / name / f"{part}.txt") for part in ("dev", "test")}
        missing = [path for path in scores.values() if not Path(path).is_file()]
        if missing:
            raise UserError(
                f"{missing[0]}: the scores of the run's member '{name}' are missing; run train.py "
                "again to make them, or name other members with --names"
            )
        embeddings = {
            part: str(root / "embeddings" / name / part)
            for part in ("dev", "test")
            if (root / "embeddings" / name / part).is_dir()
        }
        systems.append(System(name, scores, embeddings if len(embeddings) == 2 else {}))
    return systems, [str(root / "manifest" / f"{part}.csv") for part in ("dev", "test")]
