"""Members trained one after another: what a YAML lists becomes finished member folders."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.run_opts import RunOptions
from torch import nn
from torch.utils.data import DataLoader

from acorl_sb.complementarity import Independent, out_of_fold
from acorl_sb.data.manifest import Utterance
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble, OutOfFoldPriors
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import (
    WEIGHTS,
    build_encoder,
    load_reference,
    load_start,
    load_weights,
    read_record,
    rebuild_member,
    save_member,
)
from acorl_sb.training import provenance
from acorl_sb.training.brain import ComplementaryBrain, SpeakerBrain
from acorl_sb.training.dataset import CropDataset, SpeakerSampler, StepBatches, StepSampler, collate
from acorl_sb.training.provenance import member_settings, reference_weights, refuse_changes
from acorl_sb.training.train_options import TrainingKeys, check_specs
from acorl_sb.utils.checkpoint import AtomicCheckpointer
from acorl_sb.utils.distributed import rank_and_world
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build
from acorl_sb.utils.options import validate

logger = logging.getLogger(__name__)


@dataclass
class TrainingSet:
    """Training utterances and the development check that every member shares.

    Every utterance counts once at each of ``speeds``; ``labels`` are those of all utterances at
    the first speed, then at the second, and so on.
    """

    utterances: Sequence[Utterance]
    dev_error: Callable[[SpeakerEncoder], float]
    speeds: Sequence[float] = (1.0,)
    speakers: list[str] = field(init=False)
    labels: list[int] = field(init=False)

    def __post_init__(self):
        natural = sorted({u.spk_id for u in self.utterances})
        if len(natural) < 2:
            raise UserError(
                f"the training manifest has {len(natural)} speaker; at least two are needed"
            )
        # A voice at another speed has another pitch: it counts as another speaker.
        self.speakers = [
            speaker if speed == 1 else f"{speaker} x{speed:g}"
            for speed in self.speeds
            for speaker in natural
        ]
        index = {speaker: label for label, speaker in enumerate(natural)}
        of_utterance = [index[u.spk_id] for u in self.utterances]
        self.labels = [
            len(natural) * i + label for i in range(len(self.speeds)) for label in of_utterance
        ]


@dataclass
class Settings:
    """How a member is trained; the keys of the front door's YAML under the same names.

    ``crop_seconds`` s; ``batch_size`` utterances of one rank; ``epochs`` of ``epoch_steps``
    steps; ``optimizer`` and ``adversary_optimizer`` are callables (parameters) -> optimizer;
    ``lr_schedule`` is called with the optimizer and the step; ``head`` is a callable
    (dim, n_classes) -> module; ``augment`` a SpeechBrain Augmenter or None; ``view`` is ``crop``
    or ``utterance``; ``cache_mb`` megabytes of audio kept in memory; ``workers`` loader
    processes; ``speeds`` at which every utterance is trained on, each a speaker of its own;
    ``plain`` is what decides the weights (``DECISIVE``, and the corpus) as the YAML says it, for
    the member's record.
    """

    seed: int
    crop_seconds: float
    batch_size: int
    epochs: int
    epoch_steps: int
    optimizer: Callable[..., torch.optim.Optimizer]
    adversary_optimizer: Callable[..., torch.optim.Optimizer]
    lr_schedule: Callable[[torch.optim.Optimizer, int], Any]
    head: Callable[..., nn.Module]
    augment: nn.Module | None
    view: str
    cache_mb: float
    workers: int
    plain: dict[str, Any]
    speeds: Sequence[float] = (1.0,)

    def __post_init__(self):
        validate(
            TrainingKeys, {key: getattr(self, key) for key in TrainingKeys.model_fields}
        ).check()


@dataclass
class TermSettings:
    """What the complementarity term looks at, where that is not the task's batch and the references.

    ``copies`` are asked in place of the references, each about speakers that it was not trained on.
    ``data``, if given, makes batches of the term's own, of ``batch_size`` crops with ``each`` of
    every speaker (1: drawn evenly over utterances); the term's classes are then its speakers.
    """

    copies: OutOfFoldPriors | None = None
    data: TrainingSet | None = None
    batch_size: int = 48
    each: int = 1

    def batches(self, settings: Settings, seed: int) -> StepBatches | None:
        """The term's batches by step; None for those of the task."""
        if self.data is None:
            return None
        rank, world = rank_and_world()
        seed += 500  # crops that are not those of the task
        rest = (self.batch_size, settings.epoch_steps, seed, rank, world)
        if self.each > 1:
            sampler = SpeakerSampler(self.data.labels, self.each, *rest)
        else:
            sampler = StepSampler(len(self.data.labels), *rest)
        dataset = CropDataset(
            self.data.utterances,
            self.data.labels,
            settings.crop_seconds,
            seed,
            cache_mb=settings.cache_mb,
            speeds=self.data.speeds,
        )
        return StepBatches(dataset, sampler)


