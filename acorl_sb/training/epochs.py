"""What surrounds the steps of training: seeds, learning rate, log lines, checkpoints."""

from __future__ import annotations

import logging
import random

import numpy as np
import speechbrain as sb
import torch

from acorl_sb.training.batchnorm import share_batch_statistics
from acorl_sb.training.epoch_log import RunningMeans, log_epoch
from acorl_sb.training.left_out import means_where_there
from acorl_sb.utils.distributed import rank_and_world, unwrapped
from acorl_sb.utils.errors import UserError


class EpochBrain(sb.Brain):
    """A ``Brain`` that can be stopped at any moment and goes on as if it had not been.

    ``hparams`` gives ``name``, ``seed``, ``total_steps``, ``lr_schedule`` (optimizer and step ->
    sets the rate), ``augment`` (inputs and relative lengths -> the same, or None), ``dev_error``
    (encoder -> fraction; it chooses the checkpoint), ``dev_figure`` (its name, ``dev_eer`` where it
    lacks), ``sampler`` with ``seek``, and ``log_file``, a path that gets one JSON line per epoch.
    It may give ``augmented``, which says that batches come augmented already, ``teller``, an
    ``EpochTeller``, and ``keep``, SpeechBrain's ``num_to_keep`` and ``min_keys`` of the checkpoints
    that are kept; by default the best one is.

    Random numbers of a step follow from the seed and the step's number. On several ranks they
    follow from the rank too.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.means = RunningMeans()
        self.told: dict[str, torch.Tensor | float] = {}
        self.dev_figure = getattr(self.hparams, "dev_figure", "dev_eer")
        self.checkpoint_intervals = (self.ckpt_interval_minutes, self.ckpt_interval_steps)
        if self.distributed_launch and self.device_type == "cpu":
            # SpeechBrain would convert to SyncBatchNorm, which is for GPUs only.
            for name, module in self.modules.items():
                self.modules[name] = share_batch_statistics(module)
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("means", self.means)

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
        figures = means_where_there({**self.told, "loss": loss}, self.device)
        self.means.add(**figures)
        self.step_ended(figures)
        # Gradients that are still being gathered are not part of a checkpoint: SpeechBrain, which
        # looks at these after every batch, is to save one after an optimizer's step only.
        self.ckpt_interval_minutes, self.ckpt_interval_steps = (
            self.checkpoint_intervals if should_step else (0, 0)
        )

    def step_ended(self, figures: dict[str, float]) -> None:
        """Called after each step with what it told, means over ranks."""

    def check_loss_isfinite(self, loss):
        if not torch.isfinite(loss):
            raise UserError(
                f"member {self.hparams.name!r}: the loss is {loss.item()} at step "
                f"{self.global_step}; the last good checkpoint is kept in "
                f"{self.checkpointer.checkpoints_dir if self.checkpointer else 'memory'}; "
                "lower the learning rate or the weight of the complementarity loss and train in "
                "another output_folder"
            )

    def on_stage_end(self, stage, stage_loss, epoch=None):
        if stage != sb.Stage.TRAIN:
            return
        encoder = unwrapped(self.modules["encoder"])
        encoder.eval()
        error = float(self.hparams.dev_error(encoder))
        self.epoch_ended(error)
        figures = {**self.means.values(), self.dev_figure: error}
        if sb.utils.distributed.if_main_process():
            line = {"epoch": epoch, "step": self.global_step, **figures}
            lines = log_epoch(self.hparams.name, line, self.hparams.log_file)
            if getattr(self.hparams, "teller", None) is not None:
                self.hparams.teller.tell(lines)
        if self.checkpointer is not None:
            self.step = 0  # the checkpoint is of a finished epoch
            self.checkpointer.save_and_keep_only(
                meta={self.dev_figure: error, "epoch": epoch},
                verbosity=logging.DEBUG,
                **getattr(self.hparams, "keep", {"num_to_keep": 1, "min_keys": [self.dev_figure]}),
            )

    def epoch_ended(self, dev_error: float) -> None:
        """Called with the development error after each epoch, before the checkpoint."""


def seed_step(seed: int, step: int, rank: int = 0, stream: int = 0) -> None:
    """Set the random states of Python, numpy and torch from (seed, step, rank, stream).

    Those of a GPU with stream 0 alone: others are of batches, which are made on the CPU.
    """
    streams = (stream,) if stream else ()
    mixed = int(np.random.SeedSequence((seed, step, rank, *streams)).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002 - SpeechBrain's augmentations may draw from it
    if stream:
        torch.default_generator.manual_seed(mixed)
    else:
        torch.manual_seed(mixed)
