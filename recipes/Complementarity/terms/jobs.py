"""What the rows of the study need, each once and in order, run side by side as processes."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_text
from terms import tables
from terms.figures import row_file

RECIPE = Path(__file__).resolve().parents[1]
Job = tuple[str, ...]  # seed, member, part (train, dev, test), or seed, row, part, "figures"


def plan(tree, wanted: list[tuple[str, int, str]]) -> dict[Job, set[Job]]:
    """Every job that the rows (row, seed, part) need, each once, in order, with what it needs."""
    jobs: dict[Job, set[Job]] = {}

    def train(name: str, seed: int) -> Job:
        job = (str(seed), name, "train")
        if job not in jobs:
            spec, needs = tree["members"][name.partition("@")[0]], set()
            if "@" not in name:
                needs = {train(other, seed) for other in spec.get("references", [])}
                if "start" in spec:
                    needs.add(train(spec["start"], seed))
                if spec.get("honest"):
                    folds = range(tree["settings"]["folds"])
                    needs |= {train(f"{o}@{f}", seed) for o in spec["references"] for f in folds}
            jobs[job] = needs
        return job

    def embed(name: str, seed: int, part: str) -> Job:
        job = (str(seed), name, part)
        if job not in jobs:
            jobs[job] = {train(name, seed)}
        return job

    for row, seed, part in wanted:
        members = tree["rows"][row]["members"]
        needs = {embed(m, seed, p) for m in members for p in {"dev", part}}
        jobs[(str(seed), row, part, "figures")] = needs
    return jobs


class Runner:
    """Runs the jobs, as many side by side as told; the tables are made anew after each row.

    A job that fails stops those alone that need it; ``run`` ends with a ``UserError`` naming it.
    """

    def __init__(self, folder: Path, jobs: dict[Job, set[Job]], tree, device: str = "cpu"):
        self.folder, self.jobs, self.tree, self.device = folder, jobs, tree, device
        self.running: set[subprocess.Popen] = set()
        self.failed: list[Job] = []
        self.ended, self.lock = False, threading.Lock()

    def run(self, workers: int) -> None:
        waiting = [job for job in self.jobs if not self.is_done(job)]
        done, active = set(self.jobs) - set(waiting), {}
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            try:
                while True:
                    for job in [j for j in waiting if self.jobs[j] <= done]:
                        if len(active) < workers:
                            waiting.remove(job)
                            active[pool.submit(self.work, job)] = job
                    self.tell(len(done), waiting, list(active.values()))
                    if not active:
                        break  # what is left waits for a job that failed
                    finished, _ = concurrent.futures.wait(
                        active, return_when=concurrent.futures.FIRST_COMPLETED
                    )
                    for future in finished:
                        job = active.pop(future)
                        if not future.result():
                            self.failed.append(job)
                            continue
                        done.add(job)
                        if job[-1] == "figures":
                            write_text(
                                self.folder / "study.md", tables.page(self.folder, self.tree)
                            )
            finally:
                with self.lock:
                    self.ended = True
                    for process in self.running:
                        process.terminate()
        if self.failed:
            names = ", ".join(" ".join(job) for job in self.failed)
            raise UserError(f"{self.folder / 'logs'}: these jobs failed: {names}")

    def is_done(self, job: Job) -> bool:
        seed, name, part, *_ = job
        if job[-1] == "figures":
            return row_file(self.folder, name, int(seed), part).is_file()
        own = self.folder / f"seed{seed}" / name
        return (own / ("member.json" if part == "train" else f"{part}.done")).is_file()

    def work(self, job: Job) -> bool:
        """Run a job to its end; whether it went well."""
        seed, name, part, *_ = job
        log = self.folder / "logs" / f"seed{seed}" / f"{name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "terms.member", self.folder, seed, name]
        command += [part, *job[3:], "--device", self.device]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{RECIPE}{os.pathsep}{RECIPE.parents[1]}",
        }
        with open(log, "a", encoding="utf-8") as output:
            with self.lock:
                if self.ended:
                    return False
                process = subprocess.Popen(
                    [str(part) for part in command],
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
                self.running.add(process)
            code = process.wait()
            self.running.discard(process)
        return code == 0

    def tell(self, done: int, waiting: list[Job], active: list[Job]) -> None:
        lines = [f"{time.strftime('%Y-%m-%d %H:%M:%S')}: {done} of {len(self.jobs)} jobs are done"]
        lines += [f"running: {' '.join(job)}" for job in active]
        lines += [f"failed: {' '.join(job)}" for job in self.failed]
        lines += [f"waiting: {' '.join(job)}" for job in waiting]
        write_text(self.folder / "progress.txt", "\n".join(lines) + "\n")
