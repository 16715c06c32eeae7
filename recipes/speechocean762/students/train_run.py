"""One run of the study, a process of its own: its members trained, their scores kept.

    python students/train_run.py JOB.yaml MANIFEST OUT.npz DRAWS DEVICE PRECISION

The YAML is one of train.py. What is finished is not done again. ``OUT.npz`` gets for each member
its ``NAME/dev`` and ``NAME/test`` scores and ``NAME/cost`` (parameters, seconds of training), and
with ``DRAWS`` above 0 the standard deviations ``std/test`` of Monte-Carlo dropout. Unlike train.py
it neither scores the references again nor fuses anything.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acorl_sb import corpora
from acorl_sb.data.trial_set import read_trial_set
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import load_member, read_record
from acorl_sb.scoring.backends.cosine import cosine_eer, cosine_trial_scores
from acorl_sb.scoring.dropout_scores import dropout_scores
from acorl_sb.training.members import train_members
from acorl_sb.training.speech import SpeechSettings, TrainingSet, dev_error_function
from acorl_sb.training.train_options import (
    CORPUS,
    DECISIVE,
    TrainingKeys,
    TrainingRun,
    TrainOptions,
)
from acorl_sb.utils import distributed, options
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.files import atomic_path, write_json
from acorl_sb.utils.logs import log_to_screen


def main() -> int:
    torch.set_num_threads(1)
    yaml, manifest, out, draws, device_name, precision = sys.argv[1:]
    words = [yaml, f"--device={device_name}", f"--precision={precision}"]
    loaded = options.read(TrainOptions, words, __doc__, TrainingRun)
    settings = SpeechSettings(
        **{key: loaded.hparams[key] for key in TrainingKeys.model_fields},
        plain=loaded.plain([*DECISIVE, *CORPUS]),
    )
    run_opts, device = distributed.start(loaded.run_opts)
    log_to_screen()
    folder, seconds = Path(loaded.hparams["output_folder"]), loaded.hparams["score_seconds"]
    sides = {
        part: read_trial_set(
            corpora.read_manifest(f"{manifest}/{part}.csv"), f"{manifest}/{part}_trials.txt"
        )
        for part in ("dev", "test")
    }
    dev = sides["dev"]
    error = functools.partial(cosine_eer, dev)
    data = TrainingSet(
        corpora.read_manifest(f"{manifest}/train.csv"),
        dev_error_function(dev.utterances, error, loaded.hparams["dev_seconds"], device),
    ).adapted(settings)
    members, references = loaded.lazy["members"], loaded.lazy["references"]
    train_members(members, references, data, settings, run_opts, device, folder / "members")
    found: dict[str, Any] = {}
    for name in (str(member["name"]) for member in members):
        own = folder / "members" / name
        encoder, record = load_member(own).to(device), read_record(own)
        found[f"{name}/cost"] = np.array([record["parameters"], record["seconds"]])
        for part, side in sides.items():
            z = embed_utterances(encoder, side.utterances, seconds, device=device)
            found[f"{name}/{part}"] = cosine_trial_scores(side, z.numpy()).astype(np.float32)
        if int(draws):
            _, std = dropout_scores(encoder, sides["test"], int(draws), 0, seconds, device)
            found["std/test"] = std.astype(np.float32)
    with atomic_path(Path(out)) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **found)
    write_json(folder / "results.json", {"scores": out})
    return 0


if __name__ == "__main__":
    run_cli(main)
