"""What distilling costs: a student's training step with two teachers against a plain step.

    python benchmarks/distillation.py [--steps N] [--threads N] [--json FILE]

CPU seconds are counted, and the kinds of step take turns, as in ``step_time.py``; the teachers'
embeddings of all utterances (view ``utterance``) are made once before training and are counted in
steps: 1,000 utterances of the crop's length over 300 steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time

import numpy as np
import torch
from step_time import BATCH, ITEMS, SECONDS, brain, encoder, measure
from targets import Rows

from acorl_sb.complementarity import Distillation
from acorl_sb.encoders.ensemble import EmbeddingTable
from acorl_sb.utils.memory import keep_freed_memory

STEPS = 300  # of the default recipe
TEACHERS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=20, help="steps of each kind")
    parser.add_argument("--threads", type=int, default=1, help="more make CPU seconds vague")
    parser.add_argument("--json", help="also write the rows here")
    args = parser.parse_args()
    keep_freed_memory()  # as train.py does
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    teachers = [encoder().eval() for _ in range(TEACHERS)]
    table = EmbeddingTable([torch.randn(ITEMS, t.embedding_dim) for t in teachers])
    with tempfile.TemporaryDirectory() as folder:
        brains = {
            "plain": brain(folder, None),
            "student": brain(folder, table, Distillation, TEACHERS),
        }
        times = measure(brains, args.steps)
    plain, student = (float(np.median(times[name])) for name in ("plain", "student"))
    once = embedding_seconds(teachers) * ITEMS / BATCH / STEPS
    print(f"plain {plain:.4f}, student {student:.4f}, teachers' share {once:.4f} CPU s a step")
    rows = Rows()
    rows.at_most("distilling two teachers / plain training", (student + once) / plain, 1.5)
    rows.at_most("its step alone / plain step", student / plain, 1.2)
    return rows.finish(args.json)


@torch.no_grad()
def embedding_seconds(teachers) -> float:
    """CPU seconds in which all teachers embed a batch of waves, the least of three."""
    waves, found = 0.1 * torch.randn(BATCH, int(16000 * SECONDS)), []
    for _ in range(3):
        started = time.process_time()
        for teacher in teachers:
            teacher(waves)
        found.append(time.process_time() - started)
    return min(found)


if __name__ == "__main__":
    sys.exit(main())
