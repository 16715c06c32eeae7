"""One run at a time in an output folder; reading one needs no lock.

The lock is that of the package filelock, which does not say who holds it.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import output_path, write_text

LOCK, HOLDER = ".lock", ".lock_holder.txt"


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[Path]:
    """Hold an output folder, made if need be, for as long as the block runs; yields its path.

    The lock is the operating system's, so it ends with the process however that ends. A text file
    beside it says who holds it.

    Raises ``UserError`` for a blank name, a file in the folder's place, and a folder that another
    process holds: at once, and with that process's name.
    """
    folder = output_path(folder)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK), folder / HOLDER
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: {_said(holder)} is writing into this output folder; wait for it, or name "
            "another output_folder"
        ) from None
    try:
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        write_text(holder, f"process {os.getpid()} on {socket.gethostname()} since {now}\n")
        yield folder
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
        if made and os.listdir(folder) == [LOCK]:  # nothing came of it
            shutil.rmtree(folder, ignore_errors=True)


def _said(holder: Path) -> str:
    """Who holds the lock; the first moment of a run has not written it yet."""
    try:
        return holder.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"
