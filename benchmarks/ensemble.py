"""One ensemble of two, from a prepared corpus to its table, against SpeechBrain's loops.

    python benchmarks/ensemble.py [--steps N] [--json FILE]

Ours is ``train.py hparams/acorl_scratch.yaml`` as a user calls it, on the synthetic voices that it
makes itself (made before the clock starts), with ``--steps`` steps a member: references, scores,
fusion, intervals and report included. Against it the same two encoders are trained one after
another, alone, by SpeechBrain's recipe loop (see ``training.py``) for as many steps of as many
crops, then scored as its recipe does: embeddings of eight padded utterances at a time, a cosine
trial by trial, and its EER of both and of their mean. No intervals, fusion or minDCF (which does
not fit into memory). CPU seconds of all processes, one thread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.metric_stats import EER

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from acorl_sb.data.audio import read_audio
from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.trials import read_trials
from acorl_sb.utils.memory import keep_freed_memory
from benchmarks.targets import Rows
from benchmarks.training import their_brain

ROOT = Path(__file__).resolve().parents[1]
MEMBERS = ({}, {"n_mels": 80, "win_length": 64, "n_fft": 1024})  # as hparams/acorl_scratch.yaml
BATCH, EPOCHS = 48, 5


def ours(folder: Path, steps: int) -> float:
    """CPU seconds of ``train.py`` to its table."""
    command = [sys.executable, str(ROOT / "train.py"), str(ROOT / "hparams" / "acorl_scratch.yaml")]
    command += ["--output_folder", str(folder), "--device", "cpu"]
    command += ["--epoch_steps", str(max(1, steps // EPOCHS))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"train.py ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def theirs(prepared: Path, folder: Path, steps: int) -> float:
    """CPU seconds of SpeechBrain's loops, from the manifest and the test trials of a run."""
    heard = read_manifest(prepared / "train.csv")
    count = -(-steps * BATCH // len(heard))
    heard = [replace(u, id=f"{u.id}-{k}") for k in range(count) for u in heard][: steps * BATCH]
    args = argparse.Namespace(
        steps=steps, batch=BATCH, seconds=1.5, channels=128, workers=0, augment=True,
        device="cpu", precision="fp32",
    )  # fmt: skip
    started = time.process_time()
    trials = read_trials(prepared / "test_trials.txt")
    where = {u.id: u.wav for u in read_manifest(prepared / "test.csv")}
    scores = []
    for number, front_end in enumerate(MEMBERS):
        place = folder / str(number)
        place.mkdir()
        epoch, brain = their_brain(place, heard, args, **front_end)
        epoch()
        vectors = embeddings(brain, [where[name] for name in trials.ids])
        scores.append(trial_by_trial(vectors, trials))
    for found in (*scores, np.mean(scores, 0)):
        positive, negative = (found[trials.labels == label] for label in (True, False))
        print(f"EER {EER(torch.tensor(positive), torch.tensor(negative))[0]:.3f}")
    return time.process_time() - started


@torch.no_grad()
def embeddings(brain, paths: list[str]) -> list[torch.Tensor]:
    """One (1, D) a file, eight files at a time, padded."""
    modules, found = brain.modules.eval(), []
    for start in range(0, len(paths), 8):
        waves = [torch.from_numpy(read_audio(path)) for path in paths[start : start + 8]]
        lengths = torch.tensor([len(wave) for wave in waves])
        lengths = lengths / lengths.max()
        batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        features = modules.mean_var_norm(modules.compute_features(batch), lengths)
        found += list(modules.embedding_model(features, lengths))
    return found


def trial_by_trial(vectors: list[torch.Tensor], trials) -> np.ndarray:
    """Cosine scores (N,) as the recipe's loop has them."""
    similarity = torch.nn.CosineSimilarity(dim=-1, eps=1e-6)
    pairs = zip(trials.enrol.tolist(), trials.test.tolist(), strict=True)
    return np.array([similarity(vectors[e], vectors[t])[0].item() for e, t in pairs])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300, help="of each member; the recipe's")
    parser.add_argument("--json", help="also write the rows to this file")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = Rows()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        ours(work / "voices", 2)  # makes the corpus, where no earlier run has
        mine = ours(work / "ours", options.steps)
        other = theirs(work / "ours" / "manifest", work, options.steps)
    print(f"CPU seconds: ours {mine:.1f}, theirs {other:.1f}")
    name = f"ensemble of two, {options.steps} steps a member, to the table: SpeechBrain's / ours"
    rows.at_least(name, other / mine, 1.5)
    return rows.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
