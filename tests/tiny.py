"""A tiny corpus and ensemble for tests: hums of different pitch, encoders of a few channels."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ruamel.yaml
import soundfile
import torch
from hyperpyyaml import resolve_references
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.time_domain import DropChunk, SpeedPerturb
from speechbrain.nnet.schedulers import WarmCoolDecayLRSchedule
from speechbrain.utils.run_opts import RunOptions

from acorl_sb.data.manifest import Utterance
from acorl_sb.training.heads import AAMHead
from acorl_sb.training.speech import SpeechSettings

ENCODERS = Path(__file__).resolve().parents[1] / "hparams" / "encoders"
CPU = RunOptions(device="cpu", overridden_args={"device"})


def hums(folder: Path, speakers: int = 6, each: int = 4, seconds: float = 0.7) -> list[Utterance]:
    """Utterances whose speaker is audible: a pitch of its own in noise."""
    generator = np.random.default_rng(0)
    utterances = []
    for s in range(speakers):
        for u in range(each):
            n = int(16000 * seconds * (1 + 0.2 * u))
            time = np.arange(n) / 16000
            pitch = 110 * 1.25**s * (1 + 0.01 * generator.standard_normal())
            wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 8))
            wave = 0.1 * wave + 0.02 * generator.standard_normal(n)
            path = folder / f"s{s}" / f"u{u}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, wave.astype(np.float32), 16000)
            utterances.append(Utterance(f"s{s}-u{u}", n / 16000, str(path), 0, n, f"s{s}"))
    return utterances


def encoder_tree(name: str = "ecapa", **overrides):
    """Resolved keys of an encoder of few channels."""
    overrides = {"channels": 8, "embedding_dim": 12, "n_mels": 24, **overrides}
    text = (ENCODERS / f"{name}.yaml").read_text()
    return ruamel.yaml.YAML().load(resolve_references(io.StringIO(text), overrides))


class Interrupted(Exception):
    """What ends the training of ``cut_and_resumed``."""


def cut_and_resumed(brain: type, train: Callable[[], Any], at: int) -> tuple[Any, list[int]]:
    """``train()`` interrupted in its ``at``-th step, then called again.

    Returns what the second call does, and the number of each step that was begun.
    """
    original, steps = brain.fit_batch, []

    def stopping(self, batch):
        # Progress that is not in a checkpoint yet must be done again, from the same state.
        steps.append(self.global_step)
        if len(steps) == at:
            raise Interrupted
        return original(self, batch)

    # The method is inherited: only monkeypatch takes the replacement off again without a trace.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brain, "fit_batch", stopping)
        with pytest.raises(Interrupted):
            train()
        return train(), steps


def settings(**changes) -> SpeechSettings:
    """Two epochs of three steps of six crops, with augmentation that draws random numbers."""
    values = {
        "seed": 1,
        "crop_seconds": 0.4,
        "batch_size": 6,
        "epochs": 2,
        "epoch_steps": 3,
        "optimizer": functools.partial(torch.optim.Adam, lr=0.01),
        "adversary_optimizer": functools.partial(torch.optim.Adam, lr=0.02),
        "lr_schedule": WarmCoolDecayLRSchedule(0.01, 2, 2, 6),
        "head": AAMHead,
        "augment": Augmenter(
            min_augmentations=0,
            max_augmentations=2,
            shuffle_augmentations=True,
            augmentations=[
                SpeedPerturb(16000, speeds=[90, 100, 110]),
                DropChunk(drop_length_low=100, drop_length_high=900),
            ],
        ),
        "view": "crop",
        "cache_mb": 0,
        "workers": 0,
        "plain": {},
        **changes,
    }
    return SpeechSettings(**values)
