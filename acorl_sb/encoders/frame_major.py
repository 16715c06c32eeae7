"""SpeechBrain's ECAPA-TDNN with each frame's channels side by side in memory, for CPUs.

Parameters, buffers and results are SpeechBrain's, apart from the last bits. What differs is the
way there: a convolution is one matrix product over all frames of the batch, for which no layout
has to be changed; the pooling does not repeat the utterance's mean and deviation at each frame
before its first layer, as a layer's product with a constant is a constant; and weighted means and
deviations keep nothing for their gradients but what these need.
"""

from __future__ import annotations

import torch
from speechbrain.lobes.models.ECAPA_TDNN import (
    ECAPA_TDNN,
    AttentiveStatisticsPooling,
    SERes2NetBlock,
    TDNNBlock,
)
from speechbrain.nnet.CNN import Conv1d
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU)


def frame_major(model: nn.Module) -> None:
    """Let the ECAPA-TDNNs in ``model`` compute as above wherever they can, in place.

    They can where their convolutions have no groups and their activation looks at single values;
    any other network stays as it is, subclasses of SpeechBrain's too.

    Example
    -------
    >>> network = ECAPA_TDNN(40, channels=[16, 16, 48], kernel_sizes=[5, 3, 1],
    ...                      dilations=[1, 2, 1], groups=[1, 1, 1])
    >>> frame_major(network)
    >>> type(network).__name__
    'FrameMajorECAPA'
    """
    for module in model.modules():
        if type(module) is ECAPA_TDNN and _suits(module):
            module.__class__ = FrameMajorECAPA


def _suits(network: ECAPA_TDNN) -> bool:
    convolutions = [m for m in network.modules() if isinstance(m, Conv1d)]
    activations = [m.activation for m in network.modules() if isinstance(m, TDNNBlock)]
    return all(isinstance(a, _POINTWISE) for a in activations) and all(
        type(c.conv) is nn.Conv1d and c.conv.groups == 1 and c.stride == 1 for c in convolutions
    )


