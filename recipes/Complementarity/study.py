"""The study of the complementarity term: all members, all rows, one page of tables.

    python recipes/Complementarity/study.py recipes/Complementarity/study.yaml FOLDER DATA \
        [--jobs 2] [--rows a,b] [--seeds 1,2] [--steps N] [--table]

Every member is a process of its own with one thread (``member.py``); ``--jobs`` run side by side.
What is finished is not done again and an interrupted training goes on from its last checkpoint, so
the command can be stopped and started at any point. ``FOLDER/progress.txt`` says what is running
and done, ``FOLDER/study.md`` has the tables so far. ``--table`` makes these and trains nothing.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import sets
import tables
import torch
from hyperpyyaml import resolve_references
from ruamel.yaml import YAML

from acorl_sb.errors import UserError, run_cli
from acorl_sb.files import write_text
from acorl_sb.hparams import dump, read_tree

ROOT = Path(__file__).resolve().parents[2]
Job = tuple[str, ...]  # seed, member, part (train, dev, test), or seed, row, part, "figures"


def main() -> int:
    torch.set_num_threads(1)
    args = arguments()
    folder = args.folder.resolve()
    tree = settled(args.yaml, folder, args.steps)
    sets.prepare(args.data, folder / "data")
    rows = args.rows.split(",") if args.rows else list(tree["rows"])
    seeds = [int(s) for s in args.seeds.split(",")] if args.seeds else tree["screening_seeds"]
    for name in [*rows, *tree["chosen"]]:
        if name not in tree["rows"]:
            raise UserError(f"{args.yaml}: no row {name!r}")
    jobs = plan(tree, [(row, seed, "dev") for row in rows for seed in seeds])
    chosen = [
        (row, seed, part)
        for part in ("dev", "test")
        for row in tree["chosen"]
        for seed in tree["seeds"]
    ]
    for job, needs in plan(tree, chosen).items():
        jobs.setdefault(job, needs)
    if not args.table:
        Runner(folder, jobs, tree).run(args.jobs)
    write_text(folder / "study.md", tables.page(folder, tree))
    print((folder / "study.md").read_text(encoding="utf-8"))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("yaml", "folder", "data"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rows", help="only these")
    parser.add_argument("--seeds", help="in place of the screening seeds")
    parser.add_argument("--steps", type=int, help="of every training; for a trial of the chain")
    parser.add_argument("--table", action="store_true")
    return parser.parse_args()


def settled(path: Path, folder: Path, steps: int | None):
    """The YAML with its includes, kept in the folder; refused where training would differ."""
    text = resolve_references(dump(read_tree(path))).getvalue()
    tree, kept = YAML().load(text), folder / "study.yaml"
    if steps is not None:
        tree["settings"]["steps"] = steps
    if kept.is_file():
        before = YAML().load(kept.read_text(encoding="utf-8"))
        for key in ("settings", "encoders", "objectives", "members", "rows"):
            for name, value in before[key].items():
                if name in tree[key] and dump({"": tree[key][name]}) != dump({"": value}):
                    raise UserError(f"{key}.{name} is not what {kept} has; name another folder")
    write_text(kept, dump(tree))
    return tree


def plan(tree, wanted: list[tuple[str, int, str]]) -> dict[Job, set[Job]]:
    """Every job that the rows (row, seed, part) need, each once, in order, with what it needs."""
    jobs: dict[Job, set[Job]] = {}

    def train(name: str, seed: int) -> Job:
        job = (str(seed), name, "train")
        if job not in jobs:
            spec, needs = tree["members"][name.partition("@")[0]], set()
            if "@" not in name and spec.get("objective"):
                needs = {train(other, seed) for other in spec["references"]}
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
    """Runs the jobs, as many side by side as told; the tables are made anew after each row."""

    def __init__(self, folder: Path, jobs: dict[Job, set[Job]], tree):
        self.folder, self.jobs, self.tree = folder, jobs, tree
        self.running: set[subprocess.Popen] = set()
        self.ended, self.lock = False, threading.Lock()

    def run(self, workers: int) -> None:
        waiting = [job for job in self.jobs if not self.is_done(job)]
        done, active = set(self.jobs) - set(waiting), {}
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            try:
                while waiting or active:
                    for job in [j for j in waiting if self.jobs[j] <= done]:
                        if len(active) < workers:
                            waiting.remove(job)
                            active[pool.submit(self.work, job)] = job
                    self.tell(len(done), waiting, list(active.values()))
                    finished, _ = concurrent.futures.wait(
                        active, return_when=concurrent.futures.FIRST_COMPLETED
                    )
                    for future in finished:
                        job = active.pop(future)
                        future.result()
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
        self.tell(len(done), [], [])

    def is_done(self, job: Job) -> bool:
        seed, name, part, *_ = job
        if job[-1] == "figures":
            return (self.folder / "figures" / f"seed{seed}" / part / f"{name}.json").is_file()
        own = self.folder / f"seed{seed}" / name
        return (own / ("member.json" if part == "train" else f"{part}.done")).is_file()

    def work(self, job: Job) -> None:
        seed, name, part, *_ = job
        log = self.folder / "logs" / f"seed{seed}" / f"{name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, Path(__file__).with_name("member.py"), self.folder, seed, name]
        command += [part, *job[3:]]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        with open(log, "a", encoding="utf-8") as output:
            with self.lock:
                if self.ended:
                    return
                process = subprocess.Popen(
                    [str(part) for part in command],
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
                self.running.add(process)
            code = process.wait()
            self.running.discard(process)
        if code and not self.ended:
            raise UserError(f"{log}: the job {' '.join(job)} ended with code {code}")

    def tell(self, done: int, waiting: list[Job], active: list[Job]) -> None:
        lines = [f"{time.strftime('%Y-%m-%d %H:%M:%S')}: {done} of {len(self.jobs)} jobs are done"]
        lines += [f"running: {' '.join(job)}" for job in active]
        lines += [f"waiting: {' '.join(job)}" for job in waiting]
        write_text(self.folder / "progress.txt", "\n".join(lines) + "\n")


if __name__ == "__main__":
    run_cli(main)
