"""How cost grows with size: utterances, cohort, trials, frozen references, ranks.

    python benchmarks/growth.py [--steps N] [--only PART] [--json FILE]

Each size is doubled a few times and the exponent of the time fitted; a step of training is fitted
by a line over the number of references. CPU seconds on one thread; those of two ranks are counted
over both. Four minutes of a core.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from acorl_sb import metrics
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble
from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.normalise import cohort_statistics
from acorl_sb.utils.memory import keep_freed_memory
from benchmarks import step_time
from benchmarks.targets import Rows
from benchmarks.timing import make_scores, seconds

CPU = torch.device("cpu")


def exponent(rows: Rows, what: str, sizes: Sequence[int], work: Callable[[int], object]) -> None:
    """Fit log time against log size; at most 1.1."""
    took = []
    for size in sizes:
        run = work(size)
        took.append(seconds(run, CPU, 3))
        print(f"  {what}: {size:>10,}: {1000 * took[-1]:.1f} ms")
    found = np.polyfit(np.log(sizes), np.log(took), 1)[0]
    rows.at_most(f"{what}: exponent of time, {sizes[0]:,} to {sizes[-1]:,}", found, 1.1)


def scoring(rows: Rows, steps: int) -> None:
    """AS-norm over utterances and cohort, top 300; EER and minDCF over trials."""

    def normalise(utterances: int, cohort: int) -> Callable[[], object]:
        generator = torch.Generator().manual_seed(0)
        backend = Cosine()
        sides = (
            backend.prepare(torch.randn(n, 192, generator=generator)) for n in (utterances, cohort)
        )
        prepared = backend.sides(*sides)
        return lambda: cohort_statistics(prepared, torch.arange(utterances), 300)

    def judge(trials: int) -> Callable[[], object]:
        scores, labels = make_scores(trials)
        return lambda: metrics.evaluate(scores, labels)

    exponent(rows, "AS-norm, utterances, cohort of 3,000", [2000, 4000, 8000, 16_000],
             lambda n: normalise(n, 3000))  # fmt: skip
    exponent(rows, "AS-norm, cohort, 4,000 utterances", [1500, 3000, 6000, 12_000],
             lambda n: normalise(4000, n))  # fmt: skip
    exponent(rows, "EER + minDCF, trials", [100_000, 1_000_000, 10_000_000], judge)


def members(rows: Rows, steps: int) -> None:
    """A step against K frozen references of the member's size, in either view."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        brains = {"plain": step_time.brain(name, None)}
        for k in (1, 2, 3):
            ensemble = FrozenEnsemble()
            for n in range(k):
                ensemble.add(f"reference {n}", step_time.encoder())
            table = EmbeddingTable([torch.randn(step_time.ITEMS, d) for d in ensemble.dims])
            brains[f"crop {k}"] = step_time.brain(name, ensemble, count=k)
            brains[f"utterance {k}"] = step_time.brain(name, table, count=k)
        taken = step_time.measure(brains, steps)
        encoder = step_time.encoder().eval()
        ready = torch.randn(step_time.BATCH, 151, 40)
        with torch.no_grad():
            forward = seconds(lambda: encoder(ready), CPU, 5)
    step = {what: float(np.median(values)) for what, values in taken.items()}
    for what, took in step.items():
        print(f"  {what}: {1000 * took:.0f} ms a step")
    for view, most in (("crop", 1.0), ("utterance", 0.05)):
        slope = np.polyfit([1, 2, 3], [step[f"{view} {k}"] for k in (1, 2, 3)], 1)[0]
        name = f"view {view}: a further reference, in forward passes of {1000 * forward:.0f} ms"
        rows.at_most(name, slope / forward, most)


def ranks(rows: Rows, steps: int) -> None:
    """A plain step of one rank and of two, CPU seconds a rank beyond a run of no steps."""
    took = {}
    for world in (1, 2):
        empty, full = (_cpu_seconds(world, n) for n in (1, 1 + steps))
        took[world] = (full - empty) / steps / world
        print(f"  {world} rank(s): {1000 * took[world]:.0f} ms a step and rank")
    rows.at_most("a step of a rank of two / of one alone", took[2] / took[1], 1.1)


def _cpu_seconds(world: int, steps: int) -> float:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={world}"]
    command += ["--master_port", "29611", str(Path(__file__)), "--rank_steps", str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def rank_steps(steps: int) -> None:
    """What each of the ranks does."""
    from acorl_sb.utils import distributed

    distributed.start(step_time.RunOptions(device="cpu", overridden_args={"device"}))
    with tempfile.TemporaryDirectory() as name:
        brain = step_time.brain(name, None)
        step_time.measure({"plain": brain}, steps - 1)
    torch.distributed.destroy_process_group()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", help="run the parts whose name holds this")
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--rank_steps", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if arguments.rank_steps:
        rank_steps(arguments.rank_steps)
        return 0
    rows = Rows()
    for part in (scoring, members, ranks):
        if not arguments.only or arguments.only in part.__name__:
            part(rows, arguments.steps)
    return rows.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
