"""speechocean762 (OpenSLR SLR101): English by native speakers of Mandarin, half of them children.

Layout: ``train/`` and ``test/`` in Kaldi's style (``wav.scp``, ``utt2spk`` and, where they are
there, ``spk2gender`` and ``spk2age``), audio below ``WAVE/`` in any format that soundfile reads.
The official test speakers test; development speakers are held out of the official training
speakers. Each speaker was recorded once, so sessions are not known and target trials are within one
session.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import is_audio, require_folder, utterances
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_lines


def collect(data_folder: Path | None) -> Corpus:
    """The official training and test utterances."""
    root = require_folder(data_folder, "speechocean762 (train/, test/, WAVE/)")
    return Corpus(train=_subset(root, "train"), test=_subset(root, "test"))


def _subset(root: Path, name: str) -> list[Utterance]:
    wav = _table(root / name / "wav.scp")
    speaker = _table(root / name / "utt2spk")
    gender, age = (
        _table(path) if path.is_file() else {}
        for path in (root / name / "spk2gender", root / name / "spk2age")
    )
    rows = []
    for utterance, path in wav.items():
        if utterance not in speaker:
            raise UserError(f"{root / name / 'utt2spk'}: no speaker for utterance {utterance}")
        spk = speaker[utterance]
        rows.append((utterance, _locate(root / path), spk, "", gender.get(spk, "")))
    return utterances(rows, attributes={spk: {"age": years} for spk, years in age.items()})


def _locate(path: Path) -> Path:
    """The file, or the one that it has been converted to: of its name with another extension."""
    if os.path.isfile(path) or not os.path.isdir(path.parent):
        return path
    other = sorted(p for p in path.parent.glob(f"{glob.escape(path.stem)}.*") if is_audio(p))
    return other[0] if other else path


def _table(path: Path) -> dict[str, str]:
    """A Kaldi table: ``key value`` per line."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; speechocean762's layout is train/wav.scp, train/utt2spk, "
            "train/spk2gender, the same in test/, and WAVE/"
        )
    table: dict[str, str] = {}
    for number, line in enumerate(read_lines(path, "table"), 1):
        fields = line.split(maxsplit=1)
        if len(fields) != 2:
            raise UserError(f"{path} line {number}: expected a key and a value, got {line!r}")
        table[fields[0]] = fields[1].strip()
    if not table:
        raise UserError(f"{path}: the file is empty")
    return table
