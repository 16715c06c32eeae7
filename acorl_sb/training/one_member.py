"""One member's training: model, loader, Brain, and the member folder at its end."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.run_opts import RunOptions
from torch.utils.data import DataLoader

from acorl_sb.complementarity import Independent, out_of_fold
from acorl_sb.data.manifest import Utterance
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble, OutOfFoldReferences
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import build_encoder, load_start, save_member
from acorl_sb.training import provenance
from acorl_sb.training.brain import ComplementaryBrain, SpeakerBrain
from acorl_sb.training.dataset import CropDataset, StepSampler, collate
from acorl_sb.training.settings import Settings, TermSettings, TrainingSet, check_accumulation
from acorl_sb.utils.checkpoint import AtomicCheckpointer
from acorl_sb.utils.distributed import rank_and_world
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build

logger = logging.getLogger(__name__)


def train_member(
    spec: Any,
    index: int,
    ensemble: FrozenEnsemble,
    reference_errors: Sequence[float],
    data: TrainingSet,
    settings: Settings,
    run_opts: RunOptions,
    device: torch.device,
    folder: Path,
    term: TermSettings | None = None,
) -> None:
    """Train one member to the end, resuming where it was interrupted; write its folder.

    ``term`` says what its objective looks at; None: the task's batches and the ensemble.
    """
    term = term or TermSettings()
    started = time.time()
    check_accumulation(settings, run_opts)
    name = str(spec["name"])
    seed = int(spec.get("seed", 1000 * settings.seed + index))
    torch.manual_seed(seed)
    encoder = build_encoder(spec["encoder"], f"members[{index}].encoder")
    head = settings.head(dim=encoder.embedding_dim, n_classes=len(data.speakers))
    if spec.get("start") is not None:
        load_start(spec["start"], encoder, head.classifier, data.speakers)
    rank, world = rank_and_world()
    sampler = StepSampler(
        len(data.labels), settings.batch_size, settings.epoch_steps, seed, rank, world
    )
    dataset = CropDataset(
        data.utterances,
        data.labels,
        settings.crop_seconds,
        seed,
        cache_mb=settings.cache_mb,
        speeds=data.speeds,
    )
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=settings.workers,
        pin_memory=torch.cuda.is_available(),
    )
    counter = EpochCounter(settings.epochs)
    save_folder = folder / "save"
    checkpointer = AtomicCheckpointer(save_folder, {"counter": counter})
    modules = {"encoder": encoder, "head": head}
    hparams = {
        "name": name,
        "seed": seed,
        "total_steps": settings.epochs * settings.epoch_steps,
        "lr_schedule": settings.lr_schedule,
        "augment": settings.augment,
        "dev_error": data.dev_error,
        "sampler": sampler,
        "log_file": folder / "train_log.jsonl",
    }
    n_classes = len((term.data or data).speakers)
    objective = make_objective(spec, index, encoder, ensemble, n_classes, term.copies)
    if objective is None:
        brain = SpeakerBrain(modules, settings.optimizer, hparams, run_opts, checkpointer)
    else:
        objective.set_baseline(min(reference_errors))
        modules["objective"] = objective
        brain = ComplementaryBrain(
            modules,
            settings.optimizer,
            hparams,
            run_opts,
            checkpointer,
            references=term.copies
            or make_references(ensemble, data.utterances, settings.view, device),
            adversary_opt_class=settings.adversary_optimizer,
            term_batches=term.batches(settings, seed),
        )
    checkpointer.add_recoverables(modules)
    wanted = provenance.member_settings(
        spec, index, settings.plain, provenance.reference_weights(ensemble)
    )
    run = provenance.run_settings(run_opts)
    if if_main_process():
        provenance.note_start(folder, {**wanted, "run": run})
    ddp_barrier()
    parameters = sum(p.numel() for p in encoder.parameters())
    logger.info(
        "%s: training %.2f M parameters on %d speakers, seed %d",
        name,
        parameters / 1e6,
        len(data.speakers),
        seed,
    )
    try:
        brain.fit(counter, loader, progressbar=None if sys.stderr.isatty() else False)
    except UserError as error:
        # A loader process hands on its whole traceback as the message; its last line is ours.
        raise UserError(str(error).strip().splitlines()[-1].split("UserError: ")[-1]) from None
    best = checkpointer.recover_if_possible(min_key="dev_eer")
    ddp_barrier()  # every rank has read it before it is removed
    if if_main_process():
        save_member(
            folder,
            encoder,
            spec["encoder"],
            head.classifier,
            data.speakers,
            {
                "name": name,
                "parameters": parameters,
                "embedding_dim": encoder.embedding_dim,
                "seed": seed,
                "dev_eer": best.meta["dev_eer"],
                "best_epoch": best.meta["epoch"],
                "seconds": round(time.time() - started, 1),
                "run": run,
                "settings": wanted,
            },
        )
        shutil.rmtree(save_folder, ignore_errors=True)  # the member's folder is complete
    ddp_barrier()


def make_objective(
    spec: Any,
    index: int,
    encoder: SpeakerEncoder,
    ensemble: FrozenEnsemble,
    n_classes: int,
    copies: OutOfFoldReferences | None = None,
):
    """The member's complementarity objective, or None for plain training."""
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
    return None if type(objective) is Independent else objective


def make_references(
    ensemble: FrozenEnsemble, utterances: Sequence[Utterance], view: str, device: torch.device
) -> FrozenEnsemble | EmbeddingTable:
    """What gives the references' embeddings in training: the ensemble, or a table made once."""
    if view == "crop":
        return ensemble
    return EmbeddingTable(
        embed_utterances(
            m.encoder, utterances, device=device, progress=f"reference {m.name}", shared=True
        )
        for m in ensemble.members
    )
