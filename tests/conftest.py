"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from speechbrain.utils.importutils import LazyModule

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    # The tensors are small: more threads would only wait for each other.
    torch.set_num_threads(1)
    # Hypothesis asks every module for its file; SpeechBrain's would import k2 to answer, and fail.
    LazyModule.__file__ = None


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
