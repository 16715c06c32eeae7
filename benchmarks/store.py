"""Search among a million speakers, killed enrolments, and the answer to one command.

    python benchmarks/store.py [--speakers N] [--milvus_speakers N] [--kills N] [--run_folder RUN]

Search: N random speakers of two members of 128 dimensions in one file, and the ten largest LLRs of
random queries, compared with a product in float64 row by row. The vectors lie in memory then;
loading, the size and the deletion of one speaker are printed beside. Milvus: the same search in
Milvus Lite, and beside it in the default store of as many speakers. Kills: a process that enrols
a thousand speakers is killed by SIGKILL at random moments and started again. Command: the time of
``acorl verify`` from the start of the process to its end, files in the disk's cache, the least of
several, and the CPU time; without ``run_folder`` on untrained encoders of the default recipe's
size. The time of importing torch and SpeechBrain alone is printed beside, for what else the
machine does.
"""

from __future__ import annotations

import argparse
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a checkout need not be installed

from acorl_sb.store import SpeakerStore, StoreModel, open_store
from acorl_sb.store.milvus_collections import key_of
from benchmarks.targets import Rows
from tests import folders
from tests.analysis import runs
from tests.store import enrolling

DIMS = (128, 128)
DEFAULT_SIZE = {"channels": 128, "embedding_dim": 128, "n_mels": 40}


def unit_rows(count: int, generator: np.random.Generator) -> np.ndarray:
    """Random vectors (count, D), each member's part of unit length."""
    parts = [generator.standard_normal((count, dim), np.float32) for dim in DIMS]
    return np.concatenate([p / np.linalg.norm(p, axis=1, keepdims=True) for p in parts], 1)


def filled(path: Path, model: StoreModel, matrix: np.ndarray) -> SpeakerStore:
    """The default store of many speakers, in one go: what is made is read."""
    open_store(path, model, create=True).close()
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO speakers VALUES (?, ?, '2024-01-01T00:00:00+00:00', 1, 3.0)",
            ((f"speaker {i}", row.tobytes()) for i, row in enumerate(matrix)),
        )
    connection.close()
    return open_store(path, model)


def search(rows: Rows, folder: Path, speakers: int, top: int = 10, queries: int = 7) -> None:
    generator = np.random.default_rng(0)
    probe = unit_rows(1, generator)[0]
    model = StoreModel(("first", "second"), DIMS, ("0" * 64, "1" * 64), probe)
    matrix = unit_rows(speakers, generator)
    store = filled(folder / "million.db", model, matrix)
    started = time.perf_counter()
    store.search(probe, top)
    size = (folder / "million.db").stat().st_size / 1e9
    print(f"  {size:.2f} GB on disk; loaded in {time.perf_counter() - started:.1f} s")
    took, worked, found, wanted = [], [], 0, 0
    for _ in range(queries):
        near = matrix[generator.integers(speakers)] + unit_rows(1, generator)[0]
        query = near.astype(np.float64) * np.repeat([12.0, 9.0], DIMS)
        started, cpu = time.perf_counter(), time.process_time()
        names = {name for name, _ in store.search(query, top)}
        took.append(time.perf_counter() - started)
        worked.append(time.process_time() - cpu)
        exact = np.concatenate(
            [matrix[i : i + 50_000].astype(float) @ query for i in range(0, speakers, 50_000)]
        )
        found += len(names & {f"speaker {i}" for i in np.argsort(-exact)[:top]})
        wanted += top
    print(f"  searches: {', '.join(f'{t:.3f}' for t in took)} s; {min(worked):.3f} s of CPU time")
    rows.at_most(f"top {top} of {speakers:,} speakers x 256, exact: seconds", min(took), 0.3)
    rows.at_least(f"top {top} of {speakers:,} speakers x 256: recall", found / wanted, 1)
    del matrix
    started = time.perf_counter()
    store.delete("speaker 5")
    print(f"  one speaker deleted in {time.perf_counter() - started:.1f} s")
    store.close()


