"""Batches of utterances in which each gets the embedding that it would get alone.

Padding changes embeddings: SpeechBrain's ResNet ignores the lengths, its ECAPA-TDNN lets padding
into the last frames. But an STFT whose frames are centred pads the wave with zeros by itself, so
that zeros which fill up the last hop change nothing: waves of as many frames can share a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from speechbrain.processing.features import STFT

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.utils.precision import full_precision

_CLOSE = 1e-5  # of the largest entry of an embedding


@torch.no_grad()
@full_precision()
def free_padding(encoder: SpeakerEncoder, device: torch.device | str = "cpu") -> int:
    """Lengths (samples) that agree after division by this number can share a batch.

    It is the hop of the encoder's STFT where the encoder has one of SpeechBrain's and waves of
    noise get the same embeddings alone and filled up with zeros; 1 for any other encoder. The
    encoder is in eval mode, and on ``device``.
    """
    front_end = getattr(encoder, "compute_features", None)
    found = [m for m in front_end.modules() if isinstance(m, STFT)] if front_end else []
    if len(found) != 1 or not found[0].center or found[0].pad_mode != "constant":
        return 1
    hop = found[0].hop_length
    noise = 0.1 * torch.randn(3, 41 * hop - 1, generator=torch.Generator().manual_seed(0))
    noise = noise.to(device)
    lengths = [40 * hop, 40 * hop + hop // 2, 41 * hop - 1]
    waves = [wave[:length] for wave, length in zip(noise, lengths, strict=True)]
    together = encoder(together_padded(waves))
    alone = torch.cat([encoder(wave.unsqueeze(0)) for wave in waves])
    close = bool((together - alone).abs().max() <= _CLOSE * alone.abs().max())
    return hop if close else 1


def together_padded(waves: Sequence[torch.Tensor]) -> torch.Tensor:
    """Waves (T_i,) as one batch (B, longest), zeros behind the shorter ones."""
    return torch.nn.utils.rnn.pad_sequence(list(waves), batch_first=True)


def batches(
    lengths: Sequence[int], batch_size: int, quantum: int = 1, most_samples: int | None = None
) -> Iterator[list[int]]:
    """Indices of utterances that share a batch, the shortest first.

    Arguments
    ---------
    lengths : of the utterances, samples
    batch_size : most utterances in a batch
    quantum : as ``free_padding`` says
    most_samples : most samples in a batch, though a longer utterance is one alone; None: any

    Returns
    -------
    iterator of lists of indices; each index comes once

    Example
    -------
    >>> list(batches([165, 320, 161, 170, 160], batch_size=3, quantum=160))
    [[4, 2, 0], [3], [1]]
    """
    order = np.argsort(np.asarray(lengths), kind="stable").tolist()
    for _, group in itertools.groupby(order, key=lambda i: lengths[i] // quantum):
        rows = list(group)
        most = batch_size
        if most_samples is not None:
            most = max(1, min(batch_size, most_samples // lengths[rows[-1]]))
        for start in range(0, len(rows), most):
            yield rows[start : start + most]
