"""What the figures need beside the results: training logs, and which DET curves coincide."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from acorl_sb.encoders.member_folder import read_record
from acorl_sb.training.epoch_log import read_log
from acorl_sb.utils.errors import UserError


def coinciding(dets: dict[str, dict[str, Sequence[float]]], width: float = 0.03) -> list[list[str]]:
    """Groups of names whose DET curves (of ``det_curve``) a reader cannot tell apart.

    Two curves coincide where they are nowhere farther apart than ``width`` normal deviates (about
    the breadth of a drawn line), measured across the diagonal direction. A group holds all that
    coincide with its first one.
    """
    turned = {}
    for name, det in dets.items():
        x, y = ndtri(det["p_fa"]), ndtri(det["p_miss"])
        if len(x):
            turned[name] = (y - x, y + x)  # rises along the curve; distance from the antidiagonal
    left, groups = list(turned), []
    while left:
        along, across = turned[left[0]]
        group = [left[0]]
        for name in left[1:]:
            other_along, other_across = turned[name]
            low, high = max(along[0], other_along[0]), min(along[-1], other_along[-1])
            grid = np.concatenate([along, other_along])
            grid = grid[(grid >= low) & (grid <= high)]
            apart = np.interp(grid, along, across) - np.interp(grid, other_along, other_across)
            if len(grid) and np.abs(apart).max() <= width * np.sqrt(2.0):
                group.append(name)
        left = [name for name in left if name not in group]
        groups += [group] if len(group) > 1 else []
    return groups


def read_training(run_folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Training curves of a run folder: member -> its ``train_log.jsonl`` as a list of epochs.

    Each epoch is a dict with ``epoch`` and some of ``loss``, ``task_loss``, ``adversary_loss``,
    ``weight``, ``dev_eer`` (a fraction). Those of a member that goes on from another are counted
    after that one's. Members without a log are left out, and lines that are no
    epoch's, with a warning.

    Raises
    ------
    UserError
        For a folder that is not there, a log that cannot be read, and a damaged member's record.
    """
    folder = Path(run_folder)
    if not folder.is_dir():
        raise UserError(f"{run_folder}: no such run folder")
    members = {}
    for path in sorted(folder.glob("members/*/train_log.jsonl")):
        try:
            epochs = read_log(path)
        except OSError as error:
            raise UserError(f"{path}: not readable ({error.strerror or error})") from None
        if epochs:
            members[path.parent.name] = [dict(epoch) for epoch in epochs]
    return _one_after_another(members, {n: _start(folder / "members" / n) for n in members})


def _start(member: Path) -> str:
    """What a finished member goes on from, as its record has it; empty: nothing."""
    spec = (read_record(member, ()) or {"settings": {}})["settings"].get("member")
    return str(spec.get("start") or "") if isinstance(spec, dict) else ""


def _one_after_another(
    members: dict[str, list[dict[str, Any]]], starts: dict[str, str]
) -> dict[str, list[dict[str, Any]]]:
    """The same with the epochs of each member after those of all that it goes on from."""
    last = {name: epochs[-1]["epoch"] for name, epochs in members.items()}
    moved = {}
    for name, epochs in members.items():
        before = [starts[name]]
        while before[-1] in last and before[-1] not in (name, *before[:-1]):  # no circle
            before.append(starts[before[-1]])
        shift = sum(last[start] for start in before[:-1])
        moved[name] = [{**e, "epoch": e["epoch"] + shift} for e in epochs]
    return moved
