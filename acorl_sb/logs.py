"""The plain text log of a run: the same lines on the screen and in a file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from speechbrain.utils.distributed import if_main_process


def log_to(path: str | Path) -> None:
    """Send this package's log to standard error and append it to ``path``."""
    logger = logging.getLogger("acorl_sb")
    logger.setLevel(logging.INFO if if_main_process() else logging.WARNING)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.addHandler(_handler(logging.StreamHandler(sys.stderr), "%(message)s"))
    if if_main_process():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
        logger.addHandler(_handler(handler, "%(asctime)s %(message)s"))


def _handler(handler: logging.Handler, form: str) -> logging.Handler:
    handler.setFormatter(logging.Formatter(form))
    return handler
