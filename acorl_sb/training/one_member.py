"""One member, from its entry in the YAML to its finished folder."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.checkpoints import Checkpointer, average_checkpoints
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.run_opts import RunOptions
from torch import nn
from torch.utils.data import DataLoader

from acorl_sb.complementarity import Independent, Objective, out_of_fold
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble, OutOfFoldReferences
from acorl_sb.encoders.member_folder import read_record
from acorl_sb.training.brain import ComplementaryBrain, SpeakerBrain
from acorl_sb.training.graphs import replay_network
from acorl_sb.training.loading import augments_early, make_loader, pair_batches
from acorl_sb.training.provenance import (
    Start,
    member_settings,
    note_start,
    reference_weights,
    run_settings,
)
from acorl_sb.training.settings import Settings, check_accumulation, check_graphs
from acorl_sb.training.term_settings import TermSettings
from acorl_sb.training.train_loggers import LOGS, EpochTeller
from acorl_sb.training.training_data import TrainingData
from acorl_sb.utils.checkpoint import AtomicCheckpointer
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build

logger = logging.getLogger(__name__)


def train_member(
    spec: Any,
    index: int,
    ensemble: FrozenEnsemble,
    reference_errors: Sequence[float],
    data: TrainingData,
    settings: Settings,
    run_opts: RunOptions,
    device: torch.device,
    folder: Path,
    term: TermSettings | None = None,
    start: Start | None = None,
) -> None:
    """Train one member to the end, from where it was interrupted; write its folder.

    Arguments
    ---------
    spec : mapping
        Its entry in the YAML's ``members``, resolved.
    index : int
        Its place there; its seed follows from it unless ``spec`` has one.
    ensemble : FrozenEnsemble
        The frozen reference encoders.
    reference_errors : sequence of float
        Their development figures, as far as known.
    data, settings, run_opts, device : see ``acorl_sb.training.members.train_members``
    folder : Path
        Of this member.
    term : TermSettings or None
        What its objective looks at; None: the task's batches and the ensemble.
    start : Start or None
        The finished member that it goes on from, where it goes on from one.

    Raises
    ------
    UserError
        For what cannot be built, a loss that is not finite, and an interrupted training in
        ``folder`` that was started with other settings.
    """
    term = term or TermSettings()
    if spec.get("objective") is not None:
        term = term.with_batches(data, settings)
    started = time.time()
    before = None if start is None else read_record(start.folder, ("seconds",))
    if before is not None:  # what led to its weights counts
        started -= before["seconds"]
    check_accumulation(settings, run_opts, f"members[{index}]")
    name, kind, unlabelled = str(spec["name"]), data.kind, min(data.labels) < 0
    seed = int(spec.get("seed", 1000 * settings.seed + index))
    torch.manual_seed(seed)
    encoder = kind.build(spec["encoder"], f"members[{index}].encoder")
    head = settings.head(dim=encoder.embedding_dim, n_classes=len(data.classes))
    if start is not None or spec.get("start") is not None:
        begin = spec["start"] if start is None else start.folder
        kind.load_start(begin, encoder, head, data.classes)
    modules = {"encoder": encoder, "head": head}
    # These views look at crops before augmentation, too.
    both = settings.view in ("clean", "unaugmented") and spec.get("objective") is not None
    by_loader = augments_early(settings.augment, device)
    early = by_loader and not both
    loader = make_loader(data, settings, seed, augmented=early)
    counter = EpochCounter(settings.epochs)
    checkpointer = AtomicCheckpointer(folder / "save", {"counter": counter})
    hparams = {
        "name": name,
        "seed": seed,
        "total_steps": settings.total_steps,
        "lr_schedule": settings.lr_schedule,
        "augment": settings.augment,
        "unlabelled": unlabelled,
        "augmented": early,
        "mask": None if term.mask is None else term.mask.to(device),
        "pair_loss": settings.pair_loss,
        "pair_batches": pair_batches(data, settings, seed, by_loader),
        "pairs_augmented": by_loader,
        "dev_figure": data.dev_figure,
        "dev_error": lambda trained: data.check(trained, head),
        "sampler": loader.batch_sampler,
        "log_file": folder / "train_log.jsonl",
        "teller": make_teller(settings, folder, data.dev_figure),
    }
    if settings.average_checkpoints is not None:
        keys = [data.dev_figure] if data.selects else []  # none: the latest are kept
        hparams["keep"] = {"num_to_keep": settings.average_checkpoints, "min_keys": keys}
    n_classes = len((term.data or data).classes)
    objective = make_objective(spec, index, encoder, ensemble, n_classes, term.copies)
    if unlabelled and not (objective and objective.takes_unlabelled):
        raise UserError(
            f"members[{index}]: the training data have unlabelled items (more_unlabelled), from "
            "which its objective learns nothing; Distillation does"
        )
    if objective is None:
        brain = SpeakerBrain(modules, settings.optimizer, hparams, run_opts, checkpointer)
    else:
        if reference_errors:
            objective.set_baseline(min(reference_errors))
        modules["objective"] = objective
        brain = ComplementaryBrain(
            modules,
            settings.optimizer,
            hparams,
            run_opts,
            checkpointer,
            references=term.copies or make_references(ensemble, data, settings.view, device),
            adversary_opt_class=settings.adversary_optimizer,
            term_batches=term.batches(settings, seed),
            second_view=term.second_view,
            view=settings.view,
        )
    checkpointer.add_recoverables(modules)
    wanted = member_settings(spec, index, settings.plain, reference_weights(ensemble), start)
    run = run_settings(run_opts)
    if if_main_process():
        note_start(folder, {**wanted, "run": run})
    ddp_barrier()
    parameters = sum(p.numel() for p in encoder.parameters())
    size, count = parameters / 1e6, len(data.classes)
    logger.info("%s: training %.2f M parameters, %d classes, seed %d", name, size, count, seed)
    if check_graphs(settings, run_opts, objective):
        waves = kind.whole_noise(settings.batch_size, settings)
        replay_network(brain.modules["encoder"], waves.to(brain.device))
    fit(brain, counter, loader)
    if hparams["teller"] is not None:
        hparams["teller"].close()
    chosen = {"min_key": data.dev_figure} if data.selects else {}
    kept = checkpointer.recover_if_possible(**chosen)
    error, averaged = kept.meta[data.dev_figure], []
    if settings.average_checkpoints is not None:
        parts = {"encoder": encoder, "head": head}
        averaged = average(checkpointer, settings.average_checkpoints, parts, chosen)
        error = data.check(encoder.eval(), head)
        logger.info("%s: epochs %s averaged, %s %.4g", name, averaged, data.dev_figure, error)
    ddp_barrier()  # every rank has read it before it is removed
    if if_main_process():
        record = {
            "name": name,
            "parameters": parameters,
            "embedding_dim": encoder.embedding_dim,
            "seed": seed,
            data.dev_figure: error,
            "best_epoch": kept.meta["epoch"],
            **({"averaged_epochs": averaged} if averaged else {}),
            "seconds": round(time.time() - started, 1),
            "run": run,
            "settings": wanted,
        }
        kind.save(folder, encoder, head, spec["encoder"], data, record)
        shutil.rmtree(folder / "save", ignore_errors=True)  # the member's folder is complete
    ddp_barrier()


def average(
    checkpointer: Checkpointer, count: int, parts: dict[str, nn.Module], chosen: dict[str, str]
) -> list[int]:
    """Give modules the mean weights of ``count`` checkpoints.

    Arguments
    ---------
    checkpointer : Checkpointer
    count : int
        Of the checkpoints that ``chosen`` puts first, all where there are fewer.
    parts : dict
        The modules by the names of their recoverables. Running statistics of batch norms are
        averaged like weights.
    chosen : dict
        SpeechBrain's ``min_key``, or nothing for the latest ones.

    Returns
    -------
    list of int
        The epochs of these checkpoints.
    """
    found = checkpointer.find_checkpoints(
        max_num_checkpoints=count, ckpt_predicate=lambda saved: saved.meta["end-of-epoch"], **chosen
    )
    for name, module in parts.items():
        module.load_state_dict(average_checkpoints(found, name))
    return sorted(checkpoint.meta["epoch"] for checkpoint in found)


def make_teller(settings: Settings, folder: Path, dev_figure: str) -> EpochTeller | None:
    """What tells the logger of the key ``train_logger`` of a member's epochs, if there is one."""
    if settings.train_logger is None:
        return None
    return EpochTeller(settings.train_logger, folder / LOGS, dev_figure)


