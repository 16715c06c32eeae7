"""One step of every member on noise before any work, for what no check of values can see.

Sizes that do not fit, arguments that a class does not take, a learning rate that an optimizer
refuses: each would otherwise show after the corpus is prepared, or after the members before are
trained. Models are built anew for training; the random numbers that it draws are not touched.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.utils.run_opts import RunOptions
from torch import nn

from acorl_sb.encoders.ensemble import FrozenEnsemble, goes_on_from
from acorl_sb.training.one_member import make_objective
from acorl_sb.training.settings import Settings, check_accumulation, own_settings
from acorl_sb.training.training_data import MemberKind
from acorl_sb.utils.hparams import in_words
from acorl_sb.utils.random_states import random_states_kept

_EXAMPLES = _CLASSES = 4  # an unbiased CKA needs four rows
_TRIES = 200  # draws of an augmentation that may leave a batch as it is


def rehearse(
    members: Sequence[Any],
    references: Sequence[Any] | None,
    settings: Settings,
    run_opts: RunOptions,
    kind: MemberKind,
) -> None:
    """Take one training step of each member on a few examples of noise, on the CPU.

    Arguments are those of ``acorl_sb.training.members.train_members``, and the ``kind`` of its
    data. Raises ``UserError``, naming the part, such as ``members[1].objective``, that cannot be
    built or fails.
    """
    ensemble = FrozenEnsemble()
    with random_states_kept():
        for i, spec in enumerate(references or []):
            with in_words(f"references[{i}]"):
                reference = kind.load_reference(spec, f"references[{i}]")
                _embed(reference, kind.noise(2))
                ensemble.add(str(spec["name"]), reference)
        for i, spec in enumerate(members):
            own = own_settings(spec, f"members[{i}]", settings)
            check_accumulation(own, run_opts, f"members[{i}]")
            old = goes_on_from(members, i)
            encoder = _step(spec, i, own, ensemble.without(old), kind)
            if old is not None:
                before = ensemble.members[ensemble.names.index(old)].encoder
                with in_words(f"members[{i}].encoder is not that of {old!r}, its start"):
                    kind.check_start(before, encoder)
            ensemble.add(str(spec["name"]), encoder, replaces=old)


def _step(
    spec: Any, index: int, settings: Settings, ensemble: FrozenEnsemble, kind: MemberKind
) -> nn.Module:
    """Build a member and take one step; returns its encoder."""

    def part(name: str) -> contextlib.AbstractContextManager:
        return in_words(f"members[{index}].{name}")

    count = min(_EXAMPLES, settings.batch_size)
    inputs, labels = kind.noise(count, settings), torch.arange(count)
    with part("augment"):
        inputs = _augment(settings.augment, inputs)
    with part("encoder"):
        encoder = kind.build(spec["encoder"], f"members[{index}].encoder").train()
        z = _embed(encoder, inputs)
    with part("head"):
        head = settings.head(dim=encoder.embedding_dim, n_classes=_CLASSES)
        loss = _finite(head(z, labels), "its loss")
        kind.check_head(head)
    learning, adversary = [*encoder.parameters(), *head.parameters()], []
    if settings.pair_loss is not None:
        with part("training.pair_loss"):
            loss = loss + _finite(settings.pair_loss(z, labels // 2, 1.0)[0], "its loss")
    with part("objective"):
        objective = make_objective(spec, index, encoder, ensemble, _CLASSES)
        if objective is not None:
            check_view(settings, kind.noise(count, settings))
            with torch.no_grad():
                frozen = [member(inputs) for member in ensemble.members]
            objective.set_baseline(0.1)
            objective.observe(task_loss=loss.item())
            loss = _finite(objective(z, frozen, labels, 1.0).total(loss), "its loss")
            learning += objective.member_parameters()
            adversary += objective.adversary_parameters()
    _update("optimizer", part, settings.optimizer, learning, loss, settings)
    if adversary:
        _update("adversary_optimizer", part, settings.adversary_optimizer, adversary)
    return encoder


def check_view(settings: Settings, inputs: torch.Tensor) -> None:
    """ValueError where the view is ``unaugmented`` and no batch is left as it is."""
    if settings.view != "unaugmented" or settings.augment is None:
        return
    augment, whole = copy.deepcopy(settings.augment), torch.ones(len(inputs))
    if not any(torch.equal(augment(inputs, whole)[0], inputs) for _ in range(_TRIES)):
        raise ValueError(
            f"the key 'view' is unaugmented, and the key 'augment' changed each of {_TRIES} "
            "batches, so that the objective would never be applied; let it leave some as they are "
            "(an Augmenter with min_augmentations 0)"
        )


def _update(name, part, factory, parameters, loss=None, settings=None) -> None:
    """One step of an optimizer; the schedule's rates are looked at where there is one."""
    with part(name):
        optimizer = factory(parameters)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ValueError(f"it makes a {type(optimizer).__name__}, which is no optimizer")
    if settings is not None:
        with part("lr_schedule"):
            schedule = copy.deepcopy(settings.lr_schedule)
            for step in (settings.epochs * settings.epoch_steps, 1):
                schedule(optimizer, step)
                rate = optimizer.param_groups[0]["lr"]
                if not (math.isfinite(rate) and rate >= 0):
                    raise ValueError(f"the learning rate of step {step} is {rate}")
    with part(name):
        if loss is not None:
            loss.backward()
        optimizer.step()
        for parameter in parameters:
            _finite(parameter, "a weight after one step")


def _augment(augment: Any, inputs: torch.Tensor) -> torch.Tensor:
    """The inputs through the augmentation, through all of its parts where it draws some."""
    if augment is None:
        return inputs
    augment = copy.deepcopy(augment)
    if isinstance(augment, Augmenter) and not augment.parallel_augment:
        augment.min_augmentations = augment.max_augmentations = len(augment.augmentations)
    augmented, _ = augment(inputs, torch.ones(len(inputs)))
    if len(augmented) != len(inputs):
        raise ValueError(
            f"{len(inputs)} examples become {len(augmented)}, and their classes do not"
        )
    return _finite(augmented, "an augmented input")


def _embed(encoder: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    z = encoder(inputs)
    if z.shape != (len(inputs), encoder.embedding_dim):
        raise ValueError(
            f"embeddings of {len(inputs)} examples have the shape {tuple(z.shape)}, not "
            f"({len(inputs)}, embedding_dim = {encoder.embedding_dim})"
        )
    return _finite(z, "an embedding").float()


def _finite(values: torch.Tensor, what: str) -> torch.Tensor:
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{what} is not finite")
    return values
