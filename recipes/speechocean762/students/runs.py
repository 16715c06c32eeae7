"""From the study's YAML to runs of train.py, and what is kept of each."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pairs.jobs import Job

from acorl_sb.data.scorefiles import read_scores
from acorl_sb.encoders.member_folder import read_record
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path

CORPUS = "speechocean762"
OWN_KEYS = ("teachers", "draws")  # of a run, not of train.py
PARTS = ("dev", "test")


def jobs(tree: Mapping[str, Any], folder: Path, data: Path, device: str) -> list[Job]:
    """Every run of every seed, in the order of the YAML.

    Raises ``UserError`` for teachers that are no run above.
    """
    made: list[Job] = []
    names = list(tree["runs"])
    for place, (name, run) in enumerate(tree["runs"].items()):
        teachers = run.get("teachers")
        if teachers is not None and teachers not in names[:place]:
            raise UserError(f"runs.{name}: teachers: {teachers!r} is no run above it")
        for seed in tree["seeds"]:
            own = run_folder(folder, name, seed)
            changes = {k: copy.deepcopy(v) for k, v in run.items() if k not in OWN_KEYS}
            for member in changes.get("members", []):
                member["seed"] = 1000 * seed + member["seed"]
            needs: tuple[Path, ...] = ()
            if teachers is not None:
                needs = (run_folder(folder, teachers, seed),)
                changes["references"] = references(tree, needs[0], teachers)
            common = {**tree["common"], "corpus": CORPUS, "data_folder": str(data.resolve())}
            made.append(
                Job(
                    own,
                    {**common, "seed": seed, **changes},
                    needs,
                    after(folder, own, name, seed, run.get("draws", 0), device),
                    (f"--device={device}",),
                )
            )
    return made


def run_folder(folder: Path, name: str, seed: int) -> Path:
    """Where a run is."""
    return folder / "runs" / f"seed{seed}" / name


def references(tree: Mapping[str, Any], taught: Path, name: str) -> list[dict[str, str]]:
    """The members of a run as the key ``references``, in their order."""
    members = tree["runs"][name].get("members") or tree["members"]
    names = [str(member["name"]) for member in members]
    return [{"name": n, "folder": str((taught / "members" / n).resolve())} for n in names]


def after(folder: Path, own: Path, name: str, seed: int, draws: int, device: str):
    """What is done once a run is finished: its members' scores are kept, small."""

    def keep() -> None:
        path = score_file(folder, name, seed)
        if path.is_file():
            return
        found: dict[str, Any] = {}
        for member in sorted(p.name for p in (own / "members").iterdir()):
            for part in PARTS:
                scores = read_scores(own / "scores" / member / f"{part}.txt").scores
                found[f"{member}/{part}"] = scores.astype(np.float32)
            record = read_record(own / "members" / member, ("seconds",))
            found[f"{member}/cost"] = np.array([record["parameters"], record["seconds"]])
        if draws:
            std = own / "std.npz"
            command = [sys.executable, Path(__file__).with_name("drop.py"), own, std]
            told = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([*map(str, command), str(draws), device], check=True, env=told)
            found["std/test"] = np.load(std)["std"]
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **found)

    return keep


def score_file(folder: Path, name: str, seed: int) -> Path:
    """What is kept of a run: scores, cost and doubts of its members."""
    return folder / "scores" / f"seed{seed}" / f"{name}.npz"


def kept(folder: Path, name: str, seed: int) -> dict[str, np.ndarray]:
    """The arrays of a run that is finished; empty where it is not."""
    path = score_file(folder, name, seed)
    return dict(np.load(path)) if path.is_file() else {}
