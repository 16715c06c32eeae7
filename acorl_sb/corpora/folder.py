"""Anybody's own recordings: ``<speaker>/[<session>/]<utterance>.<extension>``.

Folders below the session are part of the session's name. IDs are the relative paths without
extension, with white space turned into underscores.
"""

from __future__ import annotations

import logging
from pathlib import Path

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import (
    audio_files,
    is_folder,
    list_folder,
    require_folder,
    utterances,
)
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import shown

logger = logging.getLogger(__name__)


def collect(data_folder: Path | None) -> Corpus:
    """All utterances; test and development speakers are held out of them."""
    root = require_folder(data_folder, "a folder of the form speaker/[session/]utterance.wav")
    rows = []
    for path in audio_files(root):
        parts = path.relative_to(root).parts
        if len(parts) == 1:
            raise UserError(
                f"{path}: the audio is not in a speaker's folder; "
                "the layout is <speaker>/[<session>/]<utterance>.<extension>"
            )
        spk, *session, _ = parts
        name = "_".join("/".join((spk, *session, path.stem)).split())
        rows.append((name, path, spk, "/".join(session), ""))
    if not rows:
        raise UserError(f"{root}: no file with an audio extension in it or below")
    speakers = {row[2] for row in rows}
    if len(speakers) < 2:
        raise UserError(f"{root}: fewer than two speakers (only {speakers.pop()})")
    for entry in list_folder(root):
        if is_folder(entry) and entry.name not in speakers and not entry.name.startswith("."):
            logger.warning("%s: no audio in this folder, so no speaker", shown(entry.path))
    return Corpus(train=utterances(rows))
