"""What an ECAPA-TDNN costs: SpeechBrain's as it is, compiled, and as this toolkit runs it.

    python benchmarks/network.py [--channels N] [--threads N] [--compile] [--json FILE]

A training step's forward and backward pass of 48 crops of 1.5 s, and the embedding of 16
utterances of 3 s and of one. The works take turns and the shortest time of each counts. bf16 is
autocast, a gain only on CPUs that multiply in it. ``--compile`` adds torch.compile, which takes
minutes and needs a C++ compiler. Exit code 1 on a miss.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from acorl_sb.encoders.encoder import skip_empty_padding
from acorl_sb.encoders.frame_major import frame_major
from acorl_sb.utils.memory import keep_freed_memory
from benchmarks.targets import Rows
from benchmarks.timing import shortest
from benchmarks.training import their_network

N_MELS = 40
CROPS = (48, 151, N_MELS)
UTTERANCES = {"16 utterances of 3 s": (16, 301, N_MELS), "one of 3 s": (1, 301, N_MELS)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", help="also write the rows here")
    args = parser.parse_args()
    keep_freed_memory()  # as train.py does
    torch.set_num_threads(args.threads)
    cpu = torch.device("cpu")
    kinds = networks(args.channels)
    steps = {name: partial(step, network) for name, network in kinds.items()}
    steps["SpeechBrain's, bf16"] = partial(step, kinds["SpeechBrain's"], bf16=True)
    steps["frame-major, bf16"] = partial(step, kinds["frame-major"], bf16=True)
    if args.compile:
        steps["SpeechBrain's, compiled"] = partial(step, torch.compile(kinds["SpeechBrain's"]))
    rows = Rows()
    took = shortest(steps, cpu, args.repeats)
    report("forward and backward of 48 crops", took)
    rows.at_least(
        "a training step, SpeechBrain's / frame-major",
        took["SpeechBrain's"] / took["frame-major"],
        1.4,
    )
    for network in kinds.values():
        network.eval()
    for what, shape in UTTERANCES.items():
        works: dict[str, Callable[[], object]] = {
            name: partial(embed, network, torch.randn(shape)) for name, network in kinds.items()
        }
        took = shortest(works, cpu, 3 * args.repeats)
        report(what, took)
        rows.at_least(
            f"{what}, SpeechBrain's / frame-major", took["SpeechBrain's"] / took["frame-major"], 1.2
        )
    return rows.finish(args.json)


def networks(channels: int) -> dict[str, nn.Module]:
    """The same weights three times."""
    theirs = their_network(channels, N_MELS)
    skipping = copy.deepcopy(theirs)
    skip_empty_padding(skipping)
    ours = copy.deepcopy(skipping)
    frame_major(ours)
    return {"SpeechBrain's": theirs, "without empty padding": skipping, "frame-major": ours}


def step(network: nn.Module, bf16: bool = False) -> None:
    for parameter in network.parameters():
        parameter.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        z = network(torch.randn(CROPS))
    z.float().square().mean().backward()


@torch.inference_mode()
def embed(network: nn.Module, features: torch.Tensor) -> torch.Tensor:
    return network(features)


def report(what: str, took: dict[str, float]) -> None:
    slowest = took["SpeechBrain's"]
    for name, seconds in took.items():
        print(f"{what}, {name}: {1000 * seconds:.1f} ms, {seconds / slowest:.2f} of SpeechBrain's")


if __name__ == "__main__":
    raise SystemExit(main())