def train_members(
    specs: Sequence[Any],
    reference_specs: Sequence[Any],
    data: TrainingSet,
    settings: Settings,
    run_opts: RunOptions,
    device: torch.device,
    folder: Path,
) -> FrozenEnsemble:
    """Train, or load where finished, every member in order; return the whole ensemble.

    Arguments
    ---------
    specs : resolved ``members`` of the YAML, each with name, encoder, objective, seed, start (a
        finished member's folder whose weights training goes on from) and training (settings that
        are this member's own, of ``OWN_TRAINING``); the last four may lack
    reference_specs : resolved ``references``, encoders that a user owns, see ``members.load_reference``
    data : TrainingSet
    settings : Settings
    run_opts : SpeechBrain's run options (precision, ...)
    device : where the brains run and embeddings are computed
    folder : path that holds a folder per member
    """
    check_specs(specs, reference_specs)
    # All at once, so that a mistake in the last one costs no training of the others.
    own = [with_own_training(s, f"members[{i}]", settings, data) for i, s in enumerate(specs)]
    ensemble = load_references(reference_specs)
    errors = []
    for reference in ensemble.members:
        errors.append(data.dev_error(reference.encoder))
        logger.info("%s: loaded as a reference, dev_eer %.4g", reference.name, errors[-1])
    for index, spec in enumerate(specs):
        name = str(spec["name"])
        record = read_record(folder / name)
        if record is None:
            chosen, heard = own[index]
            train_member(
                spec, index, ensemble, errors, heard, chosen, run_opts, device, folder / name
            )
            record = read_record(folder / name)
        else:
            wanted = member_settings(spec, index, settings.plain, reference_weights(ensemble))
            refuse_changes(folder / name, record["settings"], wanted)
            logger.info("%s: already trained, not trained again", name)
        errors.append(record["dev_eer"])
        ensemble.add(
            name, rebuild_member(folder / name, spec["encoder"], f"members[{index}].encoder")
        )
    return ensemble


def check_members(
    specs: Sequence[Any],
    reference_specs: Sequence[Any],
    settings: Settings,
    run_opts: RunOptions,
    folder: Path,
) -> list[str]:
    """All that ``train_members`` can refuse before there are data; nothing is written.

    Returns the names of the members that are finished or interrupted. Raises ``UserError`` for
    those of other settings or other reference encoders, and for weights to start from that cannot
    be had. Whether a member can be trained at all is what a rehearsal finds out.
    """
    check_specs(specs, reference_specs)
    begun: list[str] = []
    weights: dict[str, str | None] = dict(reference_weights(load_references(reference_specs)))
    run = provenance.run_settings(run_opts)
    for index, spec in enumerate(specs):
        name, where = str(spec["name"]), f"members[{index}]"
        own_settings(spec, where, settings)
        wanted = member_settings(spec, index, settings.plain, weights)
        record = read_record(folder / name)
        if record is not None:
            refuse_changes(folder / name, record["settings"], wanted)
            encoder = rebuild_member(folder / name, spec["encoder"], f"{where}.encoder")
            weights[name] = provenance.weights_hash(encoder)
        else:
            provenance.refuse_other_start(folder / name, {**wanted, "run": run})
            if spec.get("start") is not None:
                encoder = build_encoder(spec["encoder"], f"{where}.encoder")
                load_weights(encoder.embedding_model, Path(spec["start"]) / WEIGHTS)
            weights[name] = None
        if record is not None or provenance.has_started(folder / name):
            begun.append(name)
    return begun


def load_references(reference_specs: Sequence[Any]) -> FrozenEnsemble:
    """The encoders of the YAML's ``references``, frozen."""
    ensemble = FrozenEnsemble()
    for i, spec in enumerate(reference_specs or []):
        ensemble.add(str(spec["name"]), load_reference(spec, f"references[{i}]"))
    return ensemble


def check_accumulation(settings: Settings, run_opts: RunOptions) -> None:
    """UserError when gradients of an epoch's last batches would never be applied."""
    factor = run_opts.grad_accumulation_factor
    if settings.epoch_steps % factor:
        raise UserError(
            f"--grad_accumulation_factor {factor} must divide the key 'epoch_steps', "
            f"{settings.epoch_steps}: gradients of the rest would be lost"
        )


def own_settings(spec: Any, where: str, settings: Settings) -> Settings:
    """Settings with what the member's key ``training`` changes of them."""
    changes = build(spec.get("training") or {}, f"{where}.training")
    try:
        return replace(settings, **changes)
    except UserError as error:
        raise UserError(f"{where}.training: {error}") from None


def with_own_training(
    spec: Any, where: str, settings: Settings, data: TrainingSet
) -> tuple[Settings, TrainingSet]:
    """Settings and training set with what the member's key ``training`` changes of them."""
    own = own_settings(spec, where, settings)
    return own, data if own.speeds == settings.speeds else replace(data, speeds=own.speeds)


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
    wanted = member_settings(spec, index, settings.plain, reference_weights(ensemble))
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
    copies: OutOfFoldPriors | None = None,
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


def dev_error_function(
    utterances: Sequence[Utterance],
    score: Callable[[np.ndarray], float],
    seconds: float | None,
    device: torch.device | str,
) -> Callable[[SpeakerEncoder], float]:
    """The check that chooses checkpoints: encoder -> EER on the development trials.

    ``score`` takes the embeddings (N, D) of ``utterances`` and gives the EER, a fraction.
    """

    def dev_error(encoder: SpeakerEncoder) -> float:
        z = embed_utterances(encoder, utterances, seconds, device=device, shared=True)
        return score(z.numpy())

    return dev_error
