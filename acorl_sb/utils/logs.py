"""The plain text log of a run: the same lines on the screen and in a file."""

from __future__ import annotations

import logging
import sys
from logging.handlers import MemoryHandler
from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from acorl_sb.utils.errors import cannot_write


class _Lines(logging.Formatter):
    """What is a warning says so, as those of the commands do."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.WARNING:
            record.message = f"warning: {record.message}"
        return super().formatMessage(record)


_FILE_FORM = _Lines("%(asctime)s %(message)s")


class _LogFile(logging.FileHandler):
    """A log file that cannot be written ends the run, rather than fill the screen."""

    def handleError(self, record: logging.LogRecord) -> None:
        with cannot_write(self.baseFilename):  # a write knows no name, unlike an open
            raise


def log_to_screen() -> None:
    """Send this package's log to standard error, and keep it for the file of a later ``log_to``.

    So a run that is refused by its checks writes nothing into a finished one's log.
    """
    logger = _logger()
    if not any(isinstance(handler, MemoryHandler) for handler in logger.handlers):
        _set(logger, MemoryHandler(sys.maxsize, flushLevel=sys.maxsize, flushOnClose=False))


def log_to(path: str | Path) -> None:
    """Send this package's log to standard error and append it to ``path``.

    What ``log_to_screen`` has kept goes into the file first.
    """
    logger = _logger()
    kept = [handler for handler in logger.handlers if isinstance(handler, MemoryHandler)]
    if not if_main_process():
        _set(logger)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file = _LogFile(path, encoding="utf-8")
    file.setFormatter(_FILE_FORM)
    for memory in kept:
        memory.setTarget(file)
        memory.flush()
    _set(logger, file)


def _logger() -> logging.Logger:
    logger = logging.getLogger("acorl_sb")
    logger.setLevel(logging.INFO if if_main_process() else logging.WARNING)
    logger.propagate = False
    return logger


def _set(logger: logging.Logger, *more: logging.Handler) -> None:
    """Standard error and ``more`` in place of the handlers so far."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(_Lines("%(message)s"))
    for handler in (screen, *more):
        logger.addHandler(handler)
