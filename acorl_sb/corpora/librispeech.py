"""LibriSpeech (OpenSLR SLR12): read English; a chapter is a session.

Layout: ``<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.<extension>``, below the data
folder or below ``LibriSpeech/`` in it; the data folder may also be one subset. Subsets named
``train-*`` train, ``dev-*`` develop, ``test-*`` test. Genders come from ``SPEAKERS.TXT``, where it
is present.
"""

from __future__ import annotations

import logging
from pathlib import Path

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import audio_files, list_folder, require_folder, utterances
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_lines

logger = logging.getLogger(__name__)

_LAYOUT = (
    "LibriSpeech's layout is <subset>/<speaker>/<chapter>/*.flac, subsets like train-clean-100"
)


def collect(data_folder: Path | None) -> Corpus:
    """Utterances of the subsets that are present, by the split that their names say."""
    root = require_folder(data_folder, "LibriSpeech (train-clean-100/ and the like)")
    if not _subsets(root) and (root / "LibriSpeech").is_dir():
        root = root / "LibriSpeech"
    subsets = [root] if _is_subset(root) else _subsets(root)
    gender = _genders(root / "SPEAKERS.TXT") or _genders(root.parent / "SPEAKERS.TXT")
    found: dict[str, list[Utterance]] = {split: [] for split in _SPLITS}
    for subset in subsets:
        split = subset.name.partition("-")[0]
        found[split] += _utterances(subset, gender)
    if not any(found.values()):
        raise UserError(f"{root}: no audio found; {_LAYOUT}")
    if not found["train"]:
        # Only dev-* or test-* was brought: a set of its own, split by speaker.
        return Corpus(train=found["dev"] + found["test"])
    return Corpus(found["train"], found["dev"], found["test"])


_SPLITS = ("train", "dev", "test")


def _subsets(root: Path) -> list[Path]:
    return [Path(entry.path) for entry in list_folder(root) if _is_subset(Path(entry.path))]


def _is_subset(path: Path) -> bool:
    split, dash, _ = path.name.partition("-")
    return path.is_dir() and bool(dash) and split in _SPLITS


def _utterances(subset: Path, gender: dict[str, str]) -> list[Utterance]:
    rows = []
    for path in audio_files(subset):
        parts = path.relative_to(subset).parts
        if len(parts) != 3 or not path.stem.startswith(f"{parts[0]}-{parts[1]}-"):
            raise UserError(f"{path}: not where LibriSpeech would have it; {_LAYOUT}")
        spk, chapter, _ = parts
        rows.append((path.stem, path, spk, chapter, gender.get(spk, "")))
    if not rows:
        raise UserError(f"{subset}: no audio found; {_LAYOUT}")
    return utterances(rows)


def _genders(path: Path) -> dict[str, str]:
    """Speaker -> ``m`` or ``f`` from SPEAKERS.TXT: ``ID | SEX | SUBSET | MINUTES | NAME``."""
    if not path.is_file():
        return {}
    genders = {}
    for line in read_lines(path, "table of speakers"):
        fields = [field.strip() for field in line.split("|")]
        if not line.startswith(";") and len(fields) > 1:
            genders[fields[0]] = fields[1].lower()
    return genders
