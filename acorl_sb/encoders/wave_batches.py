"""Waves through the members of an ensemble, batch by batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from acorl_sb.encoders.ensemble import FrozenMember
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.precision import full_precision

_T = TypeVar("_T")
_AHEAD = 8  # batches that are read before the first is made: waves of one length find each other


@torch.no_grad()
@full_precision()
def embed_by_all(
    members: Sequence[FrozenMember],
    waves: Iterable[tuple[np.ndarray, str]],
    batch_size: int = 32,
    device: torch.device | str = "cpu",
) -> list[torch.Tensor]:
    """Unit-length embeddings of waves, each as it would be alone.

    Waves of one length share a batch. A few batches of waves are in memory at a time.

    Arguments
    ---------
    members : K of them
    waves : N pairs of samples (T_n,) float32 and what to call them in messages
    batch_size : int

    Returns
    -------
    K tensors (N, D_k), float32 on the CPU, in the order of ``waves``

    Raises ``UserError`` for a wave in which a member finds nothing to embed.
    """
    parts: list[list[torch.Tensor]] = [[torch.zeros(0, m.embedding_dim)] for m in members]
    for some in _pieces(waves, _AHEAD * batch_size):
        z = [torch.zeros(len(some), member.embedding_dim) for member in members]
        order = sorted(range(len(some)), key=lambda i: len(some[i][0]))
        for _, same in itertools.groupby(order, key=lambda i: len(some[i][0])):
            for rows in _pieces(same, batch_size):
                batch = torch.from_numpy(np.stack([some[i][0] for i in rows])).to(device)
                for k, member in enumerate(members):
                    z[k][rows] = member(batch).float().cpu()
        for member, vectors, part in zip(members, z, parts, strict=True):
            found = torch.isfinite(vectors).all(1) & vectors.any(1)  # (N,)
            if not bool(found.all()):
                where = some[int((~found).nonzero()[0])][1]
                raise UserError(
                    f"{where}: the member {member.name!r} finds no speech to embed in it"
                )
            part.append(F.normalize(vectors, dim=1))
    return [torch.cat(part) for part in parts]


def _pieces(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while piece := list(itertools.islice(iterator, size)):
        yield piece
