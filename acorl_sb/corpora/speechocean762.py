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
from acorl_sb.corpora.kaldi_folder import read_table
from acorl_sb.corpora.listing import is_audio, require_folder, utterances
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError


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
    """Key -> value of one of the corpus's tables."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; speechocean762's layout is train/wav.scp, train/utt2spk, "
            "train/spk2gender, the same in test/, and WAVE/"
        )
    return {key: value for key, (value, _) in read_table(path).items()}
