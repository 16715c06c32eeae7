"""SpeechBrain's checkpointer, made safe against being killed while it writes."""

from __future__ import annotations

import os
import shutil

import torch
from speechbrain.utils.checkpoints import Checkpoint, Checkpointer
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from acorl_sb.utils.errors import UserError, cannot_write
from acorl_sb.utils.hparams import one_line

PARTIAL = "partial"


class AtomicCheckpointer(Checkpointer):
    """A checkpoint folder appears whole, or not at all.

    SpeechBrain's own writes into the folder that a later run recovers from, so a process killed
    in the middle leaves a checkpoint that is found and cannot be loaded. Here it is written below
    the folder ``partial``, where nothing looks for checkpoints, and moved when all files are in it.
    """

    def save_checkpoint(self, *args, **kwargs):
        """As SpeechBrain's; ``UserError`` where the disk is full or cannot be written."""
        self._remove_partial()
        ddp_barrier()
        saved = self._save_aside(*args, **kwargs)
        ddp_barrier()  # every rank has written its part
        if saved is None:
            ddp_barrier()
            return None
        final = self.checkpoints_dir / saved.path.name
        while final.exists():  # of the same second
            final = final.with_name(f"{final.name}x")
        os.replace(saved.path, final)
        ddp_barrier()
        files = {name: final / path.name for name, path in saved.paramfiles.items()}
        return Checkpoint(final, saved.meta, files)

    def recover_if_possible(self, *args, **kwargs):
        """As SpeechBrain's; ``UserError`` for a checkpoint with damaged or missing files."""
        try:
            return super().recover_if_possible(*args, **kwargs)
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the loaders of its parts stumble over
            where = self.checkpoints_dir
            raise UserError(
                f"{where}: the checkpoint in it cannot be loaded ({type(error).__name__}: "
                f"{one_line(error)}); delete {where.parent} to train this member again"
            ) from error

    def _save_aside(self, *args, **kwargs):
        whole = self.checkpoints_dir
        self.checkpoints_dir = whole / PARTIAL
        try:
            with cannot_write(whole):
                return super().save_checkpoint(*args, **kwargs)
        except UserError:
            shutil.rmtree(whole / PARTIAL, ignore_errors=True)  # a full disk needs the room
            raise
        finally:
            self.checkpoints_dir = whole

    def _remove_partial(self) -> None:
        if if_main_process():
            shutil.rmtree(self.checkpoints_dir / PARTIAL, ignore_errors=True)
