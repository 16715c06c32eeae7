"""Where a system's embeddings come from: files, or an encoder and a manifest of audio."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from acorl_sb.data.embeddings import Embeddings, read_embeddings, write_embeddings
from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.speakers import by_table, read_speakers
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import load_member, read_labels
from acorl_sb.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Embeddings of one set of utterances by one system.

    ``path`` is an embedding file (or our embeddings folder), or a member folder, whose encoder then
    embeds the audio of ``manifest``, the centre ``seconds`` of each utterance or all of it.
    ``trust`` lets an encoder's folder run code, see ``acorl_sb.encoders.trusted``.
    """

    path: str
    manifest: str | None = None
    seconds: float | None = None
    trust: bool = False

    @property
    def is_encoder(self) -> bool:
        return (Path(self.path) / "embedding_model.ckpt").is_file()

    def read(
        self, keep: str | os.PathLike, device: torch.device | str, only: Sequence[str] | None = None
    ) -> Embeddings:
        """Read or compute the embeddings; computed ones are written to the folder ``keep``.

        ``only`` are the utterances that are needed: an encoder embeds no others. Raises
        ``UserError`` for what ``read_embeddings`` and ``load_member`` refuse, an encoder without a
        manifest, and a manifest that lacks a needed utterance.
        """
        if not self.is_encoder:
            return read_embeddings(self.path)
        if self.manifest is None:
            raise UserError(
                f"{self.path} is an encoder's folder: give the manifest of the audio to embed"
            )
        utterances = read_manifest(self.manifest)
        if only is not None:
            table = Embeddings([u.id for u in utterances], np.zeros((len(utterances), 1)))
            utterances = [utterances[row] for row in np.unique(table.index(only, self.manifest))]
        encoder, title = load_member(self.path, self.trust), f"embed {Path(keep).parent.name}"
        vectors = embed_utterances(
            encoder, utterances, self.seconds, device=device, progress=title
        ).numpy()
        made = Embeddings([u.id for u in utterances], vectors)
        write_embeddings(keep, made)
        logger.info("embedded %d utterances with %s", len(utterances), self.path)
        return made

    def training_speakers(self) -> list[str]:
        """The speakers that an encoder was trained on, by its label file; else none.

        With a voice at another speed as itself, too. Raises ``UserError`` for a damaged file.
        """
        if not self.is_encoder:
            return []
        for name in ("label_encoder.ckpt", "label_encoder.txt"):
            path = Path(self.path) / name
            if path.is_file():
                return list({same: None for s in read_labels(path) for same in (s, _natural(s))})
        return []


def _natural(speaker: str) -> str:
    return re.sub(r" x\d[\d.e+-]*$", "", speaker)


@dataclass
class LabelledSet:
    """One set of utterances with known speakers: the training set or the cohort of every system.

    ``sources`` by system; ``speakers`` is a manifest or utt2spk file.
    """

    what: str
    sources: dict[str, Source]
    speakers: str | None
    _table: dict[str, str] | None = field(default=None, repr=False)

    def read(
        self, system: str, keep: str | os.PathLike, device: torch.device | str
    ) -> tuple[Embeddings, list[str] | None]:
        """One system's embeddings and their speakers; no speakers where no file tells them."""
        if system not in self.sources:
            raise UserError(f"{self.what}: there are no embeddings for the system '{system}'")
        made = self.sources[system].read(keep, device)
        if self.speakers is None:
            return made, None
        return made, by_table(made.ids, self.table(), str(self.speakers))

    def table(self) -> dict[str, str]:
        """Utterance -> speaker."""
        if self._table is None:
            self._table = read_speakers(self.speakers) if self.speakers else {}
        return self._table
