"""What a training step, an hour of audio and each artefact cost: the figures of docs/scaling.md.

    python benchmarks/scaling.py [--batch N] [--steps N]

No targets: these are the measurements from which docs/scaling.md extrapolates.
"""

from __future__ import annotations

import argparse
import functools
import io
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import torch
from hyperpyyaml import resolve_references
from ruamel.yaml import YAML
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from acorl_sb.data.manifest import Utterance, read_manifest, write_manifest
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.training.heads import AAMHead
from acorl_sb.utils.memory import keep_freed_memory

RECIPE = ROOT / "recipes" / "VoxCeleb" / "SpeakerRec" / "ACoRL" / "hparams" / "models"
ENCODERS = {
    "default recipe's ECAPA, 128 channels, 1.5 s": (
        ROOT / "hparams" / "encoders" / "ecapa.yaml",
        1.5,
    ),
    "ECAPA-1024, 2 s": (RECIPE / "ecapa1024.yaml", 2.0),
    "ResNet34, 2 s": (RECIPE / "resnet34.yaml", 2.0),
}
SPEAKERS = 5994


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    keep_freed_memory()
    print(f"{torch.get_num_threads()} thread(s), batch {args.batch}")
    print("encoder | parameters | GFLOP forward | GFLOP step | s forward | s step (per crop) |")
    for name, (path, seconds) in ENCODERS.items():
        print(name, "|", " | ".join(f"{v:.4g}" for v in cost(path, seconds, args)), "|")
    artefacts()
    return 0


def cost(path: Path, seconds: float, args: argparse.Namespace) -> list[float]:
    """Parameters (M), then GFLOP and seconds per crop, of a forward pass and of a whole step."""
    with open(path, encoding="utf-8") as file:
        encoder = build_encoder(YAML().load(resolve_references(file).getvalue()), path.name)
    head = AAMHead(encoder.embedding_dim, SPEAKERS)
    parameters = [*encoder.parameters(), *head.parameters()]
    adam = torch.optim.Adam(parameters)
    waves = 0.1 * torch.randn(args.batch, int(16000 * seconds))
    labels = torch.randint(SPEAKERS, (args.batch,))

    def forward():
        with torch.no_grad():
            encoder.eval()(waves)

    def step():
        head(encoder.train()(waves), labels).backward()
        adam.step()
        adam.zero_grad()

    flops, times = [], []
    for run in (forward, step):
        with FlopCounterMode(display=False) as counter:
            run()
        flops.append(counter.get_total_flops() / args.batch / 1e9)
        taken = []
        for _ in range(args.steps):
            started = time.perf_counter()
            run()
            taken.append(time.perf_counter() - started)
        times.append(float(np.median(taken)) / args.batch)
    count = sum(p.numel() for p in encoder.parameters()) / 1e6
    return [count, *flops, *times]


def artefacts() -> None:
    """Bytes of a manifest's row, on disk and in memory, and of a checkpoint per parameter."""
    n = 50_000
    utterances = [
        Utterance(
            f"id{i % 5994:05d}/abcdefghijk/{i % 300:05d}.wav",
            7.8,
            f"/data/voxceleb2/dev/aac/id{i % 5994:05d}/abcdefghijk/{i % 300:05d}.m4a",
            0,
            124800,
            f"id{i % 5994:05d}",
            "abcdefghijk",
            "f",
        )
        for i in range(n)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        write_manifest(path, utterances)
        del utterances
        print(f"manifest, bytes a row on disk: {path.stat().st_size / n:.0f}")
        tracemalloc.start()
        kept = read_manifest(path)
        print(f"manifest, bytes a row in memory: {tracemalloc.get_traced_memory()[0] / n:.0f}")
        assert len(kept) == n
    model = torch.nn.Linear(1000, 1000)
    adam = functools.partial(torch.optim.Adam, lr=0.1)(model.parameters())
    model(torch.ones(1, 1000)).sum().backward()
    adam.step()
    for name, state in (("weights", model.state_dict()), ("Adam", adam.state_dict())):
        stream = io.BytesIO()
        torch.save(state, stream)
        print(f"{name}, bytes a parameter: {stream.tell() / 1.001e6:.1f}")


if __name__ == "__main__":
    sys.exit(main())
