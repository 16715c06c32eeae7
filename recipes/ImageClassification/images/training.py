"""Image members trained one after another, with the speech recipe's Brain and objectives."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.distributed import ddp_barrier, if_main_process
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.run_opts import RunOptions
from torch import nn
from torch.utils.data import DataLoader, Dataset

from acorl_sb.complementarity import Independent
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble
from acorl_sb.encoders.member_folder import read_record
from acorl_sb.training.dataset import StepSampler, collate
from acorl_sb.training.heads import SoftmaxHead
from acorl_sb.training.provenance import (
    REFERENCES,
    note_start,
    reference_weights,
    refuse_changes,
    run_settings,
)
from acorl_sb.utils.checkpoint import AtomicCheckpointer
from acorl_sb.utils.distributed import rank_and_world, start
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import Loaded, build, plain
from images.brain import ImageBrain
from images.data import ImageData, Split
from images.members import (
    build_encoder,
    embed,
    load_member,
    member_outputs,
    rebuild_member,
    save_member,
    worker_errors,
)

VIEWS = ("crop", "utterance")

logger = logging.getLogger("acorl_sb.images")


@dataclass
class Settings:
    """How a member is trained; the keys of the YAML under the same names.

    ``batch_size`` images of one rank; ``epochs`` of ``epoch_steps`` steps; ``optimizer`` and
    ``adversary_optimizer`` are callables (parameters) -> optimizer; ``lr_schedule`` is called
    with the optimizer and the step; ``augment`` with images and relative lengths, or it is
    None; ``view`` is ``crop`` (references see the augmented image) or ``utterance`` (they see
    the plain one, computed once per image); ``workers`` are loader processes; ``plain`` is all that
    determines the weights (these keys and the data's) as the YAML says it.
    """

    seed: int
    batch_size: int
    epochs: int
    epoch_steps: int
    optimizer: Callable[..., torch.optim.Optimizer]
    adversary_optimizer: Callable[..., torch.optim.Optimizer]
    lr_schedule: Callable[[torch.optim.Optimizer, int], Any]
    augment: nn.Module | None
    view: str
    workers: int
    plain: dict[str, Any]

    def __post_init__(self):
        if self.view not in VIEWS:
            raise UserError(f"the key 'view' is one of {', '.join(VIEWS)}, not {self.view!r}")
        for key in ("batch_size", "epochs", "epoch_steps"):
            if not getattr(self, key) > 0:
                raise UserError(f"the key {key!r} must be above 0, not {getattr(self, key)}")


SETTINGS = [field.name for field in fields(Settings) if field.name != "plain"]
# What a YAML of one run holds, and what of it is built only when its member is due.
RUN_KEYS = [*SETTINGS, "data", "output_folder", "replicates", "threads"]
RUN_LAZY = ("members", "references")
MEMBER_KEYS = {"name", "encoder", "objective", "seed"}


@dataclass
class Task:
    """What all trainings of a run share."""

    data: ImageData
    settings: Settings
    run_opts: RunOptions
    device: torch.device

    @classmethod
    def from_hparams(cls, loaded: Loaded, **changes: Any) -> Task:
        """The task of a YAML that has ``SETTINGS`` and ``data``, with other ``changes``."""
        given = {key: loaded.hparams[key] for key in SETTINGS}
        # Loader processes make no difference to the weights.
        record = {**loaded.plain([*SETTINGS, "data"]), **changes}
        del record["workers"]
        run_opts, device = start(loaded.run_opts)
        return cls(
            loaded.hparams["data"](),
            Settings(**{**given, **changes}, plain=record),
            run_opts,
            device,
        )


def set_threads(threads: int | None) -> None:
    """Let torch use this many threads on the CPU; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)


class Drawn(Dataset):
    """A split indexed as ``StepSampler`` asks: (draw, item) -> (image, label, item)."""

    def __init__(self, split: Split):
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: tuple[int, int]) -> tuple[torch.Tensor, int, int]:
        _, item = index
        return self.split[item], int(self.split.labels[item]), item


class Chain:
    """An ensemble that grows by one trained, or loaded, member at a time.

    ``errors`` are the members' development errors, fractions; ``folders`` where they lie.
    """

    def __init__(self, task: Task):
        self.task = task
        self.ensemble = FrozenEnsemble()
        self.errors: list[float] = []
        self.folders: list[Path] = []

    def copy(self) -> Chain:
        """A chain with the same members, to be continued in another way."""
        other = Chain(self.task)
        other.ensemble = FrozenEnsemble(self.ensemble.members)
        other.errors, other.folders = list(self.errors), list(self.folders)
        return other

    def add_reference(self, name: str, folder: str | Path, trust: bool = False) -> None:
        """A frozen encoder that a user owns; its error is unknown, so no schedule is held to it."""
        self.ensemble.add(name, load_member(folder, trust).to(self.task.device))

    def add_member(self, spec: Any, index: int, folder: Path, seed: int | None = None) -> None:
        """Train the member that ``spec`` (name, encoder, objective) says, unless it is there."""
        seed = 1000 * self.task.settings.seed + index if seed is None else seed
        complements = spec.get("objective") is not None
        wanted = {
            "member": plain(spec),
            "seed": seed,
            "training": self.task.settings.plain,
            "references": self.ensemble.names if complements else [],
            REFERENCES: reference_weights(self.ensemble) if complements else {},
        }
        record = read_record(folder, ["dev_error"])
        if record is None:
            train_member(spec, index, seed, self, folder, wanted)
            record = read_record(folder, ["dev_error"])
        else:
            refuse_changes(folder, record["settings"], wanted)
        self.errors.append(record["dev_error"])
        self.folders.append(folder)
        encoder = rebuild_member(folder, spec["encoder"], f"members[{index}].encoder")
        self.ensemble.add(str(spec["name"]), encoder.to(self.task.device))


