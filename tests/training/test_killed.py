"""A training that SIGKILL meets goes on as if nothing had happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_killed_training_ends_with_the_undisturbed_weights():
    """The benchmark of ten kills, with two."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "training.py", "--rounds", "0", "--kills", "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "SIGKILLs in training, each resumed: 2" in done.stdout
    assert "differ from the undisturbed run's: 0" in done.stdout