def make_objective(
    spec: Any,
    index: int,
    encoder: nn.Module,
    ensemble: FrozenEnsemble,
    n_classes: int,
    copies: OutOfFoldReferences | None = None,
) -> Objective | None:
    """The member's complementarity objective, or None for plain training.

    Raises ``UserError``, naming the member, for one that cannot be built.
    """
    if spec.get("objective") is None:
        return None
    where = f"members[{index}].objective"
    factory = build({"objective": spec["objective"]}, where)["objective"]
    try:
        if copies is not None:
            dims = (encoder.embedding_dim, copies.dims)
            return out_of_fold(factory, *dims, n_classes, copies.fold_of_class)
        objective = factory(
            dim=encoder.embedding_dim, reference_dims=ensemble.dims, n_classes=n_classes
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from None
    if not isinstance(objective, Objective):
        made = type(objective).__name__
        raise UserError(f"{where}: it makes a {made}; name a class of acorl_sb.complementarity")
    return None if type(objective) is Independent else objective


def make_references(
    ensemble: FrozenEnsemble, data: TrainingData, view: str, device: torch.device
) -> FrozenEnsemble | EmbeddingTable:
    """What gives the references' embeddings in training: the ensemble, or a table made once."""
    if view != "utterance":
        return ensemble
    return EmbeddingTable(data.table(m.encoder, device, m.name) for m in ensemble.members)


def fit(brain: SpeakerBrain, counter: EpochCounter, loader: DataLoader) -> None:
    """Train to the end; a ``UserError`` of a loader process is raised as the one that it was."""
    try:
        brain.fit(counter, loader, progressbar=None if sys.stderr.isatty() else False)
    except UserError as error:
        # A loader process hands on its whole traceback as the message; its last line is ours.
        raise UserError(str(error).strip().splitlines()[-1].split("UserError: ")[-1]) from None
