"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    # Small tensors: more threads only make the threads wait for each other.
    torch.set_num_threads(max(1, min(2, os.cpu_count() or 1)))


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every code path on the CPU, and again on CUDA where one is present."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return torch.device(request.param)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real speech, where it lies beside the checkout."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real speech at {REAL_DATA}")
    return REAL_DATA
