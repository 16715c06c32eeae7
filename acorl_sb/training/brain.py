"""The Brains: one member's training, plain and with a complementarity term."""

from __future__ import annotations

import functools
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch import nn

from acorl_sb.complementarity import bounded_loss
from acorl_sb.encoders.encoder import same_features
from acorl_sb.encoders.ensemble import EmbeddingTable, FrozenEnsemble, OutOfFoldPriors
from acorl_sb.training.batchnorm import fixed_batch_statistics, share_batch_statistics
from acorl_sb.training.dataset import Batch
from acorl_sb.utils.distributed import mean_over_ranks, rank_and_world, sum_over_ranks
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_text

logger = logging.getLogger(__name__)


class SpeakerBrain(sb.Brain):
    """Trains one encoder with its task head.

    ``modules`` holds ``encoder`` (inputs -> (B, D)) and ``head`` (embeddings, labels -> scalar
    loss). ``hparams`` gives ``name``, ``seed``, ``total_steps``, ``lr_schedule`` (optimizer and
    step -> sets the rate), ``augment`` (inputs and relative lengths -> the same, or None),
    ``dev_error`` (encoder -> fraction; it chooses the checkpoint), ``sampler`` with ``seek``, and
    ``log_file``, a path that gets one JSON line per epoch.

    Random numbers of a step follow from the seed and the step's number, so an interrupted
    training goes on as if it had never stopped. On several ranks they follow from the rank too.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.means = RunningMeans()
        self.told: dict[str, torch.Tensor | float] = {}
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("means", self.means)

    def compute_forward(self, batch, stage):
        inputs = batch.inputs
        if stage == sb.Stage.TRAIN and self.hparams.augment is not None:
            ones = torch.ones(len(inputs), device=inputs.device)
            inputs, _ = self.hparams.augment(inputs, ones)
        encoder = unwrapped(self.modules["encoder"])
        # Features are computed apart so that a reference with the same ones can be lent them.
        seen = encoder.features(inputs) if hasattr(encoder, "features") else inputs
        # Losses on embeddings are computed in full precision, whatever the encoder's.
        return self.modules.encoder(seen).float(), inputs, seen

    def compute_objectives(self, predictions, batch, stage):
        z, *_ = predictions
        loss = self.modules.head(z, batch.labels)
        self.told = {"task_loss": loss}
        return loss

    @property
    def global_step(self) -> int:
        """Batches seen since the start of training; the one being worked on counts."""
        return (self.epoch - 1) * self.hparams.sampler.steps_per_epoch + self.step

    @property
    def progress(self) -> float:
        """p of docs/method.md (5), the fraction of training done, in [0, 1]."""
        return min(1.0, (self.global_step - 1) / max(1, self.hparams.total_steps - 1))

    def on_stage_start(self, stage, epoch=None):
        if stage == sb.Stage.TRAIN:
            self.epoch = epoch
            self.hparams.sampler.seek(epoch, self.step)
            if self.step == 0:
                self.means.clear()

    def fit_batch(self, batch):
        seed_step(self.hparams.seed, self.global_step, rank_and_world()[0])
        self.hparams.lr_schedule(self.optimizer, self.global_step)
        return super().fit_batch(batch.to(self.device))

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        figures = mean_over_ranks({**self.told, "loss": loss}, self.device)
        self.means.add(**figures)
        self.step_ended(figures)

    def step_ended(self, figures: dict[str, float]) -> None:
        """Called after each step with what it told, means over ranks."""

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        # Gradients that are still being gathered are not part of a checkpoint.
        if self.step % self.grad_accumulation_factor:
            return False
        return super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)

    def _wrap_distributed(self):
        if self.distributed_launch and self.device_type == "cpu":
            # SpeechBrain's own wrapping converts to SyncBatchNorm, which is for GPUs only.
            for name, module in self.modules.items():
                self.modules[name] = share_batch_statistics(module)
        super()._wrap_distributed()

    def check_loss_isfinite(self, loss):
        if not torch.isfinite(loss):
            raise UserError(
                f"member {self.hparams.name!r}: the loss is {loss.item()} at step "
                f"{self.global_step}; the last good checkpoint is kept in "
                f"{self.checkpointer.checkpoints_dir if self.checkpointer else 'memory'}; "
                "lower the learning rate or the schedule and train in another output_folder"
            )

    def on_stage_end(self, stage, stage_loss, epoch=None):
        if stage != sb.Stage.TRAIN:
            return
        encoder = unwrapped(self.modules["encoder"])
        encoder.eval()
        error = float(self.hparams.dev_error(encoder))
        self.epoch_ended(error)
        line = {"epoch": epoch, "step": self.global_step, **self.means.values(), "dev_eer": error}
        if sb.utils.distributed.if_main_process():
            self.log_line(line)
        if self.checkpointer is not None:
            self.step = 0  # the checkpoint is of a finished epoch
            self.checkpointer.save_and_keep_only(
                meta={"dev_eer": error, "epoch": epoch},
                min_keys=["dev_eer"],
                num_to_keep=1,
                verbosity=logging.DEBUG,
            )

    def epoch_ended(self, dev_error: float) -> None:
        """Called with the development error after each epoch, before the checkpoint."""

    def log_line(self, line: dict[str, float]) -> None:
        shown = " ".join(
            f"{key} {value}" if isinstance(value, int) else f"{key} {value:.4g}"
            for key, value in line.items()
        )
        logger.info("%s: %s", self.hparams.name, shown)
        path = Path(self.hparams.log_file)
        earlier = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        # A resumed run repeats the epoch that it was stopped in.
        kept = [old for old in earlier if json.loads(old)["epoch"] < line["epoch"]]
        write_text(path, "\n".join([*kept, json.dumps(line)]) + "\n")


@register_checkpoint_hooks
class RunningMeans:
    """Means over an epoch of whatever a step tells, kept over an interruption."""

    def __init__(self):
        self.sums: dict[str, list[float]] = {}

    def clear(self) -> None:
        self.sums = {}

    def add(self, **values: float) -> None:
        for key, value in values.items():
            total, count = self.sums.get(key, (0.0, 0))
            self.sums[key] = [total + value, count + 1]

    def values(self) -> dict[str, float]:
        return {key: total / count for key, (total, count) in self.sums.items()}

    @mark_as_saver
    def save(self, path):
        Path(path).write_text(json.dumps(self.sums), encoding="utf-8")

    @mark_as_loader
    def load(self, path, end_of_epoch):
        self.sums = json.loads(Path(path).read_text(encoding="utf-8"))


class ComplementaryBrain(SpeakerBrain):
    """Trains one encoder to complement the frozen members of an ensemble, docs/method.md (4).

    ``modules`` holds ``objective`` (see ``acorl_sb.complementarity.Objective``) beside the
    encoder and the head; the adversary's parameters get their own optimizer. The references are
    given apart, so that they enter neither ``modules`` nor any optimizer or checkpoint.

    Arguments
    ---------
    references : FrozenEnsemble or EmbeddingTable
        View ``crop``: the ensemble embeds the batch that the new member sees. View
        ``utterance``: a table holds an embedding for every training item.
    adversary_opt_class : callable(parameters) -> optimizer
    term_batches : callable(step) -> Batch, or None
        Batches of their own for the term, such as utterances that the references were not trained on;
        the encoder's batch-norm statistics stay as they are while it embeds them. None: the term
        looks at the task's batch.
    """

    def __init__(
        self,
        *args,
        references: FrozenEnsemble | OutOfFoldPriors | EmbeddingTable,
        adversary_opt_class: Callable[..., torch.optim.Optimizer],
        term_batches: Callable[[int], Batch] | None = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.references = references.to(self.device)
        self.term_batches = term_batches
        self.adversary_opt_class = adversary_opt_class

    @property
    def objective(self) -> nn.Module:
        return unwrapped(self.modules["objective"])

    def embed_references(self, inputs, seen, batch) -> list[torch.Tensor]:
        if isinstance(self.references, EmbeddingTable):
            return self.references.embed(batch.items)
        if isinstance(self.references, OutOfFoldPriors):
            return self.references.embed(inputs, batch.labels)
        return [
            member(seen if lent else inputs)
            for member, lent in zip(self.references.members, self.lends_features, strict=True)
        ]

    @functools.cached_property
    def lends_features(self) -> list[bool]:
        """For each reference, whether it sees inputs through the new member's very features."""
        encoder = unwrapped(self.modules["encoder"])
        return [same_features(encoder, member.encoder) for member in self.references.members]

    def compute_objectives(self, predictions, batch, stage):
        task_loss = super().compute_objectives(predictions, batch, stage)
        if self.term_batches is not None:
            batch = self.term_batches(self.global_step).to(self.device)
            with fixed_batch_statistics(self.modules["encoder"]):
                predictions = self.compute_forward(batch, stage)
        z, inputs, seen = predictions
        references = [v.float() for v in self.embed_references(inputs, seen, batch)]
        term = self.modules.objective(z, references, batch.labels, self.progress)
        self.told |= term.logs
        self.last_batch = (z.detach(), references, batch.labels)
        if term.limit is None or not term.loss.requires_grad:
            return term.total(task_loss)
        encoder = [*self.modules["encoder"].parameters()]
        others = [*self.modules["head"].parameters(), *self.objective.parameters()]
        return bounded_loss(task_loss * term.task_weight, term.loss, encoder, others, term.limit)

    def init_optimizers(self):
        own = [*self.modules["encoder"].parameters(), *self.modules["head"].parameters()]
        self.optimizer = self.opt_class([*own, *self.objective.member_parameters()])
        self.optimizers_dict = {"opt_class": self.optimizer}
        adversary = list(self.objective.adversary_parameters())
        if adversary:
            self.adversary_optimizer = self.adversary_opt_class(adversary)
            self.optimizers_dict["adversary"] = self.adversary_optimizer
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("optimizer", self.optimizer)
            if adversary:
                self.checkpointer.add_recoverable("adversary_optimizer", self.adversary_optimizer)

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        super().on_fit_batch_end(batch, outputs, loss, should_step)
        if not should_step:
            return  # gradients of several batches are being gathered
        for _ in range(self.objective.adversary_steps - 1):
            self.objective.adversary_loss(*self.last_batch).backward()
            average_gradients(self.objective.adversary_parameters())
            self.adversary_optimizer.step()
            self.adversary_optimizer.zero_grad()  # nothing may leak into the next batch

    def step_ended(self, figures):
        self.objective.observe(task_loss=figures["task_loss"])

    def epoch_ended(self, dev_error):
        self.objective.observe(dev_error=dev_error)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel's and torch.compile's wrappers, if any."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        module = module.module
    return getattr(module, "_orig_mod", module)


def average_gradients(parameters) -> None:
    """Mean of the gradients over ranks, for steps that bypass DistributedDataParallel."""
    for parameter in parameters:
        if parameter.grad is None:  # had no part in this rank's batch
            parameter.grad = torch.zeros_like(parameter)
        sum_over_ranks(parameter.grad).div_(rank_and_world()[1])


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Set the random states of Python, numpy and torch from (seed, step, rank)."""
    mixed = int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002 - SpeechBrain's augmentations may draw from it
    torch.manual_seed(mixed)
