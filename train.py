"""Train an alliance of speaker encoders, score it, fuse it.

    python train.py hparams/acorl_ecapa.yaml [--key value ...]

Every key of the YAML can be overridden on the command line; SpeechBrain's run options
(``--device``, ``--precision``, ...) are taken as well.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import speechbrain as sb
import torch

from acorl_sb import corpora, training
from acorl_sb.errors import UserError, run_cli
from acorl_sb.evaluate import evaluate_alliance, read_side, table
from acorl_sb.files import write_text
from acorl_sb.hparams import load_hparams
from acorl_sb.logs import log_to
from acorl_sb.members import read_record

SETTINGS = [
    *("seed", "crop_seconds", "batch_size", "epochs", "epoch_steps", "optimizer"),
    *("adversary_optimizer", "lr_schedule", "head", "augment", "view", "cache_mb", "workers"),
]
CORPUS = ["corpus", "data_folder", "prepare_options"]
EVALUATION = ["output_folder", "dev_seconds", "score_seconds"]

logger = logging.getLogger("acorl_sb.train")


def main() -> int:
    loaded = load_hparams(
        sys.argv[1:], [*SETTINGS, *CORPUS, *EVALUATION], lazy=("members", "priors")
    )
    hparams, run_opts = loaded.hparams, loaded.run_opts
    training.check_specs(loaded.lazy["members"], loaded.lazy["priors"])
    sb.utils.distributed.ddp_init_group(run_opts)
    device = choose_device(run_opts)
    folder = Path(hparams["output_folder"])
    log_to(folder / "train_log.txt")
    write_text(folder / "hyperparams.yaml", loaded.text)

    splits = corpora.prepare(
        hparams["corpus"],
        hparams["data_folder"],
        folder / "manifest",
        **hparams["prepare_options"],
    )
    dev = read_side(corpora.read_manifest(splits.dev), splits.dev_trials)
    test = read_side(corpora.read_manifest(splits.test), splits.test_trials)
    data = training.TrainingSet(
        corpora.read_manifest(splits.train),
        training.dev_error_function(dev.utterances, dev.eer, hparams["dev_seconds"], device),
    )
    settings = training.Settings(
        **{key: hparams[key] for key in SETTINGS},
        plain=loaded.plain([*SETTINGS, *CORPUS]),
    )
    alliance = training.train_members(
        loaded.lazy["members"],
        loaded.lazy["priors"],
        data,
        settings,
        run_opts,
        device,
        folder / "members",
    )
    if sb.utils.distributed.if_main_process():
        records = {name: read_record(folder / "members" / name) for name in alliance.names}
        results = evaluate_alliance(
            alliance,
            {name: record for name, record in records.items() if record},
            dev,
            test,
            folder,
            hparams["score_seconds"],
            device,
        )
        print(table(results["systems"]))
        logger.info("results are in %s", folder)
    return 0


def choose_device(run_opts) -> torch.device:
    """The device of ``--device``, or the GPU where there is one."""
    device = run_opts.device or sb.utils.distributed.infer_device()
    if "cuda" in device and not torch.cuda.is_available():
        raise UserError(f"--device {device}: no CUDA device here; use --device cpu")
    return torch.device(device)


if __name__ == "__main__":
    run_cli(main)
