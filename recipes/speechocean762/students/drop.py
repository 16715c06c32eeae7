"""Monte-Carlo dropout of a finished run's member on its test trials. A process of its own.

    python students/drop.py RUN_FOLDER OUT.npz DRAWS DEVICE

Writes ``std`` (N,) float32, in the order of the trials.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.trial_set import read_trial_set
from acorl_sb.encoders.member_folder import load_member
from acorl_sb.scoring.dropout_scores import dropout_scores
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.files import atomic_path


def main() -> int:
    torch.set_num_threads(1)
    folder, out, draws, device = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    (member,) = sorted((folder / "members").iterdir())
    manifest = folder / "manifest"
    trials = read_trial_set(read_manifest(manifest / "test.csv"), manifest / "test_trials.txt")
    _, std = dropout_scores(load_member(member).to(device), trials, draws, device=device)
    with atomic_path(out) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, std=std.astype(np.float32))
    return 0


if __name__ == "__main__":
    run_cli(main)