class FrameMajorECAPA(ECAPA_TDNN):
    """What ``frame_major`` makes of an ``ECAPA_TDNN``: the same network.

    On other devices, and for utterances of several lengths in one batch, it is SpeechBrain's to
    the bit.
    """

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Features (B, F, n_mels) -> embeddings (B, 1, D); ``lengths`` (B,) in (0, 1]."""
        if lengths is not None or x.device.type != "cpu":
            return super().forward(x, lengths)
        mirrored = _Mirrored(x)
        first, *rest = self.blocks
        x = _tdnn(first, x, mirrored)
        outputs = []
        for block in rest:
            x = _se_res2net(block, x, mirrored)
            outputs.append(x)
        x = _tdnn(self.mfa, torch.cat(outputs, 2), mirrored)
        z = self.asp_bn.norm(_pooled(self.asp, x))
        return _product(self.fc, z.unsqueeze(1))


class _Mirrored:
    """Frames that each tap of a convolution sees, mirrored at both ends, kept for a forward."""

    def __init__(self, x: torch.Tensor):
        self.frames, self.device = x.shape[1], x.device
        self._places: dict[tuple[int, int], torch.Tensor] = {}

    def __call__(self, x: torch.Tensor, taps: int, dilation: int) -> torch.Tensor:
        """(B, F, C) -> (B, F, taps x C)."""
        if (taps, dilation) not in self._places:
            offsets = dilation * (torch.arange(taps, device=self.device) - taps // 2)
            place = (torch.arange(self.frames, device=self.device)[:, None] + offsets).abs()
            place = torch.minimum(place, 2 * (self.frames - 1) - place)
            self._places[taps, dilation] = place.flatten()
        seen = x.index_select(1, self._places[taps, dilation])  # (B, F x taps, C)
        return seen.view(x.shape[0], -1, taps * x.shape[2])


def _convolved(layer: Conv1d, x: torch.Tensor, mirrored: _Mirrored) -> torch.Tensor:
    taps = layer.conv.weight.shape[2]
    if taps == 1:
        return _product(layer, x)
    weight = layer.conv.weight.transpose(1, 2).flatten(1)  # (C', taps x C)
    return F.linear(mirrored(x, taps, layer.dilation), weight, layer.conv.bias)


def _product(layer: Conv1d, x: torch.Tensor) -> torch.Tensor:
    """A convolution that looks at one frame, of (B, F, C)."""
    return F.linear(x, layer.conv.weight.squeeze(2), layer.conv.bias)


def _tdnn(block: TDNNBlock, x: torch.Tensor, mirrored: _Mirrored) -> torch.Tensor:
    return _normalised(block, _convolved(block.conv, x, mirrored))


def _normalised(block: TDNNBlock, x: torch.Tensor) -> torch.Tensor:
    """All of a block that comes after its convolution."""
    x = block.activation(x)
    x = block.norm.norm(x.flatten(0, 1)).view(x.shape)
    if block.dropout.p > 0:  # of whole channels; the layer's mode is its own (Monte-Carlo dropout)
        x = block.dropout(x.transpose(1, 2)).transpose(1, 2)
    return x


def _se_res2net(block: SERes2NetBlock, x: torch.Tensor, mirrored: _Mirrored) -> torch.Tensor:
    shortcut = x if block.shortcut is None else _product(block.shortcut, x)
    x = _tdnn(block.tdnn1, x, mirrored)
    parts = list(x.chunk(block.res2net_block.scale, 2))
    for i, inner in enumerate(block.res2net_block.blocks, 1):
        parts[i] = _tdnn(inner, parts[i] if i == 1 else parts[i] + parts[i - 1], mirrored)
    x = _tdnn(block.tdnn2, torch.cat(parts, 2), mirrored)
    squeeze = block.se_block
    gate = squeeze.relu(_product(squeeze.conv1, x.mean(1, keepdim=True)))
    gate = squeeze.sigmoid(_product(squeeze.conv2, gate))
    return torch.addcmul(shortcut, gate, x)


def _pooled(pooling: AttentiveStatisticsPooling, x: torch.Tensor) -> torch.Tensor:
    """(B, F, C) -> (B, 2 C)."""
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    layer = pooling.tdnn.conv.conv
    weight = layer.weight.squeeze(2)
    channels = x.shape[2]
    hidden = F.linear(x, weight[:, :channels], layer.bias)
    if pooling.global_context:
        context = torch.cat(_Moments.apply(x, None, pooling.eps), 1)
        hidden = hidden + F.linear(context, weight[:, channels:]).unsqueeze(1)
    hidden = pooling.tanh(_normalised(pooling.tdnn, hidden))
    weights = _product(pooling.conv, hidden).softmax(1)
    return torch.cat(_Moments.apply(x, weights, pooling.eps), 1)


class _Moments(torch.autograd.Function):
    """Weighted means and standard deviations over the frames of ``x`` (B, F, C): (B, C) each.

    ``weights`` (B, F, C) add to 1 over the frames, None: all alike. Variances are at least ``eps``.
    """

    @staticmethod
    def forward(ctx, x, weights, eps):
        mean = x.mean(1) if weights is None else (weights * x).sum(1)
        squares = (x - mean.unsqueeze(1)).square_()
        variance = squares.mean(1) if weights is None else squares.mul_(weights).sum(1)
        std = variance.clamp(min=eps).sqrt()
        ctx.save_for_backward(x, weights, mean, std, variance >= eps)
        return mean, std

    @staticmethod
    @once_differentiable
    def backward(ctx, for_mean, for_std):
        x, weights, mean, std, moves = ctx.saved_tensors
        by_std = (for_std / std).masked_fill_(~moves, 0).unsqueeze(1)
        for_mean = for_mean.unsqueeze(1)
        deviation = x - mean.unsqueeze(1)
        for_x = torch.addcmul(for_mean, deviation, by_std)
        if weights is None:
            return for_x.div_(x.shape[1]), None, None
        for_weights = torch.addcmul(for_mean * x, deviation.square_(), by_std, value=0.5)
        return for_x.mul_(weights), for_weights, None
