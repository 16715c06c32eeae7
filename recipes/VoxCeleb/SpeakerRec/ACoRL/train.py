#!/usr/bin/env python3
"""Recipe for training an ensemble of speaker encoders on VoxCeleb (ACoRL, arXiv 2404.15704).

Every member after the first is trained to complement the frozen ones before it; all members are
scored, fused and reported.

To run this recipe, use the following commands:
> python train.py hparams/ecapa1024.yaml --data_folder=/path/to/VoxCeleb
> python train.py hparams/ecapa1024_large_margin.yaml --data_folder=/path/to/VoxCeleb
> python train.py hparams/ecapa1024_resnet34_complement.yaml --data_folder=/path/to/VoxCeleb
> torchrun --nproc_per_node=4 train.py hparams/resnet34.yaml --data_folder=/path/to/VoxCeleb

In a YAML the key ["inherit"] names another one, whose keys it then replaces.
"""

import logging
import sys
from typing import Any, ClassVar

from pydantic import Field

from acorl_sb.cli.train import EVALUATION, run_experiment
from acorl_sb.training.rehearsal import rehearse
from acorl_sb.training.speech import SpeechSettings, TrainingSet
from acorl_sb.training.train_options import (
    CORPUS,
    DECISIVE,
    TrainingKeys,
    TrainingRun,
    TrainOptions,
)
from acorl_sb.utils import distributed, options
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.logs import log_to_screen
from acorl_sb.utils.memory import keep_freed_memory
from acorl_sb.utils.option_kinds import ABSENT


class RecipeOptions(TrainOptions):
    """The keys of the default recipe's train.py, and those that only this recipe's YAMLs have."""

    lazy: ClassVar[tuple[str, ...]] = ("members", "references", "encoder")

    encoder: dict[str, Any] = Field(description="of both members, as in hparams/models/*.yaml")
    lr: float = Field(gt=0, le=1000, description="learning rate, for optimizer and schedule")
    warmup_steps: int = Field(ge=0, description="steps in which the learning rate rises")
    margin: float = Field(ge=0, le=3.14, description="additive angular margin, radians")
    rir_folder: options.Text | None = Field(ABSENT, description="room impulse responses")
    start_first: options.Text | None = Field(None, description="folder to start the first from")
    start_second: options.Text | None = Field(None, description="folder to start the second from")
    trained: options.Text = Field(ABSENT, description="folder of the members to go on from")


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
    loaded = options.read(RecipeOptions, sys.argv[1:], __doc__, TrainingRun)
    hparams, encoder = loaded.hparams, loaded.lazy.pop("encoder")
    settings = SpeechSettings(
        **{key: hparams[key] for key in TrainingKeys.model_fields},
        plain=loaded.plain([*DECISIVE, *CORPUS]),
    )
    rehearse(**loaded.lazy, settings=settings, run_opts=loaded.run_opts, kind=TrainingSet.kind)
    run_opts, _ = distributed.start(loaded.run_opts)
    log_to_screen()
    summarise(hparams, encoder)
    run_experiment(
        **{key: hparams[key] for key in [*CORPUS, *EVALUATION]},
        **loaded.lazy,
        settings=settings,
        run_opts=run_opts,
        text=loaded.text,
    )


if __name__ == "__main__":
    run_cli(main)
