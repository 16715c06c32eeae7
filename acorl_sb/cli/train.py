"""A whole experiment: corpus, members one after another, scores, fusions, one table."""

from __future__ import annotations

import contextlib
import logging
import re
from functools import partial
from pathlib import Path
from typing import Any

from speechbrain.utils.distributed import if_main_process, run_on_main
from speechbrain.utils.run_opts import RunOptions

from acorl_sb import corpora
from acorl_sb.data.trial_set import read_trial_set
from acorl_sb.encoders.member_folder import read_record
from acorl_sb.fusion.ensemble_scoring import evaluate_ensemble
from acorl_sb.report.train_tables import table
from acorl_sb.scoring.backends.cosine import cosine_eer
from acorl_sb.training import members as training
from acorl_sb.utils import distributed
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import output_path, write_text
from acorl_sb.utils.locks import locked
from acorl_sb.utils.logs import log_to, log_to_screen

logger = logging.getLogger(__name__)


def run_experiment(
    output_folder: str | Path,
    corpus: str,
    data_folder: str | Path | None,
    prepare_options: dict[str, Any],
    members: Any,
    references: Any,
    settings: training.Settings,
    dev_seconds: float | None,
    score_seconds: float | None,
    run_opts: RunOptions,
    text: str,
) -> None:
    """Prepare the corpus, train what is not trained yet, score and fuse everything.

    All is checked first: a run that is refused changes no file of an earlier one. The output
    folder is locked until the end.

    Arguments
    ---------
    output_folder : all results; see README.md for what lies in it, and ``named`` for ``{data}``
    corpus, data_folder, prepare_options : see ``acorl_sb.corpora.prepare``
    members, references : resolved YAML lists, see ``acorl_sb.training.members.train_members``
    settings : how a member is trained
    dev_seconds, score_seconds : centre crop (s) of the check after each epoch and of the final
        scoring; None takes utterances whole
    run_opts : SpeechBrain's run options
    text : the resolved YAML, kept as ``hyperparams.yaml``

    Under ``torchrun`` every rank calls this; the first one writes and prints.
    """
    training.check_specs(members, references)
    run_opts, device = distributed.start(run_opts)
    log_to_screen()
    folder = named(output_folder, corpus, data_folder)
    with locked(folder) if if_main_process() else contextlib.nullcontext():
        splits = run_on_main(
            check_and_prepare,
            [folder, corpus, data_folder, prepare_options, members, references, settings, run_opts],
        )
        log_to(folder / "train_log.txt")
        if if_main_process():
            write_text(folder / "hyperparams.yaml", text)
        dev = read_trial_set(corpora.read_manifest(splits.dev), splits.dev_trials)
        test = read_trial_set(corpora.read_manifest(splits.test), splits.test_trials)
        data = training.TrainingSet(
            corpora.read_manifest(splits.train),
            training.dev_error_function(
                dev.utterances, partial(cosine_eer, dev), dev_seconds, device
            ),
            settings.speeds,
        )
        ensemble = training.train_members(
            members, references, data, settings, run_opts, device, folder / "members"
        )
        records = {name: read_record(folder / "members" / name) for name in ensemble.names}
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
            write_text(folder / "results.md", table(results))
            print(table(results))
            logger.info("results are in %s", folder)


def named(output_folder: str | Path, corpus: str, data_folder: str | Path | None) -> Path:
    """The output folder, ``{data}`` in its name replaced by what tells data apart.

    That is the name of the data folder for the corpus ``folder``, which can be anybody's
    recordings, and nothing for the others. Raises ``UserError`` for a folder that cannot be one.
    """
    data = ""
    if corpus == "folder" and data_folder is not None:
        data = "_" + re.sub(r"[^\w.+-]+", "-", Path(data_folder).resolve().name)
    return output_path(str(output_folder).replace("{data}", data))


def check_and_prepare(
    folder: Path, corpus, data_folder, prepare_options, members, references, settings, run_opts
) -> corpora.Splits:
    """Refuse what can be refused, then prepare the corpus; see ``run_experiment``."""
    if (folder / "results.json").exists() and not (folder / "manifest").exists():
        raise UserError(f"{folder}: holds results of another command; name another output_folder")
    for key in ("corpus", "data_folder", "save_folder", "trained_on_it"):
        if key in prepare_options:
            raise UserError(f"prepare_options: {key!r} is not an option of it")
    begun = training.check_members(members, references, settings, run_opts, folder / "members")
    return corpora.prepare(
        corpus,
        data_folder,
        folder / "manifest",
        trained_on_it=begun[0] if begun else None,
        **prepare_options,
    )
