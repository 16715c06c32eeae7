"""Utterances of any lengths in one batch, each embedded as it would be alone.

SpeechBrain's ECAPA-TDNN leaves padding out of its means, but its convolutions mirror the input at
the end of the batch, not at the end of each utterance. Here they mirror it where each one ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from speechbrain.nnet.CNN import Conv1d
from speechbrain.processing.features import STFT
from torch import nn

from acorl_sb.encoders.encoder import SpeakerEncoder


def centred_stft(encoder: SpeakerEncoder) -> STFT | None:
    """The one STFT of the front end, if its frames are centred on zeros beyond the ends."""
    front_end = getattr(encoder, "compute_features", None)
    found = [m for m in front_end.modules() if isinstance(m, STFT)] if front_end else []
    if len(found) != 1 or not found[0].center or found[0].pad_mode != "constant":
        return None
    return found[0]


def embed_lengths(
    encoder: SpeakerEncoder, waves: torch.Tensor, samples: Sequence[int]
) -> torch.Tensor:
    """Embeddings (B, D) of waves (B, T) of which each has so many ``samples``, zeros behind them.

    The encoder has a ``centred_stft`` and is in eval mode; whether its network minds neighbours of
    other lengths all the same is for the caller to try.
    """
    stft = centred_stft(encoder)
    if stft is None or encoder.compute_features is None:
        raise ValueError("this encoder has no STFT that tells frames from samples")
    frames = torch.tensor([n // stft.hop_length + 1 for n in samples], device=waves.device)  # (B,)
    features = encoder.compute_features(waves)  # (B, F, n_mels)
    lengths = (frames - 0.25) / features.shape[1]  # in frames, no rounding adds or takes one
    if encoder.mean_var_norm is not None:
        features = encoder.mean_var_norm(features, lengths)
    with mirrored_ends(encoder.embedding_model, frames):
        z = encoder.embedding_model(features, lengths)
    return z.squeeze(1) if z.dim() == 3 else z


@contextlib.contextmanager
def mirrored_ends(network: nn.Module, frames: torch.Tensor) -> Iterator[None]:
    """Let a network's convolutions mirror each row (B, channels, F) at its ``frames`` (B,).

    For one thread at a time: the network is changed meanwhile.
    """
    places: dict[int, torch.Tensor] = {}

    def padded(x: torch.Tensor, kernel_size: int, dilation: int, stride: int) -> torch.Tensor:
        width = dilation * (kernel_size - 1) // 2
        if width not in places:
            places[width] = mirrored_places(frames, x.shape[2], width)
        return x.gather(2, places[width][:, None].expand(-1, x.shape[1], -1))

    convolutions = [m for m in network.modules() if isinstance(m, Conv1d) and _mirrors(m)]
    for convolution in convolutions:
        convolution._manage_padding = padded
    try:
        yield
    finally:
        for convolution in convolutions:
            del convolution._manage_padding


def mirrored_places(frames: torch.Tensor, length: int, width: int) -> torch.Tensor:
    """Which of ``length`` frames stands where when ``width`` are added before and behind.

    Arguments
    ---------
    frames : (B,) int64, how many of each row count; more than ``width``
    length, width : int

    Returns
    -------
    (B, length + 2 width) int64; what is farther behind a row's end than ``width`` is any of its
    frames

    Example
    -------
    >>> mirrored_places(torch.tensor([4, 3]), length=4, width=2)
    tensor([[2, 1, 0, 1, 2, 3, 2, 1],
            [2, 1, 0, 1, 2, 1, 0, 0]])
    """
    place = torch.arange(-width, length + width, device=frames.device).abs()  # mirrored before
    last = frames[:, None] - 1
    return torch.minimum(place, 2 * last - place).clamp(min=0)


def _mirrors(convolution: Conv1d) -> bool:
    same = convolution.padding == "same" and convolution.padding_mode == "reflect"
    return same and convolution.stride == 1
