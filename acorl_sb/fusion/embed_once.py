"""Embeddings that are kept: an evaluation that was interrupted does not make them again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from acorl_sb.data.embeddings import Embeddings, read_embeddings, write_embeddings
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.tar_audio import file_of
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.weights import encoder_hash
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json

logger = logging.getLogger(__name__)
RECORD = "made_of.json"


def embed_once(
    encoder: SpeakerEncoder,
    source: str,
    utterances: Sequence[Utterance],
    folder: Path,
    seconds: float | None,
    device: torch.device | str,
    title: str,
) -> Embeddings:
    """Embeddings of utterances, written to ``folder``, or read from there if they are the same.

    Arguments
    ---------
    encoder : SpeakerEncoder
    source : str
        What the user calls the encoder.
    utterances : sequence of Utterance
    folder : Path
        Holds the embeddings, and in ``made_of.json`` the ``encoder_hash`` and what tells audio
        apart: ids, crops, and the sizes and times of change of the files.
    seconds : float or None
        See ``embed_utterances``.
    device : torch device
    title : str
        Of the progress bar, and in the log.

    Returns
    -------
    Embeddings

    Raises
    ------
    UserError
        For audio that cannot be read.
    """
    wanted = _made_of(encoder, source, utterances, seconds)
    try:
        if json.loads((folder / RECORD).read_text(encoding="utf-8")) == wanted:
            made = read_embeddings(folder)
            logger.info("%s: %d utterances, made before", title, len(made.ids))
            return made
    except (OSError, ValueError, UserError):
        pass  # none there, or not whole
    (folder / RECORD).unlink(missing_ok=True)
    vectors = embed_utterances(encoder, utterances, seconds, device=device, progress=title).numpy()
    made = Embeddings([u.id for u in utterances], vectors)
    write_embeddings(folder, made)
    write_json(folder / RECORD, wanted)
    logger.info("%s: %d utterances", title, len(utterances))
    return made


def _made_of(
    encoder: SpeakerEncoder, source: str, utterances: Sequence[Utterance], seconds: float | None
) -> dict[str, Any]:
    audio = hashlib.sha256()
    for u in utterances:
        try:
            status = os.stat(file_of(u.wav))
            file = [status.st_size, status.st_mtime_ns]
        except OSError:  # embedding it says what is wrong
            file = []
        audio.update(json.dumps([u.id, u.wav, u.start, u.stop, *file]).encode())
    return {
        "encoder": source,
        "hash": encoder_hash(encoder),
        "audio": audio.hexdigest(),
        "seconds": seconds,
    }
