"""Batch normalisation: over all ranks' batches on the CPU, and with its statistics held."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from acorl_sb.utils.distributed import is_distributed


class _SumOverRanks(torch.autograd.Function):
    """The sum over ranks; its gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx, x):
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad):
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm(nn.Module):
    """Batch normalisation whose statistics are those of the global batch of all ranks.

    ``torch.nn.SyncBatchNorm`` does this on GPUs only. In eval mode, and in a process alone, it
    is plain batch normalisation. Takes over parameters and buffers, names included.

    Arguments
    ---------
    norm : torch.nn.BatchNorm1d, 2d or 3d

    Calling it with (B, C, ...) gives the same shape; B may differ between ranks.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm):
        super().__init__()
        self.eps, self.momentum = norm.eps, norm.momentum
        for name in ("weight", "bias"):
            self.register_parameter(name, getattr(norm, name))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.training = norm.training

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training and self.running_mean is not None:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(x, mean, var, self.weight, self.bias, False, 0.0, self.eps)
        of_channel = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        wide = x.float()
        sums = torch.cat([wide.sum(of_channel), wide.new_tensor([x.numel() / x.shape[1]])])
        sums = _sum(sums)  # (C + 1,)
        count = sums[-1].detach()
        mean = sums[:-1] / count  # (C,)
        centred = wide - mean.view(shape)
        # Two passes: a variance from sums of squares loses digits where the mean is large.
        var = _sum(centred.square().sum(of_channel)) / count  # (C,)
        if self.training and self.running_mean is not None:
            self._track(mean.detach(), var.detach() * count / (count - 1).clamp(min=1))
        y = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, var: torch.Tensor) -> None:
        self.num_batches_tracked += 1
        share = self.momentum
        if share is None:  # a plain mean over all batches so far
            share = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(var, share)


def share_batch_statistics(module: nn.Module) -> nn.Module:
    """Replace every batch normalisation inside ``module``, in place; returns the module."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return SharedBatchNorm(module)
    for name, child in module.named_children():
        setattr(module, name, share_batch_statistics(child))
    return module


@contextlib.contextmanager
def fixed_batch_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalisations inside ``module`` use their running statistics, which do not move.

    All else stays in the mode that it is in; gradients flow.
    """
    norms = [
        m
        for m in module.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm | SharedBatchNorm) and m.training
    ]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def _sum(x: torch.Tensor) -> torch.Tensor:
    return _SumOverRanks.apply(x) if is_distributed() else x
