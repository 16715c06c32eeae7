"""What a member is trained on and how: training set, settings, and what its loss looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from speechbrain.utils.run_opts import RunOptions
from torch import nn

from acorl_sb.data.manifest import Utterance
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.ensemble import OutOfFoldReferences
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.training.dataset import CropDataset, SpeakerSampler, StepBatches, StepSampler
from acorl_sb.training.train_options import TrainingKeys
from acorl_sb.utils.distributed import rank_and_world
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build
from acorl_sb.utils.options import validate


@dataclass
class TrainingSet:
    """Training utterances and the development check that every member shares.

    Every utterance counts once at each of ``speeds``; ``labels`` are those of all utterances at
    the first speed, then at the second, and so on.
    """

    utterances: Sequence[Utterance]
    dev_error: Callable[[SpeakerEncoder], float]
    speeds: Sequence[float] = (1.0,)
    speakers: list[str] = field(init=False)
    labels: list[int] = field(init=False)

    def __post_init__(self):
        natural = sorted({u.spk_id for u in self.utterances})
        if len(natural) < 2:
            raise UserError(
                f"the training manifest has {len(natural)} speaker; at least two are needed"
            )
        # A voice at another speed has another pitch: it counts as another speaker.
        self.speakers = [
            speaker if speed == 1 else f"{speaker} x{speed:g}"
            for speed in self.speeds
            for speaker in natural
        ]
        index = {speaker: label for label, speaker in enumerate(natural)}
        of_utterance = [index[u.spk_id] for u in self.utterances]
        self.labels = [
            len(natural) * i + label for i in range(len(self.speeds)) for label in of_utterance
        ]


@dataclass
class Settings:
    """How a member is trained; the keys of ``train.py``'s YAML under the same names.

    ``crop_seconds`` s; ``batch_size`` utterances of one rank; ``epochs`` of ``epoch_steps``
    steps; ``optimizer`` and ``adversary_optimizer`` are callables (parameters) -> optimizer;
    ``lr_schedule`` is called with the optimizer and the step; ``head`` is a callable
    (dim, n_classes) -> module; ``augment`` a SpeechBrain Augmenter or None; ``view`` is ``crop``
    or ``utterance``; ``cache_mb`` megabytes of audio kept in memory; ``workers`` loader
    processes; ``speeds`` at which every utterance is trained on, each a speaker of its own;
    ``plain`` is what decides the weights (``DECISIVE``, and the corpus) as the YAML says it, for
    the member's record.
    """

    seed: int
    crop_seconds: float
    batch_size: int
    epochs: int
    epoch_steps: int
    optimizer: Callable[..., torch.optim.Optimizer]
    adversary_optimizer: Callable[..., torch.optim.Optimizer]
    lr_schedule: Callable[[torch.optim.Optimizer, int], Any]
    head: Callable[..., nn.Module]
    augment: nn.Module | None
    view: str
    cache_mb: float
    workers: int
    plain: dict[str, Any]
    speeds: Sequence[float] = (1.0,)

    def __post_init__(self):
        validate(
            TrainingKeys, {key: getattr(self, key) for key in TrainingKeys.model_fields}
        ).check()


@dataclass
class TermSettings:
    """What the complementarity loss looks at, if not the task's batch and the references.

    ``copies`` are asked in place of the references, each about speakers that it was not trained on.
    ``data``, if given, makes batches of the term's own, of ``batch_size`` crops with ``each`` of
    every speaker (1: drawn evenly over utterances); the term's classes are then its speakers.
    """

    copies: OutOfFoldReferences | None = None
    data: TrainingSet | None = None
    batch_size: int = 48
    each: int = 1

    def batches(self, settings: Settings, seed: int) -> StepBatches | None:
        """The term's batches by step; None for those of the task."""
        if self.data is None:
            return None
        rank, world = rank_and_world()
        seed += 500  # crops that are not those of the task
        rest = (self.batch_size, settings.epoch_steps, seed, rank, world)
        if self.each > 1:
            sampler = SpeakerSampler(self.data.labels, self.each, *rest)
        else:
            sampler = StepSampler(len(self.data.labels), *rest)
        dataset = CropDataset(
            self.data.utterances,
            self.data.labels,
            settings.crop_seconds,
            seed,
            cache_mb=settings.cache_mb,
            speeds=self.data.speeds,
        )
        return StepBatches(dataset, sampler)


def check_accumulation(settings: Settings, run_opts: RunOptions) -> None:
    """UserError when gradients of an epoch's last batches would never be applied."""
    factor = run_opts.grad_accumulation_factor
    if settings.epoch_steps % factor:
        raise UserError(
            f"--grad_accumulation_factor {factor} must divide the key 'epoch_steps', "
            f"{settings.epoch_steps}: gradients of the rest would be lost"
        )


def own_settings(spec: Any, where: str, settings: Settings) -> Settings:
    """Settings with what the member's key ``training`` changes of them."""
    changes = build(spec.get("training") or {}, f"{where}.training")
    try:
        return replace(settings, **changes)
    except UserError as error:
        raise UserError(f"{where}.training: {error}") from None


def with_own_training(
    spec: Any, where: str, settings: Settings, data: TrainingSet
) -> tuple[Settings, TrainingSet]:
    """Settings and training set with what the member's key ``training`` changes of them."""
    own = own_settings(spec, where, settings)
    return own, data if own.speeds == settings.speeds else replace(data, speeds=own.speeds)


def dev_error_function(
    utterances: Sequence[Utterance],
    score: Callable[[np.ndarray], float],
    seconds: float | None,
    device: torch.device | str,
) -> Callable[[SpeakerEncoder], float]:
    """The check that chooses checkpoints: encoder -> EER on the development trials.

    ``score`` takes the embeddings (N, D) of ``utterances`` and gives the EER, a fraction.
    """

    def dev_error(encoder: SpeakerEncoder) -> float:
        z = embed_utterances(encoder, utterances, seconds, device=device, shared=True)
        return score(z.numpy())

    return dev_error
