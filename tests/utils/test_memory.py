"""Freed memory stays with the process where the C library can be asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROBE = """
import resource, sys, torch
from acorl_sb.utils.memory import keep_freed_memory
agreed = keep_freed_memory() if sys.argv[1] == "kept" else False
def use():
    for _ in range(20):
        torch.ones(12_000_000).add_(1)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(agreed, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_tensors_stop_faulting_pages_in():
    def run(how):
        done = subprocess.run(
            [sys.executable, "-c", PROBE, how], capture_output=True, text=True, check=True
        )
        agreed, faults = done.stdout.split()
        return agreed == "True", int(faults)

    agreed, kept = run("kept")
    if not agreed:
        pytest.skip("the C library has no mallopt")
    _, usual = run("usual")
    assert usual > 1000 and kept < 0.1 * usual
