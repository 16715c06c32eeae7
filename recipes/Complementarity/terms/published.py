"""Figures that have been measured before, kept beside the recipe, so that a study goes on anywhere.

Days of training need not be one machine's. ``published/`` holds the study's YAML, the counts of its
data, and of each row and seed the figures and bootstrap replicates; no weights and no scores.
A new study folder begins with them: their rows are not trained again, and new rows are compared
with them seed by seed. A row's members all come from one folder; another machine rounds otherwise,
which for a comparison is a change of seed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path

FOLDER = Path(__file__).parents[1] / "published"


def begin(folder: Path, published: Path = FOLDER) -> None:
    """Put the published figures into a study folder that has none of its own yet."""
    if (folder / "study.yaml").exists():
        return
    for path in sorted(p for p in published.rglob("*") if p.is_file()):
        if path.parent != published or path.name == "study.yaml":
            copy(path, folder / path.relative_to(published))


def check(folder: Path, published: Path = FOLDER) -> None:
    """``UserError`` where the study's data are not those of the published figures."""
    kept = published / "prepared.json"
    if kept.is_file() and read(kept) != read(folder / "data" / "prepared.json"):
        raise UserError(
            f"{folder / 'data'}: speakers, utterances and trials are not those of {kept}, so "
            f"figures cannot be compared; remove {published} to begin anew"
        )


def publish(folder: Path, published: Path = FOLDER) -> None:
    """Keep what the study folder has beside the recipe; replicates as float16."""
    copy(folder / "study.yaml", published / "study.yaml")
    copy(folder / "data" / "prepared.json", published / "prepared.json")
    for path in sorted((folder / "figures").rglob("*.json")):
        target = published / path.relative_to(folder)
        copy(path, target)
        drawn = np.load(path.with_suffix(".npz"))
        with atomic_path(target.with_suffix(".npz")) as temporary:
            np.savez_compressed(temporary, **{k: drawn[k].astype(np.float16) for k in drawn})


def copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
