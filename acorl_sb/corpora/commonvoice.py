"""Common Voice (Mozilla, CC0): read speech in many languages, each account a speaker.

Layout: ``{several,one}/<language>__<account>/<session>/<clip>``, below the data folder or below
``CommonVoice/`` in it, and ``speakers.csv`` with the columns speaker, language, gender, age and
sessions. Speakers with several sessions develop and test, half each; of those with one session a
half trains and a quarter each develops and tests. Which is which is dealt out language by language,
so every language is on all sides where it has enough speakers. Impostors speak the same language:
between languages the trials are too easy.

An account may be shared by several people, and one person may have two accounts. ``dropped`` names
a text file of speakers to leave out, one a line; what follows a ``#`` is a comment.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from collections import defaultdict
from pathlib import Path

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import audio_files, require_folder, utterances
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_lines, read_text

logger = logging.getLogger(__name__)

_LAYOUT = "Common Voice's layout here is {several,one}/<language>__<account>/<session>/<clip>"
_GENDERS = {"male": "m", "female": "f"}
_KEPT = ("language", "age", "accent")  # columns that the manifest keeps beside the gender
_SPLITS = {"several": ("dev", "test"), "one": ("train", "dev", "train", "test")}


def collect(data_folder: Path | None, dropped: str | None = None) -> Corpus:
    """The utterances of all accounts that are not dropped, split by speaker."""
    root = require_folder(data_folder, "Common Voice ({several,one}/ and speakers.csv)")
    if not (root / "speakers.csv").is_file() and (root / "CommonVoice").is_dir():
        root = root / "CommonVoice"
    table = _table(root / "speakers.csv")
    left_out = read_dropped(dropped)
    found: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
    seen: set[str] = set()
    for part, splits in _SPLITS.items():
        clips = _clips(root / part, table)
        seen |= clips.keys()
        kept = [speaker for speaker in clips if speaker not in left_out]
        for speaker, split in deal(kept, splits).items():
            found[split] += clips[speaker]
    if not seen:
        raise UserError(f"{root}: no audio found; {_LAYOUT}")
    if left_out:
        logger.info("%s: %d speakers left out", dropped, len(left_out & seen))
    return Corpus(**found, impostor_group=language)


def language(utterance: Utterance) -> str:
    """The language that an account's name begins with."""
    return utterance.spk_id.partition("__")[0]


def deal(speakers: list[str], splits: tuple[str, ...]) -> dict[str, str]:
    """Speaker -> split: dealt out in turn, language by language, in the order of a hash.

    The order within a language does not follow the names, so that neither does the split.
    """
    by_language: dict[str, list[str]] = defaultdict(list)
    for speaker in speakers:
        by_language[speaker.partition("__")[0]].append(speaker)
    order = [
        speaker
        for name in sorted(by_language)
        for speaker in sorted(by_language[name], key=_digest)
    ]
    return {speaker: splits[i % len(splits)] for i, speaker in enumerate(order)}


def read_dropped(path: str | None) -> set[str]:
    """The speakers that a file lists, one a line; none for None."""
    if path is None:
        return set()
    lines = read_lines(path, "list of dropped speakers")
    return {name for line in lines if (name := line.partition("#")[0].strip())}


def _digest(speaker: str) -> str:
    return hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest()


def _clips(folder: Path, table: dict[str, dict[str, str]]) -> dict[str, list[Utterance]]:
    """Speaker -> utterances of one part; empty where the part is not there."""
    rows = []
    for path in audio_files(folder) if folder.is_dir() else []:
        parts = path.relative_to(folder).parts
        if len(parts) != 3 or "__" not in parts[0]:
            raise UserError(f"{path}: not where it should be; {_LAYOUT}")
        speaker, session, _ = parts
        name = f"{speaker}-{session}-{path.stem}"
        gender = _GENDERS.get(table.get(speaker, {}).get("gender", ""), "")
        rows.append((name, path, speaker, session, gender))
    clips: dict[str, list[Utterance]] = defaultdict(list)
    known = {
        speaker: {key: row[key] for key in _KEPT if row.get(key)} for speaker, row in table.items()
    }
    for utterance in utterances(rows, attributes=known):
        clips[utterance.spk_id].append(utterance)
    return clips


def _table(path: Path) -> dict[str, dict[str, str]]:
    """Speaker -> its row of the table."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; it lists speaker, language, gender, age, sessions")
    table = csv.DictReader(io.StringIO(read_text(path, "table of speakers"), newline=""))
    try:
        if not {"speaker", "gender"} <= set(table.fieldnames or ()):
            raise UserError(f"{path} line 1: the columns speaker and gender are needed")
        return {
            row["speaker"]: {k: v for k, v in row.items() if isinstance(v, str)} for row in table
        }
    except csv.Error as error:
        raise UserError(f"{path} line {table.line_num}: not a CSV file ({error})") from None
