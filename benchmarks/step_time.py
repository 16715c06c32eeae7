"""What a frozen reference costs: a member's training step with one against a plain step.

    python benchmarks/step_time.py [--steps N] [--threads N] [--json FILE]

CPU seconds are counted, and the three kinds of step take turns, so that whatever else the machine
does meets all of them alike; each figure is a ratio of medians.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
from hyperpyyaml import resolve_references
from ruamel.yaml import YAML
from speechbrain.utils.run_opts import RunOptions
from targets import Rows
from timing import clock

from acorl_sb.complementarity import Adversarial, Ramp
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.training.brain import ComplementaryBrain, SpeakerBrain
from acorl_sb.training.dataset import Batch
from acorl_sb.training.heads import AAMHead
from acorl_sb.training.samplers import StepSampler
from acorl_sb.utils.memory import keep_freed_memory

HPARAMS = Path(__file__).resolve().parents[1] / "hparams"
BATCH, SECONDS, SPEAKERS, ITEMS = 48, 1.5, 100, 1000
CPU = torch.device("cpu")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=30, help="steps of each kind")
    parser.add_argument("--threads", type=int, default=1, help="more make CPU seconds vague")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", help="also write the rows here")
    args = parser.parse_args()
    keep_freed_memory()  # as train.py does
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    reference = encoder()
    ensemble = FrozenEnsemble()
    ensemble.add("reference", reference)
    table = EmbeddingTable([torch.randn(ITEMS, reference.embedding_dim)])
    with tempfile.TemporaryDirectory() as folder:
        brains = {
            "plain": brain(folder, None, device=device),
            "crop": brain(folder, ensemble, device=device),
            "utterance": brain(folder, table, device=device),
        }
        times = measure(brains, args.steps, device)
    for name, values in times.items():
        print(f"{name}: median {np.median(values):.4f} CPU s over {len(values)} steps")
    plain = np.median(times["plain"])
    rows = Rows()
    rows.at_most("step with a reference, view crop / plain", np.median(times["crop"]) / plain, 1.40)
    rows.at_most(
        "step with a reference, view utterance / plain", np.median(times["utterance"]) / plain, 1.05
    )
    return rows.finish(args.json)


def encoder():
    """The default recipe's ECAPA."""
    with open(HPARAMS / "encoders" / "ecapa.yaml", encoding="utf-8") as file:
        return build_encoder(YAML().load(resolve_references(file).getvalue()), "ecapa.yaml")


def brain(
    folder: str | Path, references, objective=None, count: int = 1, device: torch.device = CPU
) -> SpeakerBrain:
    """A Brain as the default recipe makes it, without augmentation.

    ``objective`` (by default the adversarial one) is held against ``count`` references.
    """
    member = encoder()
    sampler = StepSampler(ITEMS, BATCH, 10**6, seed=0)
    hparams = {
        "name": "member",
        "seed": 0,
        "total_steps": 10**6,
        "lr_schedule": lambda optimizer, step: None,
        "augment": None,
        "dev_error": lambda encoder: 0.0,
        "sampler": sampler,
        "log_file": Path(folder) / "log.jsonl",
    }
    modules = {"encoder": member, "head": AAMHead(member.embedding_dim, SPEAKERS)}
    adam = partial(torch.optim.Adam, lr=0.001)
    given = {"device": str(device), "distributed_backend": "gloo" if device == CPU else "nccl"}
    options = RunOptions(**given, overridden_args=set(given))
    if references is None:
        made = SpeakerBrain(modules, adam, hparams, options)
    else:
        objective = objective or partial(Adversarial, schedule=Ramp(1.0))
        dims = [member.embedding_dim] * count
        modules["objective"] = objective(dims[0], dims, SPEAKERS)
        made = ComplementaryBrain(
            modules, adam, hparams, options, references=references, adversary_opt_class=adam
        )
    made.on_fit_start()
    made.on_stage_start(sb.Stage.TRAIN, epoch=1)
    made.modules.train()
    return made


def measure(
    brains: dict[str, SpeakerBrain], steps: int, device: torch.device = CPU, block: int = 1
) -> dict[str, list[float]]:
    """Seconds of each step of each kind, in turns, as ``clock`` counts them.

    The first round warms up and is dropped. On a GPU ``block`` steps in a row are timed together.
    """
    times: dict[str, list[float]] = {name: [] for name in brains}
    for step in range(steps + 1):
        batch = Batch(
            0.1 * torch.randn(BATCH, int(16000 * SECONDS)),
            torch.randint(SPEAKERS, (BATCH,)),
            torch.randint(ITEMS, (BATCH,)),
        )
        for name, made in brains.items():
            started = clock(device)
            for _ in range(block):
                made.step += 1
                made.fit_batch(batch)
            if step:
                times[name].append((clock(device) - started) / block)
    return times


if __name__ == "__main__":
    sys.exit(main())
