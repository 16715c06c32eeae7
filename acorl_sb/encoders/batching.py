"""Batches of utterances in which each gets the embedding that it would get alone.

Padding changes embeddings: SpeechBrain's ResNet ignores the lengths, its ECAPA-TDNN lets padding
into the last frames (which ``own_ends`` mends, at a price that pays on a GPU). But an STFT whose
frames are centred pads the wave with zeros by itself, so that zeros which fill up the last hop
change nothing: waves of as many frames can share a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.own_ends import centred_stft, embed_lengths
from acorl_sb.utils.precision import full_precision

ANY_LENGTH = 1 << 62
"""More samples than any utterance has: all lengths share a batch."""

_CLOSE = 1e-5  # of the largest entry of an embedding


@torch.no_grad()
@full_precision()
def free_padding(encoder: SpeakerEncoder, device: torch.device | str = "cpu") -> int:
    """Lengths (samples) that agree after division by this number can share a batch.

    It is the hop of the encoder's STFT where the encoder has one of SpeechBrain's and waves of
    noise get the same embeddings alone and filled up with zeros; 1 for any other encoder. On a GPU,
    which small batches would leave idle, it is ``ANY_LENGTH`` where ``embed_lengths`` gives waves
    of noise what they get alone. The encoder is in eval mode, and on ``device``.
    """
    stft = centred_stft(encoder)
    if stft is None:
        return 1
    hop = stft.hop_length
    if torch.device(device).type != "cpu" and takes_any_length(encoder, device):
        return ANY_LENGTH
    lengths = [40 * hop, 40 * hop + hop // 2, 41 * hop - 1]
    waves = _noise(lengths, device)
    return hop if _alike(encoder(together_padded(waves)), encoder, waves) else 1


@torch.no_grad()
@full_precision()
def takes_any_length(encoder: SpeakerEncoder, device: torch.device | str = "cpu") -> bool:
    """Whether waves of noise get from ``embed_lengths`` in one batch what they get alone."""
    stft = centred_stft(encoder)
    if stft is None or not encoder.takes_lengths:
        return False
    lengths = [stft.hop_length * frames + 7 for frames in (40, 41, 57, 90)]
    waves = _noise(lengths, device)
    return _alike(embed_lengths(encoder, together_padded(waves), lengths), encoder, waves)


def _noise(lengths: Sequence[int], device: torch.device | str) -> list[torch.Tensor]:
    noise = torch.randn(len(lengths), max(lengths), generator=torch.Generator().manual_seed(0))
    return [0.1 * wave[:length].to(device) for wave, length in zip(noise, lengths, strict=True)]


def _alike(together: torch.Tensor, encoder: SpeakerEncoder, waves: list[torch.Tensor]) -> bool:
    alone = torch.cat([encoder(wave.unsqueeze(0)) for wave in waves])
    return bool((together - alone).abs().max() <= _CLOSE * alone.abs().max())


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
    most_samples : most samples in a batch, padding too, though a longer utterance is one alone;
        None: any

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
        if quantum == ANY_LENGTH:
            yield from _filled(rows, lengths, batch_size, most_samples)
            continue
        if most_samples is not None:
            most = max(1, min(batch_size, most_samples // lengths[rows[-1]]))
        for start in range(0, len(rows), most):
            yield rows[start : start + most]


def _filled(
    rows: Sequence[int], lengths: Sequence[int], batch_size: int, most_samples: int | None
) -> Iterator[list[int]]:
    """Batches of rows, the shortest first, each with as many as its longest allows."""
    part: list[int] = []
    for row in rows:
        most = batch_size if most_samples is None else min(batch_size, most_samples // lengths[row])
        if part and len(part) >= most:
            yield part
            part = []
        part.append(row)
    if part:
        yield part
