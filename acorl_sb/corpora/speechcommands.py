"""Speech Commands (Warden 2018, CC BY 4.0): short English words, each account a speaker.

Layout: ``<speaker>/<utterance>``, the speaker as the corpus's eight hexadecimal digits, several
one-second words joined to an utterance. Sessions are not known. There is no split: it is meant for
more training speakers (``more_training`` of :func:`acorl_sb.corpora.prepare`); used alone,
development and test speakers are held out.
"""

from __future__ import annotations

import re
from pathlib import Path

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import audio_files, require_folder, utterances
from acorl_sb.utils.errors import UserError

_LAYOUT = "the layout is <speaker>/<utterance>, a speaker eight hexadecimal digits"
_SPEAKER = re.compile(r"[0-9a-f]{8}")


def collect(data_folder: Path | None) -> Corpus:
    """All utterances, for training."""
    root = require_folder(data_folder, "Speech Commands (a folder for each speaker)")
    if (root / "SpeechCommands").is_dir():
        root = root / "SpeechCommands"
    rows = []
    for path in audio_files(root):
        parts = path.relative_to(root).parts
        if len(parts) != 2 or not _SPEAKER.fullmatch(parts[0]):
            raise UserError(f"{path}: not where Speech Commands would have it; {_LAYOUT}")
        rows.append((f"{parts[0]}-{path.stem}", path, parts[0], "", ""))
    if not rows:
        raise UserError(f"{root}: no audio found; {_LAYOUT}")
    return Corpus(train=utterances(rows))
