"""Speech as training data: crops of utterances, speakers as classes, the EER as the check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from speechbrain.processing.features import InputNormalization
from torch import nn

from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.data.manifest import UNLABELLED, Utterance
from acorl_sb.encoders.encoder import SpeakerEncoder, check_same_encoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import (
    build_encoder,
    load_reference,
    rebuild_member,
    save_member,
)
from acorl_sb.encoders.start import check_start, load_start
from acorl_sb.training.balance import balance_weights, speaker_groups
from acorl_sb.training.dataset import CropDataset, as_ratio
from acorl_sb.training.settings import Settings
from acorl_sb.training.train_options import TrainingKeys
from acorl_sb.training.training_data import MemberKind, TrainingData
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.options import Options

_LONGEST = 5.0  # s, of noise to rehearse with; longer crops fail where these do


@dataclass(kw_only=True)
class SpeechSettings(Settings):
    """Settings of speech; all keys of ``TrainingKeys``.

    Arguments
    ---------
    crop_seconds : float
        Length of a training crop, s.
    cache_mb : float
        Decoded audio kept in memory, MB, by each process that loads.
    speeds : sequence of float
        Every utterance is trained on at each of these; a voice at another speed is another speaker.
    cuda_graphs : bool
        Launch the network's kernels together; see ``replay_network``. Nothing on a CPU.
    balance : mapping or None
        Column of the manifest -> strength; see ``acorl_sb.training.balance.balance_weights``.
    objective_within : str or None
        Column of the manifest, or several joined by ``+``: each of the objective's own batches is
        of one of its groups.
    """

    keys: ClassVar[type[Options]] = TrainingKeys

    crop_seconds: float
    cache_mb: float
    speeds: Sequence[float] = (1.0,)
    cuda_graphs: bool = False
    balance: Mapping[str, float] | None = None
    objective_within: str | None = None


class SpeakerMembers(MemberKind):
    """Speaker encoders in folders that SpeechBrain's ``EncoderClassifier`` loads as well."""

    def build(self, tree: Any, where: str) -> SpeakerEncoder:
        encoder = build_encoder(tree, where)
        if encoder.sample_rate != SAMPLE_RATE:
            raise UserError(
                f"{where}: manifests count samples at {SAMPLE_RATE} Hz, so sample_rate cannot be "
                f"{encoder.sample_rate}"
            )
        for module in encoder.modules():
            # Its statistics are in no state dict, so a finished member would lack them.
            if isinstance(module, InputNormalization) and module.norm_type == "global":
                raise UserError(
                    f"{where}: InputNormalization has the norm_type global (its default), whose "
                    "statistics no member's folder keeps; set norm_type to sentence"
                )
        learnt = [
            name
            for name, values in encoder.named_parameters()
            if values.requires_grad and not name.startswith("embedding_model.")
        ]
        if learnt:
            raise UserError(
                f"{where}: {learnt[0]} would be trained, but a member's folder keeps the network "
                "embedding_model alone; set requires_grad to False"
            )
        return encoder

    def noise(self, count: int, settings: Settings | None = None) -> torch.Tensor:
        return _noise(count, min(settings.crop_seconds, _LONGEST) if settings else 1.0)

    def whole_noise(self, count: int, settings: Settings) -> torch.Tensor:
        return _noise(count, settings.crop_seconds)

    def check_head(self, head: nn.Module) -> None:
        if not hasattr(head, "classifier"):
            raise ValueError(
                "a head has its classifier under that name, to be kept with the member"
            )

    def load_reference(self, spec: Any, where: str) -> SpeakerEncoder:
        return load_reference(spec, where)

    def rebuild(self, folder: Path, tree: Any, where: str) -> SpeakerEncoder:
        return rebuild_member(folder, tree, where)

    def save(self, folder, encoder, head, tree, data, record) -> None:
        save_member(folder, encoder, tree, head.classifier, data.classes, record)

    def check_start(self, start: str | Path | nn.Module, encoder: nn.Module) -> None:
        if isinstance(start, nn.Module):
            check_same_encoder(start, encoder)
        else:
            check_start(Path(start), encoder)

    def load_start(self, folder, encoder, head, classes) -> None:
        load_start(folder, encoder, head.classifier, classes)


def _noise(count: int, seconds: float) -> torch.Tensor:
    """Waves (count, T) to compute with in place of speech."""
    return 0.1 * torch.randn(count, max(1, round(seconds * SAMPLE_RATE)))


