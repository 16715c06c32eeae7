"""What a member was trained with, so that a finished or interrupted one is not mixed with another.

A finished member's record (``member.json``) and an interrupted one's ``save/settings.json`` hold
all that decides its weights: the YAML's keys as plain values, and a hash of the weights of every
frozen encoder that it complements or goes on from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from speechbrain.utils.checkpoints import CKPT_PREFIX
from speechbrain.utils.run_opts import RunOptions

from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.weights import weights_hash
from acorl_sb.utils.distributed import rank_and_world
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json
from acorl_sb.utils.hparams import plain

REFERENCES = "reference_weights"
STARTED = "settings.json"
LATER = ("training.dev_seconds",)  # that records of earlier versions do not have


class Start(NamedTuple):
    """The member that one goes on from: its folder, and the hash of its weights, if known."""

    name: str
    folder: Path
    weights: str | None


def reference_weights(references: FrozenEnsemble) -> dict[str, str]:
    """Name -> hash of the weights of each frozen reference encoder, in order."""
    return {member.name: weights_hash(member.encoder) for member in references.members}


def member_settings(
    spec: Any,
    index: int,
    training: dict[str, Any],
    references: Mapping[str, str | None],
    start: Start | None = None,
) -> dict[str, Any]:
    """All that determines a member's weights, as plain values.

    ``spec`` is its entry in the YAML's ``members`` and ``index`` the place there; ``training`` are
    the settings of training as plain values; ``references`` the hashes of its frozen reference
    encoders' weights, None where one is not trained yet; ``start`` the member that it goes on from.
    """
    complements = spec.get("objective") is not None
    hashes = dict(references) if complements else {}
    if start is not None:
        hashes[start.name] = start.weights
    return {
        "member": plain(spec),
        "index": index,
        "training": training,
        "references": list(references) if complements else [],
        REFERENCES: {name: known for name, known in hashes.items() if known},
    }


def run_settings(run_opts: RunOptions) -> dict[str, Any]:
    """What a training owes to how it is run: ranks, precision, gradient accumulation."""
    precision = run_opts.precision
    if run_opts.bfloat16_mix_prec or run_opts.auto_mix_prec:  # SpeechBrain's older options
        precision = "bf16" if run_opts.bfloat16_mix_prec else "fp16"
    return {
        "ranks": rank_and_world()[1],
        "precision": precision,
        "grad_accumulation_factor": run_opts.grad_accumulation_factor,
    }


def refuse_changes(folder: Path, before: dict, now: dict, how: str = "trained") -> None:
    """UserError naming the first setting in which a member on disk differs from the YAML.

    Hashes of reference encoders are compared where both sides know them.
    """
    old, new = dict(_flat(before)), dict(_flat(now))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) == new.get(key) or (key in LATER and key not in old):
            continue
        if not key.startswith(f"{REFERENCES}."):
            raise UserError(
                f"{folder}: {how} with {key} = {old.get(key)}, now {new.get(key)}; "
                "name another output_folder or delete this member's folder"
            )
        if key in old and key in new:
            reference = key.removeprefix(f"{REFERENCES}.")
            raise UserError(
                f"{folder}: {how} with the frozen encoder {reference!r}, whose weights are others "
                "now; bring those back, name another output_folder, or delete this member's folder"
            )


def has_started(folder: Path) -> bool:
    """Whether a member's folder holds checkpoints of a training that was interrupted."""
    return any((folder / "save").glob(f"{CKPT_PREFIX}+*"))


def refuse_other_start(folder: Path, now: dict[str, Any]) -> None:
    """UserError when the interrupted training in a member's folder was started otherwise.

    ``now`` is what ``note_start`` writes. A folder without checkpoints passes.
    """
    if not has_started(folder):
        return
    path = folder / "save" / STARTED
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(before, dict):
            raise ValueError("no settings")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not readable ({error}), so what the checkpoint beside it was trained with is "
            "unknown; delete this member's folder"
        ) from None
    refuse_changes(folder, before, now, "started")


def note_start(folder: Path, now: dict[str, Any]) -> None:
    """Note, before the first step, what a member's training is started with.

    Raises ``UserError`` when checkpoints are there that were started with something else.
    """
    refuse_other_start(folder, now)
    write_json(folder / "save" / STARTED, now)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
