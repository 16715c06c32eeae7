#!/usr/bin/env python3
"""Recipe for training an alliance of speaker encoders on VoxCeleb (ACoRL, arXiv 2404.15704).

Every member after the first is trained to complement the frozen ones before it; all members are
scored, fused and reported.

To run this recipe, use the following commands:
> python train.py hparams/ecapa1024.yaml --data_folder=/path/to/VoxCeleb
> python train.py hparams/ecapa1024_large_margin.yaml --data_folder=/path/to/VoxCeleb
> torchrun --nproc_per_node=4 train.py hparams/resnet34.yaml --data_folder=/path/to/VoxCeleb

In a YAML the key ["inherit"] names another one, whose keys it then replaces.
"""

import logging
import sys

from acorl_sb import distributed
from acorl_sb.errors import run_cli
from acorl_sb.experiment import run_experiment
from acorl_sb.hparams import load_hparams
from acorl_sb.logs import log_to_screen
from acorl_sb.memory import keep_freed_memory
from acorl_sb.training import DECISIVE, SETTINGS, Settings

CORPUS = ["corpus", "data_folder", "prepare_options"]
EVALUATION = ["output_folder", "dev_seconds", "score_seconds"]


logger = logging.getLogger("acorl_sb.recipe")


def summarise(hparams, encoder):
    """Logs what the YAMLs of this recipe differ in."""
    logger.info(
        "encoder of %d mel bands and %d dimensions; margin %g; learning rate %g after %d steps",
        encoder["n_mels"],
        encoder["embedding_dim"],
        hparams["margin"],
        hparams["lr"],
        hparams["warmup_steps"],
    )
    for member in ("first", "second"):
        start = hparams["start_first"] if member == "first" else hparams["start_second"]
        if start is not None:
            logger.info("%s goes on from %s", member, start)


def main():
    """Reads the YAML, then prepares, trains, scores and fuses."""
    keep_freed_memory()
    loaded = load_hparams(
        sys.argv[1:],
        [*SETTINGS, *CORPUS, *EVALUATION],
        lazy=("members", "priors", "encoder"),
    )
    hparams = loaded.hparams
    run_opts, _ = distributed.start(loaded.run_opts)
    log_to_screen()
    summarise(hparams, loaded.lazy["encoder"])
    run_experiment(
        output_folder=hparams["output_folder"],
        corpus=hparams["corpus"],
        data_folder=hparams["data_folder"],
        prepare_options=hparams["prepare_options"],
        members=loaded.lazy["members"],
        priors=loaded.lazy["priors"],
        settings=Settings(
            seed=hparams["seed"],
            crop_seconds=hparams["crop_seconds"],
            speeds=hparams["speeds"],
            batch_size=hparams["batch_size"],
            epochs=hparams["epochs"],
            epoch_steps=hparams["epoch_steps"],
            optimizer=hparams["optimizer"],
            adversary_optimizer=hparams["adversary_optimizer"],
            lr_schedule=hparams["lr_schedule"],
            head=hparams["head"],
            augment=hparams["augment"],
            view=hparams["view"],
            cache_mb=hparams["cache_mb"],
            workers=hparams["workers"],
            plain=loaded.plain([*DECISIVE, *CORPUS]),
        ),
        dev_seconds=hparams["dev_seconds"],
        score_seconds=hparams["score_seconds"],
        run_opts=run_opts,
        text=loaded.text,
    )


if __name__ == "__main__":
    run_cli(main)
