"""SpeechBrain's checkpointer, made safe against being killed while it writes."""

from __future__ import annotations

import os
import shutil

from speechbrain.utils.checkpoints import CKPT_PREFIX, Checkpoint, Checkpointer
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from acorl_sb.utils.errors import UserError, cannot_write

PARTIAL_PREFIX = "PARTIAL"


class AtomicCheckpointer(Checkpointer):
    """A checkpoint folder appears whole, under its final name, or not at all.

    SpeechBrain's own writes into the folder that a later run recovers from, so a process killed
    in the middle leaves a checkpoint that is found and cannot be loaded. Here the folder has a
    name that nothing looks for until all files are in it.
    """

    def _new_checkpoint_dirpath(self):
        final = super()._new_checkpoint_dirpath()
        return final.with_name(final.name.replace(CKPT_PREFIX, PARTIAL_PREFIX, 1))

    def save_checkpoint(self, *args, **kwargs):
        """As SpeechBrain's; ``UserError`` where the disk is full or cannot be written."""
        self._remove_partial()
        ddp_barrier()
        saved = self._save(*args, **kwargs)
        ddp_barrier()  # every rank has written its part
        if saved is None:
            ddp_barrier()
            return None
        final = saved.path.with_name(saved.path.name.replace(PARTIAL_PREFIX, CKPT_PREFIX, 1))
        while final.exists():
            final = final.with_name(f"{final.name}x")
        os.replace(saved.path, final)
        ddp_barrier()
        files = {name: final / path.name for name, path in saved.paramfiles.items()}
        return Checkpoint(final, saved.meta, files)

    def _save(self, *args, **kwargs):
        try:
            with cannot_write(self.checkpoints_dir):
                return super().save_checkpoint(*args, **kwargs)
        except UserError:
            self._remove_partial()  # a full disk needs the room
            raise

    def _remove_partial(self) -> None:
        if if_main_process():
            for left in self.checkpoints_dir.glob(f"{PARTIAL_PREFIX}+*"):
                shutil.rmtree(left, ignore_errors=True)
