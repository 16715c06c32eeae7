"""One way for bad input to end: a clear sentence, exit code 2, no traceback."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

# What the place where something lies is to blame for, and no bug.
_OF_THE_PLACE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
    *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP),
}


# torch.save says it in words of its own, and only its C++ code knows the reason.
_OF_TORCH_SAVE = ("PytorchStreamWriter", "inline_container", "iostream error")


class UserError(Exception):
    """Something a user brought is wrong.

    The message is one sentence that says what is wrong, where (file, line or key), and what to do.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


@contextlib.contextmanager
def cannot_write(path: str | os.PathLike) -> Iterator[None]:
    """Turn what a full disk or a forbidden folder raises in the block into a ``UserError``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
    except RuntimeError as error:
        if not any(words in str(error) for words in _OF_TORCH_SAVE):
            raise
        reason = "the disk may be full"
    else:
        return
    raise UserError(
        f"{path}: cannot be written ({reason}); finished work is kept, make room or name another "
        "folder and run the command again"
    )


def run_cli(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's ``main`` and leave the process with its exit code.

    A ``UserError`` is printed to standard error as ``error: <sentence>`` and exits with 2, and so
    do a full disk and a path that cannot be read or written. An interrupt (Ctrl-C) exits with 130,
    SIGTERM with 143, and a reader that has gone (``| head``) with 141, silently. Any other
    exception is a bug and keeps its traceback.
    """
    first_rank = os.environ.get("RANK", "0") == "0"  # torchrun ends the others; one speaks for all
    if first_rank:
        signal.signal(signal.SIGTERM, _terminate(os.getpid()))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: never end by a name shown
    try:
        code = main()
        sys.stdout.flush()
    except UserError as error:
        _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is buffered
        sys.exit(141)
    except OSError as error:
        if error.errno not in _OF_THE_PLACE:
            raise
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        _fail(f"{where}cannot be read or written ({error.strerror})")
    except KeyboardInterrupt as stopped:
        if first_rank:
            print(
                "interrupted; finished work is kept, run the same command to resume",
                file=sys.stderr,
            )
        sys.exit(143 if isinstance(stopped, Terminated) else 130)
    sys.exit(code or 0)


def _fail(sentence: str) -> NoReturn:
    sys.stdout.flush()
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def _terminate(command: int) -> Callable[..., None]:
    """A handler of SIGTERM for the process ``command``; what it has forked just ends."""

    def handle(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        if os.getpid() != command:
            os.kill(os.getpid(), number)
        # Loader processes that were told to end as well are no error of their own now.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise Terminated

    return handle
