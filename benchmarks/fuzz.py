"""Spoiled input: 2,000 cases through the commands; no traceback, no hang, no harm.

    python benchmarks/fuzz.py [--json FILE] [--cases N] [--seed N] [--targets NAME ...]

Every case takes valid input, spoils one file of it, and runs in a process of its own: ``score``
(``acorl score``), ``fuse`` (``fuse.py``, and with ``--apply``), ``manifest`` (the
preparation of a corpus, and a manifest with its audio) and ``member`` (a member's folder).
A case may be refused in one sentence or go well, whatever was spoiled. What a refused case leaves
changed in the output folder of a finished run counts as harm.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from acorl_sb.cli import fuse, score
from acorl_sb.corpora import prepare
from acorl_sb.data.audio import read_audio
from acorl_sb.data.embeddings import Embeddings, write_embeddings
from acorl_sb.data.manifest import read_manifest, write_manifest
from acorl_sb.data.scorefiles import write_scores
from acorl_sb.data.trials import TrialList, write_trials
from acorl_sb.encoders.member_folder import build_encoder, load_member, read_record, save_member
from acorl_sb.training.heads import AAMHead
from acorl_sb.utils.errors import run_cli
from benchmarks.targets import Rows
from tests import tiny
from tests.commands import checksums
from tests.hostile.mutate import draw, spoil

TIMEOUT = 60.0  # s, of one case
SHOWN = 5  # tracebacks that are printed for each target


@dataclass(frozen=True)
class Target:
    """``make`` writes valid input into a folder; each door is what runs there and what it reads.

    Files of ``finished`` must not change where the door refuses.
    """

    make: Callable[[Path], None]
    doors: list[tuple[Callable[[], object], list[str]]]
    finished: str = "out"


IDS = [f"s{s}-u{u}" for s in range(6) for u in range(3)]


def trials() -> TrialList:
    enrol, test = np.triu_indices(len(IDS), 1)
    return TrialList(IDS, enrol, test, enrol // 3 == test // 3)


def make_score(folder: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((len(IDS), 4)).astype(np.float32)
    for name in ("e", "e.npz", "e.scp"):
        write_embeddings(folder / name, Embeddings(IDS, vectors))
    write_trials(folder / "trials.txt", trials())
    (folder / "speakers.txt").write_text("".join(f"{i} {i[:2]}\n" for i in IDS))
    (folder / "enrolment.txt").write_text("".join(f"{i} {i}\n" for i in IDS))


def score_with(system: str) -> Callable[[], int]:
    options = {"trials": "trials.txt", "speakers": "speakers.txt", "enrolment": "enrolment.txt"}
    given = [part for key, value in options.items() for part in (f"--{key}", value)]
    given += ["--systems", f"{{mine: {system}}}", "--replicates", "0", "--output_folder", "out"]
    return lambda: score.main([str(ROOT / "hparams/score.yaml"), *given])


def make_fuse(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for part in ("dev", "test"):
            scores = trials().labels + rng.standard_normal(len(IDS) * (len(IDS) - 1) // 2)
            write_scores(folder / name / f"{part}.txt", trials(), scores)
    write_trials(folder / "labels.txt", trials())
    (folder / "speakers.txt").write_text("".join(f"{i} {i[:2]}\n" for i in IDS))
    with inside(folder):
        run_fuse(*FUSE)()
    shutil.copy(folder / "out/fusion_model.json", folder / "model.json")


@contextlib.contextmanager
def inside(folder: Path):
    here = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


FILES = ("--test", "a/test.txt", "b/test.txt", "--test_trials", "labels.txt")
FUSE = ("--dev", "a/dev.txt", "b/dev.txt", *FILES, "--speakers", "speakers.txt")


def run_fuse(*given: str) -> Callable[[], int]:
    out = "applied" if "--apply" in given else "out"  # a folder keeps results of one command

    def door() -> int:
        sys.argv = ["fuse.py", *given, "--replicates", "0", "--no-report", "--output_folder", out]
        return fuse.main()

    return door


def make_manifest(folder: Path) -> None:
    speech = tiny.hums(folder / "WAVE", 8, 3, 0.2)
    write_manifest(folder / "speech.csv", speech)
    for part in ("train", "test"):
        mine = [u for u in speech if (u.spk_id < "s5") == (part == "train")]
        (folder / part).mkdir()
        rows = {"wav.scp": [], "utt2spk": [], "spk2gender": []}
        for u in mine:
            rows["wav.scp"].append(f"{u.id} {Path(u.wav).relative_to(folder)}\n")
            rows["utt2spk"].append(f"{u.id} {u.spk_id}\n")
        rows["spk2gender"] = [f"{spk} f\n" for spk in sorted({u.spk_id for u in mine})]
        for name, lines in rows.items():
            (folder / part / name).write_text("".join(lines))


def prepare_here() -> None:
    prepare("speechocean762", ".", "out", dev_speakers=2)


def hear_manifest() -> None:
    for u in read_manifest("speech.csv"):
        read_audio(u.wav, u.start, u.stop)


def make_member(folder: Path) -> None:
    torch.manual_seed(0)
    tree = tiny.encoder_tree()
    encoder = build_encoder(tree, "encoder")
    head = AAMHead(encoder.embedding_dim, 3)
    save_member(folder / "member", encoder, tree, head.classifier, ["a", "b", "c"], RECORD)


RECORD = {"settings": {"seed": 1}, "dev_eer": 0.1, "seconds": 1.0}


def load_here() -> None:
    load_member("member")
    read_record("member")


TABLES = [f"{part}/{name}" for part in ("train", "test") for name in ("wav.scp", "utt2spk")]
LISTS = ["trials.txt", "speakers.txt", "enrolment.txt"]
TARGETS = {
    "score": Target(
        make_score,
        [
            (score_with("e"), ["e/ids.txt", "e/embeddings.npy", *LISTS]),
            (score_with("e.npz"), ["e.npz"]),
            (score_with("e.scp"), ["e.scp", "e.ark"]),
            (score_with("e.ark"), ["e.ark"]),
        ],
    ),
    "fuse": Target(
        make_fuse,
        [
            (run_fuse(*FUSE), ["a/dev.txt", "b/test.txt", "labels.txt", "speakers.txt"]),
            (run_fuse("--apply", "model.json", *FILES), ["model.json", "a/test.txt"]),
        ],
    ),
    "manifest": Target(
        make_manifest,
        [
            (prepare_here, [*TABLES, "train/spk2gender", "WAVE/s1/u1.wav"]),
            (hear_manifest, ["speech.csv", "WAVE/s1/u1.wav"]),
        ],
    ),
    "member": Target(
        make_member,
        [
            (
                load_here,
                [f"member/{name}" for name in ("hyperparams.yaml", "member.json")]
                + [f"member/{name}" for name in ("embedding_model.ckpt", "label_encoder.ckpt")],
            )
        ],
        "member",
    ),
}


def child(door: Callable[[], object], folder: Path, log: Path) -> None:
    """Run a door in the folder, as its script would."""
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.chdir(folder)
    run_cli(lambda: door() and None)


def run_case(door: Callable[[], object], folder: Path, log: Path) -> int | None:
    """The exit code; None for a process that was stopped since it took too long."""
    process = multiprocessing.get_context("fork").Process(target=child, args=(door, folder, log))
    process.start()
    process.join(TIMEOUT)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def fuzz(name: str, cases: int, seed: int, rows: Rows) -> None:
    """Run the cases of one target and record its rows."""
    target, rng = TARGETS[name], random.Random(f"{seed} {name}")
    counts = {"read": 0, "refused": 0, "traceback": 0, "hang": 0, "harm": 0}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as top:
        folder, log = Path(top, "work"), Path(top, "log")
        folder.mkdir()
        target.make(folder)
        require_valid(target, folder, log)
        shutil.copytree(folder, Path(top, "valid"), symlinks=True)
        for _ in range(cases):
            door, files = rng.choice(target.doors)
            path = folder / rng.choice(files)
            valid, edits = path.read_bytes(), draw(rng)
            path.write_bytes(spoil(valid, edits))
            before = finished(folder / target.finished)
            log.unlink(missing_ok=True)
            code = run_case(door, folder, log)
            said = log.read_text(errors="replace") if log.exists() else ""
            if code is None or code not in (0, 2) or "Traceback" in said:
                kind = "hang" if code is None else "traceback"
                if counts[kind] < SHOWN:
                    print(f"{name}, {path.name}, {edits}: {kind}\n{said[-1500:]}", file=sys.stderr)
            else:
                kind = "refused" if code else "read"
            counts[kind] += 1
            counts["harm"] += kind != "read" and finished(folder / target.finished) != before
            path.write_bytes(valid)
            if kind != "refused":  # what was read may have been written
                shutil.rmtree(folder)
                shutil.copytree(Path(top, "valid"), folder, symlinks=True)
        require_valid(target, folder, log)  # else the last refusals were of nothing new
    seconds = time.perf_counter() - started
    print(f"{name}: {cases} cases in {seconds:.0f} s, {counts}", file=sys.stderr)
    rows.at_most(f"{name}: tracebacks of {cases} cases", counts["traceback"], 0)
    rows.at_most(f"{name}: hangs of {cases} cases", counts["hang"], 0)
    rows.at_most(f"{name}: refused, but files of a finished run changed", counts["harm"], 0)
    rows.at_least(f"{name}: spoiled files that were refused", counts["refused"], cases // 4)


def require_valid(target: Target, folder: Path, log: Path) -> None:
    """Every door must take the input as it was made."""
    for door, files in target.doors:
        if run_case(door, folder, log) != 0:
            raise RuntimeError(f"valid input is refused: {files}\n{log.read_text()[-3000:]}")


def finished(folder: Path) -> dict[str, str]:
    """Checksums of a finished run's files, but for its log, which tells of every try."""
    return {k: v for k, v in checksums(folder).items() if not k.endswith("_log.txt")}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--cases", type=int, default=500, help="of each target (default 500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows()
    for name in arguments.targets:
        fuzz(name, arguments.cases, arguments.seed, rows)
    return rows.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