def milvus(rows: Rows, folder: Path, speakers: int, top: int = 10, queries: int = 7) -> None:
    """Milvus Lite and the default store, the same speakers and queries in turns."""
    generator = np.random.default_rng(0)
    probe = unit_rows(1, generator)[0]
    model = StoreModel(("first", "second"), DIMS, ("0" * 64, "1" * 64), probe)
    matrix = unit_rows(speakers, generator)
    stores = {
        "Milvus Lite": open_store(f"milvus:{folder}/many.db", model, create=True),
        "default": filled(folder / "as_many.db", model, matrix),
    }
    started = time.perf_counter()
    client, name = stores["Milvus Lite"]._client, stores["Milvus Lite"]._collection
    for start in range(0, speakers, 5000):
        part = range(start, min(start + 5000, speakers))
        fixed = {"enrolled": "2024-01-01T00:00:00+00:00", "utterances": 1, "seconds": 3.0}
        client.upsert(
            name,
            [{"id": str(i), "name": f"speaker {i}", "vector": matrix[i], **fixed} for i in part],
        )
    client.flush(name)
    print(f"  {speakers:,} rows written in {time.perf_counter() - started:.1f} s")
    took: dict[str, list[float]] = {which: [] for which in stores}
    found, wanted = dict.fromkeys(stores, 0), 0
    for number in range(queries + 1):
        near = matrix[generator.integers(speakers)] + unit_rows(1, generator)[0]
        query = near.astype(np.float64) * np.repeat([12.0, 9.0], DIMS)
        exact = np.argsort(-(matrix.astype(np.float64) @ query))[:top]
        for which, store in stores.items():
            started = time.perf_counter()
            names = {name for name, _ in store.search(query, top)}
            if number:  # the first one loads
                took[which].append(time.perf_counter() - started)
                found[which] += len(names & {f"speaker {i}" for i in exact})
        wanted += top * bool(number)
    for which, seconds in took.items():
        print(f"  {which}: {', '.join(f'{t:.3f}' for t in seconds)} s")
        rows.at_least(f"top {top} of {speakers:,}, {which}: recall", found[which] / wanted, 1)
    client.upsert(name, [{"id": key_of("ann"), "name": "ann", "vector": probe, **fixed}])
    started = time.perf_counter()
    stores["Milvus Lite"].delete("ann")
    print(f"  Milvus Lite: one speaker deleted in {time.perf_counter() - started:.1f} s")
    for store in stores.values():
        store.close()


def kills(rows: Rows, folder: Path, count: int) -> None:
    """Speakers that are there in part, or not although they were said to be, after each kill."""
    path, wrong, done = folder / "killed.db", 0, 0
    moments = sorted(random.Random(0).sample(range(5, enrolling.COUNT - 5), count))
    for moment in [*moments, enrolling.COUNT]:
        command = [sys.executable, "-m", "tests.store.enrolling", str(path)]
        said = -1
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                said = int(line)
                if said >= moment:
                    process.kill()
                    done += 1
                    break
        store = open_store(path, enrolling.model())
        held = {row.name: row.utterances for row in store.speakers()}
        wrong += max(0, said + 1 - len(held))
        for i in range(len(held)):
            name = f"speaker {i}"
            whole = held.get(name) == i + 1
            wrong += not (whole and np.array_equal(store.vector(name), enrolling.vector(i)))
        store.close()
    print(f"  {len(held)} speakers after {done} SIGKILLs")
    rows.at_most(f"speakers lost or in part after {done} SIGKILLs in 1,000 enrolments", wrong, 0)


def command(rows: Rows, folder: Path, run_folder: str | None, rounds: int) -> None:
    run, speech = folders.finished_run(folder / "run")
    runs.finished(run, speech, {"first": 1, "second": 2}, **DEFAULT_SIZE)
    words = ["verify", speech[0].wav, speech[1].wav, "--run_folder", run_folder or str(run)]
    took: dict[str, list[float]] = {"verify": [], "imports": []}
    worked: dict[str, list[float]] = {"verify": [], "imports": []}
    for _ in range(rounds):
        for name, rest in (
            ("verify", ["-m", "acorl_sb", *words]),
            ("imports", ["-c", "import torch, speechbrain"]),
        ):
            started, cpu = time.perf_counter(), children_seconds()
            subprocess.run([sys.executable, *rest], cwd=ROOT, check=True, capture_output=True)
            took[name].append(time.perf_counter() - started)
            worked[name].append(children_seconds() - cpu)
    for name, seconds in took.items():
        cpu = statistics.median(worked[name])
        print(f"  {name}: {', '.join(f'{t:.2f}' for t in seconds)} s; median CPU time {cpu:.2f} s")
    rows.at_most("acorl verify A B, from the start of the process: seconds", min(took["verify"]), 3)


def children_seconds() -> float:
    """CPU time of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--speakers", type=int, default=1_000_000)
    parser.add_argument("--milvus_speakers", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7, help="of the command")
    parser.add_argument("--run_folder", help="of train.py, in place of untrained encoders")
    parser.add_argument("--only", help="run the parts whose name holds this")
    arguments = parser.parse_args()
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        for part, more in (
            (search, (arguments.speakers,)),
            (milvus, (arguments.milvus_speakers,)),
            (kills, (arguments.kills,)),
            (command, (arguments.run_folder, arguments.rounds)),
        ):
            if not arguments.only or arguments.only in part.__name__:
                print(f"{part.__name__} ...", flush=True)
                part(rows, Path(folder), *more)
    return rows.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
