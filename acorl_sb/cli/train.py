"""Train an ensemble of speaker encoders, score it, fuse it.

    acorl train hparams/acorl_ecapa.yaml [--key value ...]
    python train.py hparams/acorl_ecapa.yaml [--key value ...]
    torchrun --nproc_per_node=2 train.py hparams/acorl_ecapa.yaml [--key value ...]

Every key of the YAML can be overridden on the command line; SpeechBrain's run options
(``--device``, ``--precision``, ...) are taken as well.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

from speechbrain.utils.distributed import if_main_process, run_on_main
from speechbrain.utils.run_opts import RunOptions

from acorl_sb import corpora
from acorl_sb.data.trial_set import read_trial_set
from acorl_sb.encoders.member_folder import read_record
from acorl_sb.fusion.ensemble_scoring import evaluate_ensemble
from acorl_sb.report.run_report import write_run_report
from acorl_sb.report.train_tables import table
from acorl_sb.scoring.backends.cosine import cosine_eer
from acorl_sb.training.member_options import check_specs
from acorl_sb.training.members import check_against_data, train_members
from acorl_sb.training.rehearsal import rehearse
from acorl_sb.training.run_folder import begin, check_and_prepare, named
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
from acorl_sb.utils.files import write_text
from acorl_sb.utils.locks import locked
from acorl_sb.utils.logs import log_to_screen
from acorl_sb.utils.memory import keep_freed_memory

logger = logging.getLogger(__name__)
EVALUATION = ("output_folder", "dev_seconds", "score_seconds", "report", "trials", "dev_trials")


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    keep_freed_memory()
    loaded = options.read(
        TrainOptions, sys.argv[1:] if argv is None else argv, __doc__, TrainingRun
    )
    settings = SpeechSettings(
        **{key: loaded.hparams[key] for key in TrainingKeys.model_fields},
        plain=loaded.plain([*DECISIVE, *CORPUS]),
    )
    rehearse(**loaded.lazy, settings=settings, run_opts=loaded.run_opts, kind=TrainingSet.kind)
    run_experiment(
        **{key: loaded.hparams[key] for key in [*CORPUS, *EVALUATION]},
        **loaded.lazy,
        settings=settings,
        run_opts=loaded.run_opts,
        text=loaded.text,
    )
    return 0


def run_experiment(
    output_folder: str | Path,
    corpus: str,
    data_folder: str | Path | None,
    prepare_options: dict[str, Any],
    members: Any,
    references: Any,
    settings: SpeechSettings,
    dev_seconds: float | None,
    score_seconds: float | None,
    run_opts: RunOptions,
    text: str,
    report: bool = True,
    trials: str | None = None,
    dev_trials: str | None = None,
) -> None:
    """Prepare the corpus, train what is not trained yet, score and fuse everything.

    A run that is refused changes no file of an earlier one; the output folder is locked.

    Arguments
    ---------
    output_folder : all results; see README.md for what lies in it, and ``named`` for ``{data}``
    corpus, data_folder, prepare_options : see ``acorl_sb.corpora.prepare``
    members, references : resolved YAML lists, see ``acorl_sb.training.members.train_members``
    dev_seconds, score_seconds : centre crop (s) of the check after each epoch and of the final
        scoring; None takes utterances whole
    settings, run_opts : how a member is trained, and SpeechBrain's run options
    text : the resolved YAML, kept as ``hyperparams.yaml``
    report, trials, dev_trials : whether a page is written; trial lists of the user's own

    Under ``torchrun`` every rank calls this; the first one writes and prints.
    """
    check_specs(members, references)
    run_opts, device = distributed.start(run_opts)
    log_to_screen()
    folder = named(output_folder, corpus, data_folder)
    own_trials = {part: p for part, p in (("dev", dev_trials), ("test", trials)) if p}
    with locked(folder) if if_main_process() else contextlib.nullcontext():
        splits = run_on_main(
            check_and_prepare,
            [folder, corpus, data_folder, prepare_options, members, references, settings, run_opts]
            + [own_trials],
        )
        dev = read_trial_set(corpora.read_manifest(splits.dev), splits.dev_trials)
        test = read_trial_set(corpora.read_manifest(splits.test), splits.test_trials)
        data = TrainingSet(
            corpora.read_manifest(splits.train),
            dev_error_function(dev.utterances, partial(cosine_eer, dev), dev_seconds, device),
        ).adapted(settings)
        trained = folder / "members"
        own = check_against_data(members, data, settings, trained)
        begin(folder, text)
        ensemble = train_members(
            members, references, data, settings, run_opts, device, trained, own
        )
        records = {name: read_record(trained / name) for name in ensemble.names}
        results = evaluate_ensemble(
            ensemble,
            {name: record for name, record in records.items() if record},
            dev,
            test,
            folder,
            score_seconds,
            device,
        )
        if results is not None:
            write_text(folder / "hyperparams.yaml", text)
            write_text(folder / "results.md", table(results))
            print(table(results))
            for warning in write_run_report(folder, sys.argv)["warnings"] if report else ():
                logger.warning("%s", warning)
            logger.info("results are in %s", folder)


if __name__ == "__main__":
    run_cli(main)
