"""The ensemble: members in order, each frozen once it is trained.

Nothing here knows of speech: a member is a module that maps a batch of inputs to (B, D)
embeddings and says D as ``embedding_dim``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn


class FrozenMember(nn.Module):
    """An encoder that never learns again: no gradients, eval mode for good.

    ``train()`` does not reach the encoder, so batch-norm statistics stay as they are whoever
    asks for training mode. Embeddings carry no graph.

    Arguments
    ---------
    name : str
    encoder : module with ``embedding_dim``
    """

    def __init__(self, name: str, encoder: nn.Module):
        super().__init__()
        self.name = name
        self.encoder = encoder.eval().requires_grad_(False)
        self.embedding_dim = int(encoder.embedding_dim)

    def train(self, mode: bool = True) -> FrozenMember:
        return self

    @torch.no_grad()
    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.encoder(*inputs)


class FrozenEnsemble:
    """Frozen members in the order in which they joined.

    It is deliberately not a ``torch.nn.Module``: assigned to a Brain it enters neither its
    ``modules`` nor an optimizer nor a checkpoint.

    Example
    -------
    >>> encoder = nn.Linear(3, 2)
    >>> encoder.embedding_dim = 2
    >>> ensemble = FrozenEnsemble()
    >>> member = ensemble.add("first", encoder)
    >>> ensemble.names, ensemble.dims
    (['first'], [2])
    >>> ensemble.embed(torch.ones(5, 3))[0].requires_grad
    False
    """

    def __init__(self, members: Iterable[FrozenMember] = ()):
        self.members: list[FrozenMember] = list(members)

    def __len__(self) -> int:
        return len(self.members)

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    @property
    def dims(self) -> list[int]:
        """D_1 .. D_K."""
        return [member.embedding_dim for member in self.members]

    def add(self, name: str, encoder: nn.Module, replaces: str | None = None) -> FrozenMember:
        """Freeze ``encoder`` and let it join as ``name``, last or in the place of ``replaces``.

        ValueError if the name is taken.
        """
        if name in self.names:
            raise ValueError(f"the ensemble already has a member named {name!r}")
        member = FrozenMember(name, encoder)
        if replaces is None:
            self.members.append(member)
        else:
            self.members[self.names.index(replaces)] = member
        return member

    def without(self, name: str | None) -> FrozenEnsemble:
        """The same members but the one of this name."""
        return FrozenEnsemble(member for member in self.members if member.name != name)

    def to(self, device: torch.device | str) -> FrozenEnsemble:
        """Move the encoders to ``device``; returns itself."""
        for member in self.members:
            member.to(device)
        return self

    def embed(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """View ``crop``: v_1 .. v_K of this batch, each (B, D_k), without a graph."""
        return [member(*inputs) for member in self.members]


def goes_on_from(specs: Sequence[Mapping[str, Any]], index: int) -> str | None:
    """The earlier member of the YAML's ``members`` whose place ``specs[index]`` takes, if any."""
    start = specs[index].get("start")
    return start if start in [spec["name"] for spec in specs[:index]] else None


def standing(specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the ensemble's members, in order, of the YAML's ``members``.

    Example
    -------
    >>> standing([{"name": "a"}, {"name": "b"}, {"name": "c", "start": "a"}])
    ['c', 'b']
    """
    names: list[str] = []
    for index, spec in enumerate(specs):
        old = goes_on_from(specs, index)
        if old in names:
            names[names.index(old)] = spec["name"]
        else:
            names.append(spec["name"])
    return names


class OutOfFoldReferences:
    """Copies of frozen encoders, each asked only about classes that it was not trained on.

    Arguments
    ---------
    copies : F ensembles of K members; copy f was trained without the classes of fold f
    fold_of_class : (C,) int64 in [0, F)
    """

    def __init__(self, copies: Sequence[FrozenEnsemble], fold_of_class: torch.Tensor):
        self.copies, self.fold_of_class = list(copies), fold_of_class

    @property
    def dims(self) -> list[int]:
        """Sizes of the embeddings, fold by fold, K each."""
        return [dim for copy in self.copies for dim in copy.dims]

    def to(self, device: torch.device | str) -> OutOfFoldReferences:
        """Move the encoders of all copies to ``device``; returns itself."""
        for copy in self.copies:
            copy.to(device)
        self.fold_of_class = self.fold_of_class.to(device)
        return self

    def embed(self, inputs: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        """K times F tensors (B, D_k), fold by fold; zero in the rows of other folds."""
        folds = self.fold_of_class[labels]
        embedded = []
        for f, copy in enumerate(self.copies):
            rows = torch.nonzero(folds == f).squeeze(1)
            for member in copy.members:
                z = inputs.new_zeros(len(inputs), member.embedding_dim)
                if len(rows):
                    z[rows] = member(inputs[rows]).float()
                embedded.append(z)
        return embedded


class EmbeddingTable:
    """View ``utterance``: the references' embeddings of every training item, computed once.

    A look-up instead of K forward passes: a step then costs the same whatever K is.

    Arguments
    ---------
    tables : sequence of tensors (N, D_k)
        Row i is the reference's embedding of training item i.

    Example
    -------
    >>> table = EmbeddingTable([torch.tensor([[0.0], [1.0], [2.0]])])
    >>> table.embed(torch.tensor([2, 0]))
    [tensor([[2.],
            [0.]])]
    """

    def __init__(self, tables: Iterable[torch.Tensor]):
        self.tables = [table.detach() for table in tables]

    def embed(self, items: torch.Tensor) -> list[torch.Tensor]:
        """Rows ``items`` (B,) int64 of every table: K tensors (B, D_k)."""
        return [table[items] for table in self.tables]

    def to(self, device: torch.device | str) -> EmbeddingTable:
        """Move the tables to ``device``; returns itself."""
        self.tables = [table.to(device) for table in self.tables]
        return self
