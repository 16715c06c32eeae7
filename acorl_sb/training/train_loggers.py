"""Epochs told to SpeechBrain's loggers of training: TensorBoard, Weights & Biases."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acorl_sb.utils.errors import UserError

LOGS = "train_logs"
# By name: the import of its module warns of a missing torchvision, also where no logger is wanted.
TENSORBOARD = ("speechbrain.utils.train_logger", "TensorboardLogger")


def check_train_logger(factory: Callable[..., Any] | None) -> None:
    """``UserError`` for TensorBoard's logger where the package is missing, before any work."""
    made = factory.func if isinstance(factory, functools.partial) else factory
    name = (getattr(made, "__module__", None), getattr(made, "__qualname__", None))
    if name == TENSORBOARD and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "the key 'train_logger' needs the package tensorboard: "
            "pip install 'acorl_sb[tensorboard]'"
        )


class EpochTeller:
    """Tells a logger of SpeechBrain's interface of each epoch of one member.

    The logger is made with the first epoch that ends. It is then told of all epochs before as
    well, since an interrupted training goes on with a logger that knows nothing of them.

    Arguments
    ---------
    factory : callable -> logger
        Called with ``save_dir``, a folder that is made anew, if it takes that and has not got it.
    save_dir : path
    dev_figure : str
        Name of the development figure, which is told as ``valid``; all others are ``train``.

    Example
    -------
    >>> class Printed:
    ...     def log_stats(self, stats_meta, train_stats=None, valid_stats=None):
    ...         print(stats_meta, train_stats, valid_stats)
    >>> teller = EpochTeller(Printed, "unused", "dev_eer")
    >>> teller.tell([{"epoch": 1, "step": 9, "loss": 2.0, "dev_eer": 0.1}])
    {'epoch': 1, 'step': 9} {'loss': 2.0} {'dev_eer': 0.1}
    """

    def __init__(self, factory: Callable[..., Any], save_dir: str | Path, dev_figure: str):
        self.factory, self.save_dir, self.dev_figure = factory, Path(save_dir), dev_figure
        self.logger: Any = None

    def tell(self, lines: Sequence[Mapping[str, float]]) -> None:
        """Tell of the last of ``lines``, a dict for each epoch so far; at first, of all."""
        new = lines[-1:]
        if self.logger is None:
            self.logger, new = self._make(), lines
        for line in new:
            meta = {key: line[key] for key in ("epoch", "step") if key in line}
            valid = {key: line[key] for key in (self.dev_figure,) if key in line}
            train = {key: line[key] for key in line if key not in {*meta, *valid}}
            self.logger.log_stats(meta, train_stats=train, valid_stats=valid)

    def close(self) -> None:
        """Let the logger write what it still holds: TensorBoard's writer, W&B's run."""
        for part, ends in (("writer", "close"), ("run", "finish")):
            end = getattr(getattr(self.logger, part, None), ends, None)
            if end is not None:
                end()

    def _make(self) -> Any:
        if "save_dir" not in inspect.signature(self.factory).parameters:
            return self.factory()
        if "save_dir" in getattr(self.factory, "keywords", {}):
            return self.factory()
        shutil.rmtree(self.save_dir, ignore_errors=True)
        return self.factory(save_dir=str(self.save_dir))
