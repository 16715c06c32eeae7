"""Clocks, memory and made-up scores that the benchmarks share."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch

MB = 1 << 20


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """The shortest of several runs: see ``clock``."""
    best = math.inf
    for _ in range(repeats):
        started = clock(device)
        work()
        best = min(best, clock(device) - started)
    return best


def ratio(
    one: Callable[[], object], other: Callable[[], object], device: torch.device, repeats: int = 7
) -> float:
    """Time of ``one`` / time of ``other``, shortest of several runs that take turns."""
    best = [math.inf, math.inf]
    for _ in range(repeats):
        for place, work in enumerate((one, other)):
            best[place] = min(best[place], seconds(work, device, 1))
    return best[0] / best[1]


def shortest(
    works: dict[str, Callable[[], object]],
    device: torch.device,
    repeats: int = 7,
    slow: Collection[str] = (),
) -> dict[str, float]:
    """The shortest time of each of several works that take turns, by name, seconds.

    Those of ``slow`` are run once.
    """
    best = dict.fromkeys(works, math.inf)
    for number in range(repeats):
        for name, work in works.items():
            if number == 0 or name not in slow:
                best[name] = min(best[name], seconds(work, device, 1))
    return best


def clock(device: torch.device) -> float:
    """Seconds: of this process on one thread, which others on the machine disturb least; else true.

    On a GPU it is waited for.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def peak_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """Memory that ``work`` takes at its highest above what is held before; None if unknown."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc: give back what is held but not used
        Path("/proc/self/clear_refs").write_text("5")  # Linux: start the high-water mark anew
        before = _status("VmRSS")
        work()
        return max(0, _status("VmHWM") - before)
    except (OSError, AttributeError):
        return None


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise OSError(key)


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def make_scores(n: int, share: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) of a system with an EER of about 2.3 %, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < share
    return rng.normal(size=n) + 4.0 * labels, labels