def train_member(
    spec: Any, index: int, seed: int, chain: Chain, folder: Path, wanted: dict[str, Any]
) -> None:
    """Train one member to its last epoch, resuming where interrupted; write its folder."""
    started = time.time()
    data, settings, device = chain.task.data, chain.task.settings, chain.task.device
    torch.manual_seed(seed)
    encoder = build_encoder(spec["encoder"], f"members[{index}].encoder")
    check_encoder(encoder, data.train, f"members[{index}].encoder")
    head = SoftmaxHead(encoder.embedding_dim, len(data.classes))
    objective, references = make_objective(spec, index, encoder, chain)
    rank, world = rank_and_world()
    sampler = StepSampler(
        len(data.train), settings.batch_size, settings.epoch_steps, seed, rank, world
    )
    loader = DataLoader(
        Drawn(data.train),
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=settings.workers,
        pin_memory=torch.cuda.is_available(),
    )
    counter = EpochCounter(settings.epochs)
    checkpointer = AtomicCheckpointer(folder / "save", {"counter": counter})
    modules = {"encoder": encoder, "head": head, "objective": objective}
    checkpointer.add_recoverables(modules)

    def dev_error(trained: nn.Module) -> float:
        z = embed(trained, data.dev, device, workers=settings.workers).to(device)
        with torch.no_grad():
            guess = head.logits(z).argmax(-1).cpu().numpy()
        return float((guess != data.dev.labels).mean())

    brain = ImageBrain(
        modules,
        settings.optimizer,
        {
            "name": str(spec["name"]),
            "seed": seed,
            "total_steps": settings.epochs * settings.epoch_steps,
            "lr_schedule": settings.lr_schedule,
            "augment": settings.augment,
            "dev_error": dev_error,
            "dev_figure": "dev_error",
            "sampler": sampler,
            "log_file": folder / "train_log.jsonl",
        },
        chain.task.run_opts,
        checkpointer,
        references=references,
        adversary_opt_class=settings.adversary_optimizer,
    )
    if if_main_process():
        note_start(folder, {**wanted, "run": run_settings(chain.task.run_opts)})
    ddp_barrier()
    with worker_errors():
        brain.fit(counter, loader, progressbar=None if sys.stderr.isatty() else False)
    encoder.eval()
    record = {
        "name": str(spec["name"]),
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "embedding_dim": encoder.embedding_dim,
        "dev_error": dev_error(encoder),
        "seconds": round(time.time() - started, 1),
        "settings": wanted,
    }
    outputs = member_outputs(encoder, head, data, device, settings.workers)
    outputs = member_outputs(encoder, head, data, device, settings.workers)
    if if_main_process():
        logger.info(
            "%s: trained in %.1f s, accuracy %.1f %% on development images",
            folder,
            record["seconds"],
            100 * (1 - record["dev_error"]),
        )
        save_member(folder, encoder, spec["encoder"], head, data.classes, outputs, record)
        shutil.rmtree(folder / "save", ignore_errors=True)  # the member's folder is complete
    ddp_barrier()


def make_objective(spec: Any, index: int, encoder: nn.Module, chain: Chain):
    """The member's objective and what gives it the references' embeddings.

    Plain training gets ``Independent`` and nobody to embed.
    """
    sizes = {"dim": encoder.embedding_dim, "n_classes": len(chain.task.data.classes)}
    if spec.get("objective") is None:
        return Independent(reference_dims=[], **sizes), FrozenEnsemble()
    where = f"members[{index}].objective"
    factory = build({"objective": spec["objective"]}, where)["objective"]
    try:
        objective = factory(reference_dims=chain.ensemble.dims, **sizes)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from None
    if not objective.uses_references:
        return objective, FrozenEnsemble()
    if chain.errors:
        objective.set_baseline(min(chain.errors))
    if chain.task.settings.view == "crop":
        return objective, chain.ensemble
    tables = [
        embed(member.encoder, chain.task.data.train, chain.task.device)
        for member in chain.ensemble.members
    ]
    return objective, EmbeddingTable(tables)


@torch.no_grad()
def check_encoder(encoder: nn.Module, split: Split, where: str) -> None:
    """UserError when the encoder cannot take the data's images or says a wrong D."""
    images = split[0].unsqueeze(0)
    encoder.eval()
    try:
        found = tuple(encoder(images).shape)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{where}: fails on an image of shape {tuple(images.shape[1:])}; do its in_channels "
            f"fit? ({reason})"
        ) from None
    if found != (1, encoder.embedding_dim):
        raise UserError(
            f"{where}: gives {found} for one image, not (1, {encoder.embedding_dim}) as its "
            "embedding_dim says"
        )


def train_ensemble(
    specs: Sequence[Any], reference_specs: Sequence[Any], task: Task, folder: Path
) -> Chain:
    """Train, or load where finished, the ``members`` of a YAML in order; return their chain."""
    chain = Chain(task)
    for spec in reference_specs or []:
        chain.add_reference(str(spec["name"]), spec["folder"], spec.get("trust") is True)
    for index, spec in enumerate(specs):
        seed = int(spec["seed"]) if "seed" in spec else None
        chain.add_member(spec, index, folder / str(spec["name"]), seed)
    return chain
