"""Where a training step of the default recipe goes, part by part, and what it costs at the least.

    python benchmarks/step_profile.py [--steps N] [--threads N] [--device cuda] [--json FILE]

A step is timed whole, as train.py takes it, and in turn with forward, backward and Adam alone on
ready features; the parts of the whole step are timed inside it. CPU seconds of this process are
counted on the CPU, and seconds on a GPU. Prints a table in Markdown; exit code 1 on a miss.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import speechbrain as sb
import torch
from speechbrain.utils.run_opts import RunOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from acorl_sb.data.manifest import Utterance
from acorl_sb.training.brain import SpeakerBrain
from acorl_sb.training.dataset import Batch, CropDataset, collate
from acorl_sb.training.heads import AAMHead
from acorl_sb.training.loading import AugmentedBatches
from acorl_sb.training.samplers import StepSampler
from acorl_sb.utils.memory import keep_freed_memory
from benchmarks.step_time import BATCH, SECONDS, SPEAKERS, encoder
from benchmarks.targets import Rows
from benchmarks.timing import clock
from benchmarks.training import make_augmenter

RATE = 16000


class Parts:
    """Seconds of each part of each step; a part within another is taken off that one."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps: list[dict[str, float]] = []
        self._inner = [0.0]
        self.counting = False

    def timed(self, name: str, function):
        """``function`` with its seconds counted under ``name``."""

        def run(*args, **kwargs):
            if not self.counting:
                return function(*args, **kwargs)
            started = clock(self.device)
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = clock(self.device) - started
                self.steps[-1][name] += took - self._inner.pop()
                self._inner[-1] += took

        return run

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """What is called inside belongs to one more step; nothing outside is counted."""
        self.steps.append(defaultdict(float))
        self.counting = True
        yield
        self.counting = False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", help="also write the rows here")
    args = parser.parse_args()
    keep_freed_memory()  # as train.py does
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        parts, whole, least = measure(Path(folder), device, args.steps)
    print("\n".join(table(parts)))
    rows = Rows()
    name = "training step with loader and augmentation / forward, backward and Adam alone"
    rows.at_most(name, float(np.median(whole) / np.median(least)), 1.08)
    return rows.finish(args.json)


def table(parts: list[dict[str, float]]) -> list[str]:
    """Medians of the parts of steps, in Markdown."""
    names = sorted({name for step in parts for name in step}, key=ORDER.index)
    medians = {name: float(np.median([step[name] for step in parts])) for name in names}
    medians["all"] = float(np.median([sum(step.values()) for step in parts]))
    lines = ["| part | ms a step | share |", "|---|---|---|"]
    for name, took in medians.items():
        lines.append(f"| {name} | {1000 * took:.1f} | {took / medians['all']:.1%} |")
    return lines


ORDER = ["loader", "augmentation", "features", "forward", "loss", "backward", "optimizer"]
ORDER += ["logging", "the rest"]


def measure(folder: Path, device: torch.device, steps: int, precision: str = "fp32"):
    """Parts of each step, seconds of whole steps, and of steps on ready features.

    On a GPU each part is waited for, so steps are timed whole apart from that, ten in a row.
    """
    parts = Parts(device)
    backward = torch.Tensor.backward
    torch.Tensor.backward = parts.timed("backward", backward)
    try:
        return _measure(parts, folder, device, steps, precision)
    finally:
        torch.Tensor.backward = backward


def _measure(parts: Parts, folder: Path, device: torch.device, steps: int, precision: str):
    brain, batch_of = make(folder, device, parts, precision)
    whole, least = [], []
    bare = encoder().to(device).train()
    head = AAMHead(bare.embedding_dim, SPEAKERS).to(device)
    adam = torch.optim.Adam([*bare.parameters(), *head.parameters()], lr=0.001)
    ready = torch.randn(BATCH, 1 + int(100 * SECONDS), 40, device=device)
    labels = torch.arange(BATCH, device=device) % SPEAKERS
    load = parts.timed("loader", batch_of)
    step_of = parts.timed("the rest", brain.fit_batch)

    def step(number: int) -> None:
        brain.step += 1
        loss = step_of(load(number))
        brain.avg_train_loss = brain.update_average(loss, brain.avg_train_loss)

    def bare_step() -> None:
        adam.zero_grad()
        with brain.training_ctx:
            loss = head(bare(ready).float(), labels)
        loss.backward()
        adam.step()

    block = 10 if device.type == "cuda" else 1
    for number in range(steps + 2):
        started = clock(device)
        with parts.step() if block == 1 else contextlib.nullcontext():
            for at in range(block):
                step(number * block + at)
        whole.append((clock(device) - started) / block)
        if block > 1:
            with parts.step():
                step(number)

        started = clock(device)
        for _ in range(block):
            bare_step()
        least.append((clock(device) - started) / block)
    return parts.steps[2:], whole[2:], least[2:]  # the first two warm up


def make(folder: Path, device: torch.device, parts: Parts, precision: str = "fp32"):
    """A Brain as train.py makes it, its parts timed, and what makes the batch of a step."""
    member = encoder()
    generator = np.random.default_rng(0)
    n, utterances = int((SECONDS + 1) * RATE), []
    for i in range(2 * BATCH):
        path = folder / f"{i}.wav"
        soundfile.write(path, 0.1 * generator.standard_normal(n), RATE, subtype="PCM_16")
        utterances.append(Utterance(f"u{i}", n / RATE, str(path), 0, n, f"s{i % SPEAKERS}"))
    labels = [i % SPEAKERS for i in range(len(utterances))]
    dataset = CropDataset(utterances, labels, SECONDS, seed=0, cache_mb=1500)
    sampler = StepSampler(len(utterances), BATCH, 10**6, seed=0)
    early = device.type != "cpu"  # as train_member has it
    augment = parts.timed("augmentation", make_augmenter())
    augmented = AugmentedBatches(dataset, augment, sampler, 0)

    def batch_of(step: int) -> Batch:
        if not early:
            return collate(dataset.__getitems__(sampler.indices(step)))
        return Batch(*(t.pin_memory() for t in augmented.__getitems__(sampler.indices(step))))

    hparams = {
        "name": "member",
        "seed": 0,
        "total_steps": 10**6,
        "lr_schedule": lambda optimizer, step: None,
        "augment": augment,
        "augmented": early,
        "dev_error": lambda encoder: 0.0,
        "sampler": sampler,
        "log_file": folder / "log.jsonl",
    }
    modules = {"encoder": member, "head": AAMHead(member.embedding_dim, SPEAKERS)}
    adam = partial(torch.optim.Adam, lr=0.001, fused=True)  # as the recipe's
    given = {"device": str(device), "precision": precision}
    options = RunOptions(**given, overridden_args=set(given))
    brain = SpeakerBrain(modules, adam, hparams, options)
    brain.on_fit_start()
    brain.on_stage_start(sb.Stage.TRAIN, epoch=1)
    brain.modules.train()
    member.features = parts.timed("features", member.features)
    member.forward = parts.timed("forward", member.forward)
    brain.modules.head.forward = parts.timed("loss", brain.modules.head.forward)
    brain.optimizers_step = parts.timed("optimizer", brain.optimizers_step)
    brain.on_fit_batch_end = parts.timed("logging", brain.on_fit_batch_end)
    return brain, batch_of


if __name__ == "__main__":
    sys.exit(main())
