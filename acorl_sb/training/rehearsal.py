"""One step of every member on noise before any work, for what no check of values can see.

Sizes that do not fit, arguments that a class does not take, a learning rate that an optimizer
refuses: each would otherwise show after the corpus is prepared, or after the members before are
trained. Models are built anew for training; the random numbers that it draws are not touched.
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.utils.run_opts import RunOptions

from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.member_folder import build_encoder, load_reference
from acorl_sb.training.one_member import make_objective
from acorl_sb.training.settings import check_accumulation, own_settings
from acorl_sb.training.speech import SpeechSettings
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import in_words

_CROPS = _CLASSES = 4  # an unbiased CKA needs four rows
_LONGEST = 5.0  # s; longer crops fail where these do


def rehearse(
    members: Sequence[Any],
    references: Sequence[Any] | None,
    settings: SpeechSettings,
    run_opts: RunOptions,
) -> None:
    """Take one training step of each member on a few crops of noise, on the CPU.

    Arguments are those of ``acorl_sb.cli.train.run_experiment``. Raises ``UserError``, naming
    the part, such as ``members[1].objective``, that cannot be built or fails.
    """
    check_accumulation(settings, run_opts)
    ensemble = FrozenEnsemble()
    with random_states_kept():
        for i, spec in enumerate(references or []):
            with in_words(f"references[{i}]"):
                reference = load_reference(spec, f"references[{i}]")
                _embed(reference, 0.1 * torch.randn(2, SAMPLE_RATE))
                ensemble.add(str(spec["name"]), reference)
        for i, spec in enumerate(members):
            own = own_settings(spec, f"members[{i}]", settings)
            ensemble.add(str(spec["name"]), _step(spec, i, own, ensemble))


def _step(
    spec: Any, index: int, settings: SpeechSettings, ensemble: FrozenEnsemble
) -> SpeakerEncoder:
    """Build a member and take one step; returns its encoder."""

    def part(name: str) -> contextlib.AbstractContextManager:
        return in_words(f"members[{index}].{name}")

    count = min(_CROPS, settings.batch_size)
    seconds = min(settings.crop_seconds, _LONGEST)
    waves = 0.1 * torch.randn(count, max(1, round(seconds * SAMPLE_RATE)))
    labels = torch.arange(count)
    with part("augment"):
        waves = _augment(settings.augment, waves)
    with part("encoder"):
        encoder = build_encoder(spec["encoder"], f"members[{index}].encoder").train()
        if encoder.sample_rate != SAMPLE_RATE:
            raise UserError(
                f"members[{index}].encoder: manifests count samples at {SAMPLE_RATE} Hz, so "
                f"sample_rate cannot be {encoder.sample_rate}"
            )
        z = _embed(encoder, waves)
    with part("head"):
        head = settings.head(dim=encoder.embedding_dim, n_classes=_CLASSES)
        loss = _finite(head(z, labels), "its loss")
        if not hasattr(head, "classifier"):
            raise ValueError(
                "a head has its classifier under that name, to be kept with the member"
            )
    learning, adversary = [*encoder.parameters(), *head.parameters()], []
    with part("objective"):
        objective = make_objective(spec, index, encoder, ensemble, _CLASSES)
        if objective is not None:
            with torch.no_grad():
                frozen = [member(waves) for member in ensemble.members]
            objective.set_baseline(0.1)
            objective.observe(task_loss=loss.item())
            loss = _finite(objective(z, frozen, labels, 1.0).total(loss), "its loss")
            learning += objective.member_parameters()
            adversary += objective.adversary_parameters()
    _update("optimizer", part, settings.optimizer, learning, loss, settings)
    if adversary:
        _update("adversary_optimizer", part, settings.adversary_optimizer, adversary)
    return encoder


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


def _augment(augment: Any, waves: torch.Tensor) -> torch.Tensor:
    """The waves through the augmentation, through all of its parts where it draws some."""
    if augment is None:
        return waves
    augment = copy.deepcopy(augment)
    if isinstance(augment, Augmenter) and not augment.parallel_augment:
        augment.min_augmentations = augment.max_augmentations = len(augment.augmentations)
    augmented, _ = augment(waves, torch.ones(len(waves)))
    if len(augmented) != len(waves):
        raise ValueError(
            f"{len(waves)} examples become {len(augmented)}, and their speakers do not"
        )
    return _finite(augmented, "a sample")


def _embed(encoder: SpeakerEncoder, waves: torch.Tensor) -> torch.Tensor:
    z = encoder(waves)
    if z.shape != (len(waves), encoder.embedding_dim):
        raise ValueError(
            f"embeddings of {len(waves)} crops have the shape {tuple(z.shape)}, not "
            f"({len(waves)}, embedding_dim = {encoder.embedding_dim})"
        )
    return _finite(z, "an embedding").float()


def _finite(values: torch.Tensor, what: str) -> torch.Tensor:
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{what} is not finite")
    return values


@contextlib.contextmanager
def random_states_kept() -> Iterator[None]:
    """Leave the random states of Python, numpy and torch (CPU) as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
