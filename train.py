"""Train an ensemble of speaker encoders, score it, fuse it.

    python train.py hparams/acorl_ecapa.yaml [--key value ...]
    torchrun --nproc_per_node=2 train.py hparams/acorl_ecapa.yaml [--key value ...]

Every key of the YAML can be overridden on the command line; SpeechBrain's run options
(``--device``, ``--precision``, ...) are taken as well.
"""

from __future__ import annotations

import sys

from acorl_sb.cli.train import run_experiment
from acorl_sb.training.members import Settings
from acorl_sb.training.rehearsal import rehearse
from acorl_sb.training.train_options import (
    CORPUS,
    DECISIVE,
    TrainingKeys,
    TrainingRun,
    TrainOptions,
)
from acorl_sb.utils import options
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.memory import keep_freed_memory

EVALUATION = ("output_folder", "dev_seconds", "score_seconds")


def main() -> int:
    keep_freed_memory()
    loaded = options.read(TrainOptions, sys.argv[1:], __doc__, TrainingRun)
    settings = Settings(
        **{key: loaded.hparams[key] for key in TrainingKeys.model_fields},
        plain=loaded.plain([*DECISIVE, *CORPUS]),
    )
    rehearse(**loaded.lazy, settings=settings, run_opts=loaded.run_opts)
    run_experiment(
        **{key: loaded.hparams[key] for key in [*CORPUS, *EVALUATION]},
        **loaded.lazy,
        settings=settings,
        run_opts=loaded.run_opts,
        text=loaded.text,
    )
    return 0


if __name__ == "__main__":
    run_cli(main)