@dataclass
class TrainingSet(TrainingData):
    """Training utterances and the development check.

    Every utterance counts once at each of ``speeds``: the items are all utterances at the first
    speed, then all at the second, and so on. Those that the manifest's column ``unlabelled`` marks
    have the label -1, and their speakers are no classes.

    Arguments
    ---------
    utterances : sequence of Utterance
    dev_error : callable(encoder) -> float
        Development EER, a fraction; see ``dev_error_function``.
    speeds : sequence of float
    balance : mapping or None
        As in ``SpeechSettings``.

    Raises
    ------
    UserError
        For fewer than two speakers, one whose name no label file can hold, two of one name once
        speeds are named, and a ``balance`` of groups that are not known.

    Example
    -------
    >>> from acorl_sb.data.manifest import Utterance
    >>> utterances = [Utterance(f"{s}-1", 1.0, f"{s}.wav", 0, 16000, s) for s in ("ann", "bob")]
    >>> data = TrainingSet(utterances, lambda encoder: 0.1, speeds=[1.0, 0.9])
    >>> data.classes
    ['ann', 'bob', 'ann x0.9', 'bob x0.9']
    >>> data.labels
    [0, 1, 2, 3]
    """

    kind: ClassVar[MemberKind] = SpeakerMembers()

    utterances: Sequence[Utterance]
    dev_error: Callable[[SpeakerEncoder], float]
    speeds: Sequence[float] = (1.0,)
    balance: Mapping[str, float] | None = None
    classes: list[str] = field(init=False)
    labels: list[int] = field(init=False)

    def __post_init__(self):
        natural = sorted({u.spk_id for u in self.utterances if not u.attribute(UNLABELLED)})
        if len(natural) < 2:
            raise UserError(
                f"the training manifest has {len(natural)} speaker; at least two are needed"
            )
        for speaker in natural:
            if " => " in speaker:  # SpeechBrain's CategoricalEncoder ends a label there
                raise UserError(
                    f"the training speaker {speaker!r}: ' => ' cannot be in the name of a speaker, "
                    "which label files end with it; name the speaker otherwise"
                )
        # A voice at another speed has another pitch: it counts as another speaker.
        self.classes = [
            speaker if speed == 1 else f"{speaker} x{speed:g}"
            for speed in self.speeds
            for speaker in natural
        ]
        if len({as_ratio(speed) for speed in self.speeds}) < len(self.speeds):
            raise UserError(f"speeds: two of {list(self.speeds)} are the same within 1 %")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise UserError(
                f"two training speakers would be {twice!r}, as a voice at another speed is named; "
                "rename the speaker, or give other speeds"
            )
        index = {speaker: label for label, speaker in enumerate(natural)}
        of_utterance = [-1 if u.attribute(UNLABELLED) else index[u.spk_id] for u in self.utterances]
        self.labels = [
            label if label < 0 else len(natural) * i + label
            for i in range(len(self.speeds))
            for label in of_utterance
        ]
        if self.balance:
            self.weights = np.tile(balance_weights(self.utterances, self.balance), len(self.speeds))

    def dataset(self, settings: SpeechSettings, seed: int) -> CropDataset:
        return CropDataset(
            self.utterances,
            self.labels,
            settings.crop_seconds,
            seed,
            cache_mb=settings.cache_mb,
            speeds=self.speeds,
        )

    def check(self, encoder: SpeakerEncoder, head: nn.Module | None) -> float:
        return self.dev_error(encoder)

    def table(self, encoder: SpeakerEncoder, device, name: str) -> torch.Tensor:
        title = f"reference {name}"
        return embed_utterances(
            encoder, self.utterances, device=device, progress=title, shared=True
        )

    def groups(self, column: str, key: str) -> list[str]:
        """The group of each item; empty where unknown. ``key`` asks for it.

        Raises ``UserError`` for a column that the manifest lacks or that is empty.
        """
        found = speaker_groups(self.utterances, column, key)
        if not any(found):
            raise UserError(f"the key {key!r}: no training speaker has a {column}")
        return found * len(self.speeds)

    def adapted(self, settings: SpeechSettings) -> TrainingSet:
        speeds, balance = list(settings.speeds), settings.balance
        same = speeds == list(self.speeds) and balance == self.balance
        return self if same else replace(self, speeds=speeds, balance=balance)


def dev_error_function(
    utterances: Sequence[Utterance],
    score: Callable[[np.ndarray], float],
    seconds: float | None,
    device: torch.device | str,
) -> Callable[[SpeakerEncoder], float]:
    """The check that chooses checkpoints: the EER on the development trials.

    Arguments
    ---------
    utterances : sequence of Utterance
    score : callable(embeddings) -> float
        Takes the embeddings (N, D) of ``utterances`` and gives the EER, a fraction.
    seconds : float or None
        Centre crop that is embedded; None: whole utterances.
    device : torch device

    Returns
    -------
    callable(encoder) -> float
        Raises ``UserError`` for embeddings that are not finite.
    """

    def dev_error(encoder: SpeakerEncoder) -> float:
        z = embed_utterances(encoder, utterances, seconds, device=device, shared=True)
        if not bool(torch.isfinite(z).all()):  # the last step's loss still was
            raise UserError(
                "embeddings of development utterances are not finite: training has diverged; lower "
                "the learning rate or the weight of the complementarity loss and train in another "
                "output_folder"
            )
        return score(z.numpy())

    return dev_error
