"""All that a GPU changes, in one command: each row against its peer, its limit and its target.

    python benchmarks/on_gpu.py [--device cuda:0] [--output docs/performance_gpu.md]
        [--only PART] [--small]

Peers in numpy (``benchmarks/peers.py``) run on the machine's CPU, on all its threads; SpeechBrain's
loops run on the GPU. Data are made here. The page is written after every part; the exit code is 1
when a target is missed or a part fails. ``--small`` goes through everything once with small sizes,
on a CPU too: its figures mean nothing. Two minutes of an H100.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", str(os.cpu_count()))
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from acorl_sb.corpora.audio_inputs import read_inputs
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble
from acorl_sb.training.heads import AAMHead
from acorl_sb.utils.files import write_text
from acorl_sb.utils.memory import keep_freed_memory
from acorl_sb.utils.precision import full_precision
from benchmarks import fastest, inference, step_profile, step_time
from benchmarks import training as loops
from benchmarks.targets import Row, Rows
from benchmarks.timing import MB, peak_bytes, seconds

INTRODUCTION = """\
# Performance on a GPU

Written by `python benchmarks/on_gpu.py` on one machine: {machine}.

Peers in numpy (WeSpeaker's algorithms, re-implemented in `benchmarks/peers.py`) ran on the CPU of
that machine, SpeechBrain's loops on its GPU. The limit is the part of a work that cannot be left
out. float32 is multiplied in full everywhere but in training, where both sides round factors to
TF32 as SpeechBrain does. Figures on a CPU: [performance.md](performance.md).
"""


# --- Scoring ---------------------------------------------------------------------------------


def scoring(rows: Rows, device: torch.device, small: bool) -> None:
    """AS-norm, EER with minDCF, and PLDA; the limit is the product, or the sort, on the device."""
    slow = ("theirs", "their EM", "their scoring")
    counts = ((500, 2), (6000, 1)) if small else ((5000, 9), (145_000, 3))
    fastest.normalisation(rows, device, counts, 1 << 28, slow)
    lists = ((2000, 2, 3, 3),) if small else ((37_611, 50, 3, 3), (10_000_000, 7, 12, 1.5))
    fastest.detection(rows, device, lists, slow)
    fastest.plda(rows, device, 1 if small else 7, slow, 40 if small else 500)


# --- Extraction ------------------------------------------------------------------------------


def extraction(rows: Rows, device: torch.device, small: bool) -> None:
    """Embeddings of recordings of 1.5 to 12 s, small and published encoder."""
    with tempfile.TemporaryDirectory() as name, full_precision():
        work = Path(name)
        utterances = read_inputs([str(inference.noise_files(work / "n", 16 if small else 500))])
        print(f"{len(utterances)} recordings, {sum(u.duration for u in utterances):.0f} s")
        for what, sizes in (("recipe's", {}), ("published", inference.PUBLISHED)):
            folder = inference.member(work / what, **(inference.TINY if small else sizes))
            inference.speed(rows, what, folder, utterances, str(device))
            waves = 0.1 * torch.randn(32, 8 * 16000, device=device)
            encoder = inference.load_member(folder).to(device).eval()
            with torch.inference_mode():
                encoder(waves)  # what the libraries set aside the first time
                peak = peak_bytes(lambda e=encoder, w=waves: e(w), device)
            print(
                f"{what}: a batch of 32 x 8 s takes {(peak or 0) / MB:.0f} MiB beyond the weights"
            )


# --- Training --------------------------------------------------------------------------------


def training(rows: Rows, device: torch.device, small: bool) -> None:
    """The default recipe's step, loader and augmentation on, fp32 and bf16; a larger encoder."""
    steps, rounds = (6, 1) if small else (30, 2)
    with tempfile.TemporaryDirectory() as name:
        files = loops.make_files(Path(name, "speech"), 24 if small else 480, 2.5)
        batch = 4 if small else 48
        times = -(-steps * batch // len(files))
        heard = [replace(u, id=f"{u.id}-{k}") for k in range(times) for u in files]
        for channels in (8,) if small else (128, 1024):
            for precision, workers in (("fp32", 0), ("fp32", 4), ("bf16", 4)):
                if channels == 1024 and not workers:
                    continue
                args = argparse.Namespace(
                    steps=steps, batch=batch, seconds=1.5, channels=channels, workers=workers,
                    augment=True, cache_mb=1500, device=str(device), precision=precision,
                    cuda_graphs=False,
                )  # fmt: skip
                folder = Path(name, f"{channels}-{precision}-{workers}")
                folder.mkdir()
                of_recipe = "default recipe" if channels == 128 else f"{channels} channels"
                title = f"{of_recipe}, {precision}, {workers} loader processes"
                against_loops(rows, title, folder, heard, args, rounds)


def against_loops(rows: Rows, name: str, folder: Path, heard, args, rounds: int) -> None:
    device = torch.device(args.device)
    heard = heard[: args.steps * args.batch]
    works = {
        "ours": loops.our_loop(folder, heard, args),
        "theirs": loops.their_loop(folder, heard, args),
        "limit": bare_loop(args),
    }
    if args.precision == "fp32" and args.workers:
        replayed = argparse.Namespace(**{**vars(args), "cuda_graphs": True})
        works["ours with cuda_graphs"] = loops.our_loop(folder, heard, replayed)
    taken: dict[str, list[float]] = {what: [] for what in works}
    for number in range(rounds + 1):
        for what, work in works.items():
            started = loops.true_clock(args.device)
            work()
            if number:  # the first round warms up
                taken[what].append((loops.true_clock(args.device) - started) / args.steps)
    step = {what: float(np.median(values)) for what, values in taken.items()}
    peaks = {what: (peak_bytes(work, device) or 0) / MB for what, work in works.items()}
    for what in works:
        print(
            f"{name}: {what}: {1000 * step[what]:.1f} ms a step, {args.batch / step[what]:.0f} "
            f"utterances/s, {peaks[what]:.0f} MiB beyond what is held"
        )
    for what in works:
        if what.startswith("ours"):
            figure = step["theirs"] / step[what]
            rows.at_least(f"{name}: utterances/s, {what} / SpeechBrain's recipe loop", figure, 1.5)
            figure = step[what] / step["limit"]
            rows.at_most(f"{name}: {what} / forward, backward and Adam alone", figure, 1.08)


def bare_loop(args: argparse.Namespace) -> Callable[[], None]:
    """So many steps of forward, backward and Adam on ready features."""
    device = torch.device(args.device)
    encoder = loops.make_encoder(args.channels).to(device).train()
    head = AAMHead(encoder.embedding_dim, loops.SPEAKERS).to(device)
    adam = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.001, fused=True)
    ready = torch.randn(args.batch, 1 + int(100 * args.seconds), 40, device=device)
    labels = torch.arange(args.batch, device=device) % loops.SPEAKERS
    half = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")

    def epoch() -> None:
        for _ in range(args.steps):
            adam.zero_grad()
            with half:
                loss = head(encoder(ready).float(), labels)
            loss.backward()
            adam.step()

    return epoch


def profile(rows: Rows, device: torch.device, small: bool) -> None:
    """Where a step of the default recipe goes, each part waited for, and how often it waits."""
    with tempfile.TemporaryDirectory() as name:
        for precision in ("fp32",) if small else ("fp32", "bf16"):
            folder = Path(name, precision)
            folder.mkdir()
            parts, whole, least = step_profile.measure(folder, device, 1 if small else 8, precision)
            print(f"{precision}, a step in a row of ten: {1000 * float(np.median(whole)):.1f} ms,")
            print(f"forward, backward and Adam alone {1000 * float(np.median(least)):.1f} ms")
            print("\n".join(step_profile.table(parts)))
        if device.type == "cuda":
            folder = Path(name, "waits")
            folder.mkdir()
            count_waits(folder, device)


def module_of(filename: str) -> str:
    """A file of a package by its module's name."""
    parts = Path(filename).with_suffix("").parts
    for package in ("acorl_sb", "speechbrain", "torch"):
        if package in parts:
            return ".".join(parts[parts.index(package) :])
    return parts[-1]


def count_waits(folder: Path, device: torch.device) -> None:
    """Prints how often a step makes the CPU wait for the GPU, and where."""
    brain, batch_of = step_profile.make(folder, device, step_profile.Parts(device))
    found: Counter[str] = Counter()
    for number, batch in enumerate([batch_of(step) for step in range(12)]):
        if number == 2:
            torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            brain.step += 1
            brain.fit_batch(batch)
        places = (w for w in caught if "synchroniz" in str(w.message))
        found.update(f"{module_of(w.filename)}, line {w.lineno}" for w in places)
    torch.cuda.set_sync_debug_mode("default")
    print(f"waits a step, mean of ten: {sum(found.values()) / 10:.1f}")
    for place, count in found.most_common(12):
        print(f"  {place}: {count / 10:.1f}")


# --- Members ---------------------------------------------------------------------------------


def members(rows: Rows, device: torch.device, small: bool) -> None:
    """A step without references, and against 1, 2 and 3 frozen ones, in either view."""
    steps, block = (1, 1) if small else (6, 10)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        brains = {"plain": step_time.brain(name, None, device=device)}
        for k in (1,) if small else (1, 2, 3):
            ensemble = FrozenEnsemble()
            for n in range(k):
                ensemble.add(f"reference {n}", step_time.encoder())
            table = EmbeddingTable([torch.randn(step_time.ITEMS, d) for d in ensemble.dims])
            for view, references in (("crop", ensemble), ("utterance", table)):
                made = step_time.brain(name, references, count=k, device=device)
                brains[f"{view}, K = {k}"] = made
        taken = step_time.measure(brains, steps, device, block)
        encoder = step_time.encoder().to(device).eval()
        ready = torch.randn(step_time.BATCH, 151, 40, device=device)
        with torch.no_grad():
            seconds(lambda: encoder(ready), device, 3)
            forward = seconds(lambda: [encoder(ready) for _ in range(block)], device, 3) / block
    step = {what: float(np.median(values)) for what, values in taken.items()}
    print(f"a forward pass alone: {1000 * forward:.2f} ms")
    for what, took in step.items():
        print(f"{what}: {1000 * took:.2f} ms a step")
    if not small:
        more = (step["crop, K = 3"] - step["crop, K = 1"]) / 2
        rows.at_most("view crop: a further reference / one forward pass", more / forward, 1)
        flat = step["utterance, K = 3"] / step["utterance, K = 1"]
        rows.at_most("view utterance: step of K = 3 / of K = 1", flat, 1.05)
        plain = step["utterance, K = 1"] / step["plain"]
        rows.at_most("view utterance: step of K = 1 / plain", plain, 1.05)


# --- The page --------------------------------------------------------------------------------

PARTS = {
    "Scoring": scoring,
    "Extraction": extraction,
    "Training": training,
    "Where a training step goes": profile,
    "Cost of frozen references": members,
}


class Tee(io.StringIO):
    """Keeps what is printed, and prints it."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)
        sys.__stdout__.flush()
        return super().write(text)


def machine(device: torch.device) -> str:
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    return (
        f"{gpu}, {os.cpu_count()} threads of {name}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}"
    )


def section(title: str, made: list[Row], printed: str) -> str:
    """A part as Markdown: its rows, then what it printed."""
    lines = [f"## {title}", ""]
    if made:
        lines += ["| work | measured | target | |", "|---|---|---|---|"]
        for row in made:
            verdict, sign = (
                "held" if row.holds else "**missed**",
                "≥" if ">" in row.relation else "≤",
            )
            lines.append(f"| {row.name} | {row.figure:.3g} | {sign} {row.target:g} | {verdict} |")
        lines.append("")
    table = False
    for line in printed.splitlines():
        if line.startswith("|") != table:
            lines.append("")
            table = not table
        lines.append(line if table else f"    {line}")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--output", default=str(ROOT / "docs" / "performance_gpu.md"))
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--only", help="run the parts whose name holds this")
    parser.add_argument("--small", action="store_true", help="try everything out; means nothing")
    arguments = parser.parse_args()
    keep_freed_memory()  # as train.py does
    device = torch.device(arguments.device)
    rows, failed = Rows(), []
    page = [INTRODUCTION.format(machine=machine(device))]
    for title, part in PARTS.items():
        if arguments.only and arguments.only.lower() not in title.lower():
            continue
        started, before, printed = time.perf_counter(), len(rows.rows), Tee()
        try:
            with contextlib.redirect_stdout(printed):
                part(rows, device, arguments.small)
        except Exception:  # the other parts are measured all the same
            failed.append(title)
            print(f"failed: {traceback.format_exc().splitlines()[-1]}", file=printed)
            traceback.print_exc()
        page.append(section(title, rows.rows[before:], printed.getvalue()))
        write_text(arguments.output, "\n".join(page))
        print(f"--- {title}: {time.perf_counter() - started:.1f} s", flush=True)
    code = rows.finish(arguments.json)
    return 1 if failed else code


if __name__ == "__main__":
    sys.exit(main())
