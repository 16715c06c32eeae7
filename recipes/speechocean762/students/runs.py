"""From the study's YAML to runs of train.py, and what is kept of each."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pairs.jobs import Job

from acorl_sb.utils.errors import UserError

CORPUS = "speechocean762"
OWN_KEYS = ("teachers", "draws", "precision")  # of a run, not of train.py
PARTS = ("dev", "test")
PROGRAM = Path(__file__).with_name("train_run.py")


def jobs(tree: Mapping[str, Any], folder: Path, data: Path, device: str) -> list[Job]:
    """Every run of every seed, seed by seed in the order of the YAML.

    Raises ``UserError`` for teachers that are no run above.
    """
    return [
        job(tree, folder, data, device, name, seed)
        for seed in tree["seeds"]
        for name in tree["runs"]
    ]


def job(
    tree: Mapping[str, Any], folder: Path, data: Path, device: str, name: str, seed: int
) -> Job:
    """One run of one seed; see ``jobs``."""
    run, names = tree["runs"][name], list(tree["runs"])
    changes = {k: copy.deepcopy(v) for k, v in run.items() if k not in OWN_KEYS}
    for member in changes.get("members", []):
        member["seed"] = 1000 * seed + member["seed"]
    needs: tuple[Path, ...] = ()
    if teachers := run.get("teachers"):
        if teachers not in names[: names.index(name)]:
            raise UserError(f"runs.{name}: teachers: {teachers!r} is no run above it")
        needs = (run_folder(folder, teachers, seed),)
        changes["references"] = references(tree, needs[0], teachers)
    common = {**tree["common"], "corpus": CORPUS, "data_folder": str(data.resolve())}
    words = (folder / "manifest", score_file(folder, name, seed), run.get("draws", 0), device)
    words += (run.get("precision", "fp32"),)
    return Job(
        run_folder(folder, name, seed),
        {**common, "seed": seed, **changes},
        needs,
        options=tuple(map(str, words)),
        program=PROGRAM,
        noted={"draws": run.get("draws", 0), "precision": run.get("precision", "fp32")},
    )


def run_folder(folder: Path, name: str, seed: int) -> Path:
    """Where a run is."""
    return folder / "runs" / f"seed{seed}" / name


def references(tree: Mapping[str, Any], taught: Path, name: str) -> list[dict[str, str]]:
    """The members of a run as the key ``references``, in their order."""
    members = tree["runs"][name].get("members") or tree["members"]
    names = [str(member["name"]) for member in members]
    return [{"name": n, "folder": str((taught / "members" / n).resolve())} for n in names]


def score_file(folder: Path, name: str, seed: int) -> Path:
    """What is kept of a run: scores, cost and doubts of its members."""
    return folder / "scores" / f"seed{seed}" / f"{name}.npz"


def kept(folder: Path, name: str, seed: int) -> dict[str, np.ndarray]:
    """The arrays of a run that is finished; empty where it is not."""
    path = score_file(folder, name, seed)
    return dict(np.load(path)) if path.is_file() else {}
