"""A whole experiment: corpus, members one after another, scores, fusions, one table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from speechbrain.utils.distributed import if_main_process, run_on_main
from speechbrain.utils.run_opts import RunOptions

from acorl_sb import corpora, distributed, training
from acorl_sb.evaluate import evaluate_alliance, read_side
from acorl_sb.files import write_text
from acorl_sb.logs import log_to
from acorl_sb.members import read_record
from acorl_sb.train_tables import table

logger = logging.getLogger(__name__)


def run_experiment(
    output_folder: str | Path,
    corpus: str,
    data_folder: str | Path | None,
    prepare_options: dict[str, Any],
    members: Any,
    priors: Any,
    settings: training.Settings,
    dev_seconds: float | None,
    score_seconds: float | None,
    run_opts: RunOptions,
    text: str,
) -> None:
    """Prepare the corpus, train what is not trained yet, score and fuse everything.

    Arguments
    ---------
    output_folder : all results; see README.md for what lies in it
    corpus, data_folder, prepare_options : see ``acorl_sb.corpora.prepare``
    members, priors : resolved YAML lists, see ``acorl_sb.training.train_members``
    settings : how a member is trained
    dev_seconds, score_seconds : centre crop (s) of the check after each epoch and of the final
        scoring; None takes utterances whole
    run_opts : SpeechBrain's run options
    text : the resolved YAML, kept as ``hyperparams.yaml``

    Under ``torchrun`` every rank calls this; the first one writes and prints.
    """
    training.check_specs(members, priors)
    run_opts, device = distributed.start(run_opts)
    folder = Path(output_folder)
    log_to(folder / "train_log.txt")
    if if_main_process():
        write_text(folder / "hyperparams.yaml", text)
    splits = prepare_once(corpus, data_folder, folder / "manifest", prepare_options)
    dev = read_side(corpora.read_manifest(splits.dev), splits.dev_trials)
    test = read_side(corpora.read_manifest(splits.test), splits.test_trials)
    data = training.TrainingSet(
        corpora.read_manifest(splits.train),
        training.dev_error_function(dev.utterances, dev.eer, dev_seconds, device),
        settings.speeds,
    )
    alliance = training.train_members(
        members, priors, data, settings, run_opts, device, folder / "members"
    )
    records = {name: read_record(folder / "members" / name) for name in alliance.names}
    results = evaluate_alliance(
        alliance,
        {name: record for name, record in records.items() if record},
        dev,
        test,
        folder,
        score_seconds,
        device,
    )
    if results is not None:
        print(table(results))
        logger.info("results are in %s", folder)


def prepare_once(corpus, data_folder, save_folder, options) -> corpora.Splits:
    """``corpora.prepare`` on the first rank; the others wait and get its paths."""
    return run_on_main(corpora.prepare, [corpus, data_folder, save_folder], options)
