"""What training asks of its data and of its encoders; nothing here knows of speech."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from acorl_sb.training.settings import Settings
from acorl_sb.utils.errors import UserError


class MemberKind(abc.ABC):
    """How encoders of one kind are built, rehearsed, saved and loaded.

    An encoder maps a batch of inputs to (B, D) embeddings and says D as ``embedding_dim``. With a
    method ``features`` it sees the inputs through that; with a part ``embedding_model`` only that
    part's weights count as its own. ``where`` names the place in the YAML for messages. What is
    wrong raises ``UserError``.
    """

    @abc.abstractmethod
    def build(self, tree: Any, where: str) -> nn.Module:
        """A new encoder of the resolved YAML keys ``encoder``, drawn from torch's random state."""

    @abc.abstractmethod
    def load_reference(self, spec: Any, where: str) -> nn.Module:
        """The encoder that an entry of ``references`` names, in eval mode."""

    @abc.abstractmethod
    def noise(self, count: int, settings: Settings | None = None) -> torch.Tensor:
        """``count`` inputs of noise, on the CPU, to rehearse a training step with.

        They have the shape of training inputs under ``settings``, or are shorter where that would
        take long; None: of any inputs that an encoder takes.
        """

    def whole_noise(self, count: int, settings: Settings) -> torch.Tensor:
        """As ``noise``, of the very shape of training inputs."""
        return self.noise(count, settings)

    def check_head(self, head: nn.Module) -> None:  # noqa: B027 - by default any head will do
        """Raise ``ValueError`` for a task head that cannot be saved or checked with."""

    @abc.abstractmethod
    def rebuild(self, folder: Path, tree: Any, where: str) -> nn.Module:
        """The encoder of a finished member's folder, in eval mode."""

    @abc.abstractmethod
    def save(
        self,
        folder: Path,
        encoder: nn.Module,
        head: nn.Module,
        tree: Any,
        data: TrainingData,
        record: dict[str, Any],
    ) -> None:
        """Write a finished member's folder; ``member.json`` (``record``) comes last.

        Only the first rank calls it.
        """

    def check_start(self, start: str | Path | nn.Module, encoder: nn.Module) -> None:
        """Refuse a member's key ``start`` whose weights do not fit; ``encoder`` may be changed.

        ``start`` is a finished member's folder, or an encoder like that of the earlier member.
        """
        raise UserError("start: members of this kind always start anew; remove the key")

    def load_start(
        self, folder: str | Path, encoder: nn.Module, head: nn.Module, classes: Sequence[str]
    ) -> None:
        """Put a finished member's weights into a new encoder and head, to go on from there."""
        raise UserError(f"start {folder}: members of this kind always start anew; remove the key")


class TrainingData(abc.ABC):
    """Training items with their classes, and the development check that every member shares.

    The whole of what ``train_members`` and ``train_member`` ask of data. Speech is
    ``acorl_sb.training.speech.TrainingSet``; for another kind of data write a class like it::

        class Pictures(TrainingData):
            kind = PictureMembers()         # how its encoders are built and saved
            dev_figure = "dev_error"        # what ``check`` returns, in log and record
            selects = False                 # the last epoch's weights are kept, not the best's

            def __init__(self, split):
                self.classes = split.classes          # names, in label order
                self.labels = split.labels            # class of each of the N items

            def dataset(self, settings, seed):        # dataset[draw, item] -> (input, label, item)
                return Drawn(split, seed)

            def check(self, encoder, head):           # fraction, less is better
                ...

    Attributes
    ----------
    classes : list of str
        Names of the training classes, in label order.
    labels : list of int
        Class of each training item, N of them; -1 where it is not known.
    kind : MemberKind
    dev_figure : str
        Name of what ``check`` returns; smaller is better.
    selects : bool
        Whether a member gets the weights of the epoch with the smallest figure; otherwise it gets
        those of the last.
    weights : (N,) array or None
        How often each item is drawn, mean 1; None: all alike.
    """

    classes: list[str]
    labels: list[int]
    kind: MemberKind
    dev_figure: str = "dev_eer"
    selects: bool = True
    weights: np.ndarray | None = None

    @abc.abstractmethod
    def dataset(self, settings: Settings, seed: int) -> Dataset:
        """Training inputs; indexed with ``(draw, item)`` it gives ``(input, label, item)``.

        ``draw`` is the number of the draw, counted over all of training: whatever is random in an
        input must follow from it and ``seed`` alone, so that an interrupted training goes on as
        if it had never stopped.
        """

    def groups(self, column: str, key: str) -> list[str]:
        """The group of each item, such as the language of its speaker; empty where unknown.

        ``key`` is the YAML's that asks, for messages.
        """
        raise UserError(f"the key {key!r}: these data know no groups; remove it")

    @abc.abstractmethod
    def check(self, encoder: nn.Module, head: nn.Module | None) -> float | None:
        """Development figure of an encoder with its head; every rank calls it.

        A frozen reference has no head (None). None where its figure cannot be known: schedules
        are then not held against it.
        """

    def table(self, encoder: nn.Module, device: torch.device | str, name: str) -> torch.Tensor:
        """View ``utterance``: embeddings (N, D) of all items, by a reference called ``name``."""
        raise NotImplementedError(f"{type(self).__name__} has no view utterance")

    def adapted(self, settings: Settings) -> TrainingData:
        """The data as a member's own settings (its key ``training``) want them."""
        return self
