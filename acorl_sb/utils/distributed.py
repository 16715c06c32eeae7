"""Training on several ranks: how they start, what they share, who writes.

``torchrun --nproc_per_node=N train.py ...`` starts N ranks. Every rank holds the whole model and
the frozen references and sees its own part of each global batch; gradients, batch statistics and
logged figures are means over ranks, so that all ranks keep the same parameters. Rank 0 writes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from speechbrain.utils.distributed import ddp_init_group, get_local_rank, infer_device
from speechbrain.utils.run_opts import RunOptions
from torch import nn

from acorl_sb.utils.errors import UserError


def start(run_opts: RunOptions) -> tuple[RunOptions, torch.device]:
    """Join the other ranks, if there are any, and choose this one's device.

    The device is that of ``--device``, or the GPU where there is one; ``cuda`` without a number
    becomes the GPU of this rank. Ranks on the CPU speak gloo to each other unless another
    backend is asked for. Returns the run options with device and backend put in.

    Raises ``UserError`` for a device that is not there and for fewer GPUs than ranks.
    """
    device, local = run_opts.device or infer_device(), get_local_rank()
    if "cuda" in device and not torch.cuda.is_available():
        raise UserError(f"--device {device}: no CUDA device here; use --device cpu")
    if device == "cuda" and local is not None:
        device = f"cuda:{local}"
    found = {"device": device}
    if device == "cpu" and "distributed_backend" not in run_opts.overridden_args:
        found["distributed_backend"] = "gloo"
    given = run_opts.overridden_args | found.keys()
    run_opts = dataclasses.replace(run_opts, **found, overridden_args=given)
    if not is_distributed():
        try:
            ddp_init_group(run_opts)
        except ValueError as error:
            message = " ".join(str(error).split())
            raise UserError(
                f"{message} (rank {local}); start no more ranks than there are GPUs, "
                "or use --device cpu"
            ) from None
    return run_opts, torch.device(device)


def is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of ranks; (0, 1) for a process alone."""
    return (dist.get_rank(), dist.get_world_size()) if is_distributed() else (0, 1)


def wait_for_ranks() -> None:
    """Go on once all ranks are here."""
    if is_distributed():
        dist.barrier()


def sum_over_ranks(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor of any shape over ranks, in place; every rank must call it."""
    if is_distributed():
        dist.all_reduce(tensor)
    return tensor


def mean_over_ranks(
    values: Mapping[str, torch.Tensor | float], device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Scalars as floats, each its mean over ranks; every rank must bring the same names.

    ``device`` is where the ranks exchange tensors. All values cross over together, since each
    crossing makes a GPU wait.
    """
    if not values:
        return {}
    names = sorted(values)
    scalars = [torch.as_tensor(values[n], dtype=torch.float64).detach() for n in names]
    stacked = torch.stack([s.to(device) for s in scalars])  # (names,)
    means = sum_over_ranks(stacked) / rank_and_world()[1]
    return dict(zip(names, means.tolist(), strict=True))


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Mean of the gradients over ranks, for steps that bypass DistributedDataParallel."""
    for parameter in parameters:
        if parameter.grad is None:  # had no part in this rank's batch
            parameter.grad = torch.zeros_like(parameter)
        sum_over_ranks(parameter.grad).div_(rank_and_world()[1])


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel's and torch.compile's wrappers, if any."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        module = module.module
    return getattr(module, "_orig_mod", module)
