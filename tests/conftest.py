"""Fixtures shared by all tests, and what keeps one test from another."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch
from speechbrain.utils.importutils import LazyModule

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NO_CUDA = "no CUDA device here"
NO_DATA = f"no real speech at {REAL_DATA}"


def pytest_configure(config: pytest.Config) -> None:
    # The tensors are small: more threads would only wait for each other.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    # Hypothesis asks every module for its file; SpeechBrain's would import k2 to answer, and fail.
    LazyModule.__file__ = None


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every code path on the CPU, and again on CUDA where one is present."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip(NO_CUDA)
    return torch.device(request.param)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real speech, where it lies beside the checkout."""
    if not REAL_DATA.is_dir():
        pytest.skip(NO_DATA)
    return REAL_DATA


# ------------------------------------------------------------------- tests run in any order


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Random numbers do not depend on the tests before; ahead of the fixtures of any scope."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def process_as_it_was():
    """Undo what a command sets for its whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    logger = logging.getLogger("acorl_sb")
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


# ---------------------------------------------------- a test that CI does not run is a failure


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    outcome = yield
    _no_skip_in_ci(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report():
    outcome = yield
    _no_skip_in_ci(outcome.get_result())


def _no_skip_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    """With CI in the environment only a missing GPU and missing data folders excuse a test."""
    if not report.skipped or hasattr(report, "wasxfail") or not os.environ.get("CI"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if NO_CUDA not in reason and NO_DATA not in reason:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was left out, which CI forbids: {reason}"
