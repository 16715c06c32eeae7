"""How a member is trained: settings of a run and of one member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from speechbrain.utils.run_opts import RunOptions
from torch import nn

from acorl_sb.training.pair_loss import DLoss
from acorl_sb.training.train_options import LearningKeys
from acorl_sb.utils.distributed import rank_and_world
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build
from acorl_sb.utils.options import Options, validate


@dataclass(kw_only=True)
class Settings:
    """How a member is trained, whatever the data; the YAML's keys under the same names.

    A subclass adds what its data need, and names the declaration of its keys as ``keys``. Values
    are checked when an object is made: ``UserError`` names the key.

    Arguments
    ---------
    seed : int
    batch_size : int
        Training items of a step, on each rank.
    per_class : int
        Items of every class in a batch, for objectives that look at pairs of a class.
    objective_per_class : int or None
        The objective gets batches of its own, ``batch_size`` items, with so many of every class;
        None: it sees the task's batches.
    pair_loss : DLoss or None
        A task loss on pairs, in batches of its own, beside that of ``head``.
    epochs, epoch_steps : int
        ``epochs`` times ``epoch_steps`` steps, with a development check after each epoch.
    optimizer, adversary_optimizer : callable(parameters) -> optimizer
    lr_schedule : callable(optimizer, step)
        Sets the learning rate before each step.
    head : callable(dim, n_classes) -> module
        See ``acorl_sb.training.heads``.
    augment : callable(inputs, relative lengths) -> the same, or None
        On a GPU it runs in the loader, unless it has an attribute ``on_device`` that is true.
    view : str
        ``crop``: references see the training inputs; ``clean``: these before augmentation;
        ``unaugmented``: the objective is applied to the batches alone that augmentation leaves as
        they are; ``utterance``: each training item is embedded once by each reference.
    workers : int
        Loader processes.
    average_checkpoints : int or None
        So many of the best epochs' weights are averaged at the end.
    train_logger : callable -> logger, or None
        See ``acorl_sb.training.train_loggers.EpochTeller``.
    plain : dict
        What decides the weights as the YAML says it, for the member's record.
    """

    keys: ClassVar[type[Options]] = LearningKeys

    seed: int
    batch_size: int
    epochs: int
    epoch_steps: int
    optimizer: Callable[..., torch.optim.Optimizer]
    adversary_optimizer: Callable[..., torch.optim.Optimizer]
    lr_schedule: Callable[[torch.optim.Optimizer, int], Any]
    head: Callable[..., nn.Module]
    augment: nn.Module | None
    view: str
    workers: int
    plain: dict[str, Any]
    per_class: int = 1
    objective_per_class: int | None = None
    pair_loss: DLoss | None = None
    average_checkpoints: int | None = None
    train_logger: Callable[..., Any] | None = None

    def __post_init__(self):
        validate(self.keys, {key: getattr(self, key) for key in self.keys.model_fields}).check()

    @property
    def total_steps(self) -> int:
        """Steps of a member's training."""
        return self.epochs * self.epoch_steps


def own_settings(spec: Any, where: str, settings: Settings) -> Settings:
    """Settings with what the member's key ``training`` changes of them.

    Raises ``UserError``, naming ``where``, for a value that is out of range.
    """
    changes = build(spec.get("training") or {}, f"{where}.training")
    for key in changes:
        if key not in settings.keys.model_fields:
            raise UserError(
                f"{where}.training: the key {key!r} does not apply to these data; remove it"
            )
    try:
        return replace(settings, **changes)
    except UserError as error:
        raise UserError(f"{where}.training: {error}") from None


def check_graphs(settings: Settings, run_opts: RunOptions, objective: nn.Module | None) -> bool:
    """Whether the network is to be replayed as a CUDA graph.

    Raises ``UserError`` where the key ``cuda_graphs`` asks for it and it would be wrong.
    """
    if not getattr(settings, "cuda_graphs", False) or "cuda" not in str(run_opts.device):
        return False
    told = "the key 'cuda_graphs' cannot be true"
    if rank_and_world()[1] > 1:
        raise UserError(f"{told} on several GPUs; set it to false")
    if run_opts.precision != "fp32" or run_opts.compile or run_opts.compile_module_keys:
        raise UserError(f"{told} with --precision or --compile; set it to false")
    if run_opts.grad_accumulation_factor > 1:
        raise UserError(f"{told} with --grad_accumulation_factor; set it to false")
    # A bounded term goes backward through the network twice, which a replay cannot.
    parts = [] if objective is None else objective.modules()
    return all(getattr(part, "limit", None) is None for part in parts)


def check_accumulation(settings: Settings, run_opts: RunOptions, where: str) -> None:
    """UserError, naming ``where``, when gradients of an epoch's last batches would be lost."""
    factor = run_opts.grad_accumulation_factor
    if settings.epoch_steps % factor:
        raise UserError(
            f"{where}: --grad_accumulation_factor {factor} must divide its epoch_steps, "
            f"{settings.epoch_steps}: gradients of the rest would be lost"
        )
