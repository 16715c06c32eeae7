"""The training loop of every member: steps, random numbers, epochs, checkpoints, the log.

What is computed in a step is in ``acorl_sb.training.brain``.
"""

from __future__ import annotations

import logging

import speechbrain as sb
import torch

from acorl_sb.training.batchnorm import share_batch_statistics
from acorl_sb.training.bookkeeping import RunningMeans, append_line, seed_step, unwrapped
from acorl_sb.utils.distributed import mean_over_ranks, rank_and_world
from acorl_sb.utils.errors import UserError

logger = logging.getLogger(__name__)


class MemberBrain(sb.Brain):
    """A Brain whose steps can be counted, repeated and resumed.

    ``hparams`` gives ``name``, ``seed``, ``total_steps``, ``lr_schedule`` (optimizer and step ->
    sets the rate), ``dev_error`` (encoder -> fraction; it chooses the checkpoint), ``sampler`` with
    ``seek``, and ``log_file``, a path that gets one JSON line per epoch.

    Random numbers of a step follow from the seed and the step's number, so an interrupted
    training goes on as if it had never stopped. On several ranks they follow from the rank too.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.means = RunningMeans()
        self.told: dict[str, torch.Tensor | float] = {}
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

    def on_fit_start(self):
        if self.distributed_launch and self.device_type == "cpu":
            # SpeechBrain's own wrapping converts to SyncBatchNorm, which is for GPUs only.
            for name, module in self.modules.items():
                self.modules[name] = share_batch_statistics(module)
        super().on_fit_start()

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

    def epoch_ended(self, dev_error: float) -> None:
        """Called with the development error after each epoch, before the checkpoint."""

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        # SpeechBrain 1.1 has no public hook for when it saves within an epoch, and would save while
        # gradients are still being gathered, which are not part of a checkpoint.
        if self.step % self.grad_accumulation_factor:
            return False
        return super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)

    def check_loss_isfinite(self, loss):
        if not torch.isfinite(loss):
            raise UserError(
                f"member {self.hparams.name!r}: the loss is {loss.item()} at step "
                f"{self.global_step}; the last good checkpoint is kept in "
                f"{self.checkpointer.checkpoints_dir if self.checkpointer else 'memory'}; lower "
                "the learning rate or the weight of the complementarity loss and train in another "
                "output_folder"
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

    def log_line(self, line: dict[str, float]) -> None:
        """Show an epoch's figures and keep them in the log file."""
        shown = " ".join(
            f"{key} {value}" if isinstance(value, int) else f"{key} {value:.4g}"
            for key, value in line.items()
        )
        logger.info("%s: %s", self.hparams.name, shown)
        append_line(self.hparams.log_file, line)
