"""Monte-Carlo dropout: how much a trial's score varies when the encoder drops units at random."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from acorl_sb.data.trial_set import TrialSet
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.scoring.backends.cosine import cosine_trial_scores
from acorl_sb.utils.errors import UserError


@contextlib.contextmanager
def dropout_on(encoder: nn.Module) -> Iterator[None]:
    """Let the encoder's dropout layers drop in eval mode too; all else stays in eval mode.

    Raises ``UserError`` for an encoder without a dropout layer of a probability above 0.
    """
    layers = [m for m in encoder.modules() if isinstance(m, _DropoutNd) and m.p > 0]
    if not layers:
        raise UserError(
            "this encoder has no dropout, so nothing in it varies; train it with dropout above 0, "
            "or take the members' disagreement (acorl fuse --uncertainty)"
        )

    def switched(training: bool):
        def switch(layer: nn.Module, *_) -> None:
            layer.training = training

        return switch

    hooks = [layer.register_forward_pre_hook(switched(True)) for layer in layers]
    hooks += [layer.register_forward_hook(switched(False)) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def dropout_scores(
    encoder: SpeakerEncoder,
    trials: TrialSet,
    draws: int = 16,
    seed: int = 0,
    seconds: float | None = None,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine scores of trials and their standard deviations over ``draws`` of dropped units.

    Gal and Ghahramani, "Dropout as a Bayesian approximation" (2016). The scores are those of the
    encoder as it is, without dropout. Each draw embeds every utterance once.

    Arguments
    ---------
    encoder : SpeakerEncoder
    trials : TrialSet
    draws : int >= 2
    seed : int
        The random state of the caller is left alone.
    seconds : float or None
        Centre crop of each utterance; None: whole.
    device : torch device

    Returns
    -------
    scores, std : (N,) float64

    Raises
    ------
    UserError
        For an encoder without dropout, and fewer than two draws.
    """
    if draws < 2:
        raise UserError(f"a standard deviation needs two draws or more, not {draws}")
    found = []
    with torch.random.fork_rng(), dropout_on(encoder):
        torch.manual_seed(seed)
        for _ in range(draws):
            z = embed_utterances(encoder, trials.utterances, seconds, device=device)
            found.append(cosine_trial_scores(trials, z.numpy()))
    z = embed_utterances(encoder, trials.utterances, seconds, device=device)
    std = np.stack(found).std(0, ddof=1)
    return cosine_trial_scores(trials, z.numpy()).astype(np.float64), std.astype(np.float64)
