"""Trainings side by side: each a run of train.py in its own process, one thread each."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_text
from acorl_sb.utils.yaml_dump import dump

ROOT = Path(__file__).resolve().parents[3]


class Job(NamedTuple):
    """One run: its folder, what it changes of the base YAML, and folders that must be done first.

    ``after`` is called once it is done, in the same worker, and again in every later study.
    ``program``, by default train.py, takes the YAML and writes ``results.json`` last; ``options``
    are its further arguments. What its results depend on beside the YAML is ``noted`` there, in
    comments.
    """

    folder: Path
    changes: dict[str, Any]
    needs: tuple[Path, ...] = ()
    after: Callable[[], object] = lambda: None
    options: tuple[str, ...] = ()
    program: Path | None = None
    noted: Mapping[str, Any] = {}


def run_all(jobs: Sequence[Job], base: Path, workers: int) -> Iterator[Job]:
    """Run all jobs, ``workers`` at a time, in their order as far as their needs allow.

    Yields each job when it is done. Raises ``UserError`` when one fails; the others that are
    running are ended with it, and go on where they were when the study is started again.
    """
    waiting, running, done = list(jobs), {}, set()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        children = _Children()
        try:
            while waiting or running:
                while len(running) < workers:
                    ready = next((job for job in waiting if done.issuperset(job.needs)), None)
                    if ready is None:
                        break
                    waiting.remove(ready)
                    running[pool.submit(run, ready, base, children)] = ready
                finished, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in finished:
                    job = running.pop(future)
                    future.result()
                    done.add(job.folder)
                    yield job
        finally:
            children.end()


def run(job: Job, base: Path, children: _Children) -> None:
    """Run train.py with a YAML that inherits the base, unless its results are there already.

    Raises ``UserError`` when it fails, and for results of other settings than the job's.
    """
    yaml, log = job.folder / "job.yaml", job.folder / "output.txt"
    tree = {"inherit": os.path.relpath(base, job.folder)}
    noted = "".join(f"# {key}: {value}\n" for key, value in job.noted.items())
    text = dump({**tree, "output_folder": str(job.folder.resolve()), **job.changes})
    if not (job.folder / "results.json").is_file():
        write_text(yaml, noted + text)
        program = job.program or ROOT / "train.py"
        with open(log, "a", encoding="utf-8") as output:
            code = children.run([sys.executable, program, yaml, *job.options], output)
        if code:
            tail = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
            raise UserError(f"{log}: {program.name} ended with code {code}: {' '.join(tail)}")
    elif yaml.read_text(encoding="utf-8") not in (noted + text, text):  # earlier ones noted nothing
        raise UserError(
            f"{yaml}: this run was finished with other settings than the study's now; "
            f"name another output_folder or delete {job.folder}"
        )
    job.after()


class _Children:
    """The processes that are running, so that they can be ended with the study."""

    def __init__(self):
        self.processes: set[subprocess.Popen] = set()
        self.ended = False
        self.lock = threading.Lock()  # none may start while they are being ended

    def run(self, command: Sequence[Any], output: Any) -> int:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self.lock:
            if self.ended:
                return 1
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
            self.processes.add(process)
        try:
            return process.wait()
        finally:
            self.processes.discard(process)

    def end(self) -> None:
        with self.lock:
            self.ended = True
            for process in list(self.processes):
                process.terminate()
