"""VoxCeleb1 and 2: celebrities' speech from videos; a video is a session.

Layout: ``id10001/<video>/00001.wav`` below any folders, such as ``wav/``, ``vox1/dev/wav/`` or
``vox2/dev/aac/``; audio that soundfile reads, or ``.m4a``. IDs are spelt as in the official lists,
``id10001/<video>/00001.wav``, whatever the format on disk. Genders come from ``vox1_meta.csv`` and
``vox2_meta.csv``, where they are present.

The speakers of the trial lists test; all others train. Development speakers are held out of these.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import (
    is_audio,
    is_folder,
    list_folder,
    require_folder,
    utterances,
    walk,
)
from acorl_sb.data.protocols import find_protocol
from acorl_sb.data.trials import TrialList, read_trials
from acorl_sb.utils.downloads import check_hash, download
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_lines

logger = logging.getLogger(__name__)

OFFICIAL_LISTS = ("O", "E", "H")
"""The cleaned lists of VoxCeleb1: original, extended (all speakers), hard (same sex and nation)."""

_LAYOUT = "VoxCeleb's layout is id10001/<video>/00001.wav, below wav/, dev/aac/ or the like"
_SPEAKER = re.compile(r"id\d{5}")
_PREFERRED = (".wav", ".flac")  # where one utterance lies there in several formats


class _Row(NamedTuple):
    id: str
    path: str
    spk: str
    video: str
    gender: str


def collect(
    data_folder: Path | None,
    save_folder: Path,
    trials: str | Sequence[str] | None = "O",
    test_speakers_in_training: bool = False,
) -> Corpus:
    """Training utterances and those that the trial lists name.

    ``trials`` is one or more of O, E, H (the official cleaned lists, looked for in the data folder
    and in ``meta/`` there, else downloaded and checked against their hashes), paths, or URLs
    (https, checked where ``#sha256=`` and the hash end it; kept in ``save_folder``); the first is
    the test list. With None, test speakers are held out as from any corpus.
    ``test_speakers_in_training`` lets the speakers of the lists train with the utterances that no
    list names.

    Raises ``UserError`` for an unknown layout, a list that cannot be had, two lists of one name,
    trials that name utterances that are not there, and where the lists leave fewer than two
    training speakers.
    """
    root = require_folder(data_folder, "VoxCeleb (folders id10001/ and the like)")
    named = {} if trials is None else _labelled(trials)
    rows = _scan(root)
    journal = save_folder / "headers.tsv"
    if trials is None:
        return Corpus(train=utterances(rows, journal))
    # An official list counts as it is, should it hold a pair twice.
    lists = {k: read_trials(_find_list(n, root, save_folder), "keep") for k, n in named.items()}
    known = {row.id for row in rows}
    for name, listed in lists.items():
        missing = [utterance for utterance in listed.ids if utterance not in known]
        if missing:
            raise UserError(
                f"trial list {name}: {len(missing)} of its {len(listed.ids)} utterances are not "
                f"below {root}, the first is {missing[0]}"
            )
    train, test = _part(rows, lists, test_speakers_in_training)
    if len({row.spk for row in train}) < 2:
        raise UserError(
            f"trial list {', '.join(lists)}: its speakers are all that there are below {root}, and "
            "test speakers do not train; bring VoxCeleb2 too, choose another list, or allow it "
            "with test_speakers_in_training"
        )
    first, *others = lists
    return Corpus(
        train=utterances(train, journal),
        test=utterances(test, journal),
        test_trials=lists[first],
        more_trials={name: lists[name] for name in others},
        shared_speakers=test_speakers_in_training,
    )


def _part(
    rows: Sequence[_Row], lists: dict[str, TrialList], allowed: bool
) -> tuple[list[_Row], list[_Row]]:
    """Rows that train and rows that the lists name."""
    listed = {utterance for trials in lists.values() for utterance in trials.ids}
    speakers = {utterance.partition("/")[0] for utterance in listed}
    test = [row for row in rows if row.id in listed]
    if allowed:
        return [row for row in rows if row.id not in listed], test
    train = [row for row in rows if row.spk not in speakers]
    logger.info(
        "%d test speakers are kept out of training, with %d utterances that no trial names",
        len(speakers),
        len(rows) - len(train) - len(test),
    )
    return train, test


def _scan(root: Path) -> list[_Row]:
    """Every utterance below ``root``, once, in the order of the IDs."""
    gender = _genders(root)
    found: dict[str, _Row] = {}
    for folder in _speaker_folders(root):
        spk = os.path.basename(folder)
        for video in list_folder(folder):
            if not is_folder(video):
                if is_audio(video.name):
                    raise UserError(f"{video.path}: audio outside of a video's folder; {_LAYOUT}")
                continue
            for file in list_folder(video.path):
                stem, extension = os.path.splitext(file.name)
                if not is_audio(file.name):
                    continue
                name = f"{spk}/{video.name}/{stem}.wav"
                if name not in found or _rank(extension) < _rank(found[name].path):
                    found[name] = _Row(name, file.path, spk, video.name, gender.get(spk, ""))
    if not found:
        raise UserError(f"{root}: no audio of VoxCeleb found; {_LAYOUT}")
    return [found[name] for name in sorted(found)]


def _speaker_folders(root: Path) -> list[str]:
    found: list[str] = []
    for parent, folders, _ in walk(root):
        found += [os.path.join(parent, name) for name in folders if _SPEAKER.fullmatch(name)]
        folders[:] = [name for name in folders if not _SPEAKER.fullmatch(name)]
    return sorted(found)


def _rank(path: str) -> int:
    extension = os.path.splitext(path)[1].lower() or path.lower()
    return _PREFERRED.index(extension) if extension in _PREFERRED else len(_PREFERRED)


def _genders(root: Path) -> dict[str, str]:
    """Speaker -> ``m`` or ``f`` from the meta files: comma or tab separated, sex by itself."""
    genders = {}
    for path in sorted({*root.glob("vox*_meta.csv"), *root.glob("*/vox*_meta.csv")}):
        for line in read_lines(path, "table of speakers"):
            fields = [field.strip() for field in re.split(r"[,\t]", line)]
            sex = [field for field in fields[1:] if field in ("m", "f")]
            if _SPEAKER.fullmatch(fields[0]) and sex:
                genders[fields[0]] = sex[0]
    return genders


def _labelled(trials: str | Sequence[str]) -> dict[str, str]:
    """Label, for messages and file names (O, E, H or the file's stem) -> list, in order."""
    lists: dict[str, str] = {}
    for name in map(str, [trials] if isinstance(trials, (str, os.PathLike)) else trials):
        label = name if name in OFFICIAL_LISTS else Path(name).stem
        if label in lists:
            raise UserError(
                f"trials: {lists[label]} and {name} would both be the list {label!r}; rename one "
                "of the files, or leave it out"
            )
        lists[label] = name
    if not lists:
        raise UserError("trials: the list of trial lists is empty; name one, or give null for none")
    return lists


def _find_list(name: str, root: Path, save_folder: Path) -> Path:
    """The path of a trial list, downloaded to ``save_folder`` if it has to be."""
    if name in OFFICIAL_LISTS:
        protocol = find_protocol(name)
        for path in (root / protocol.file, root / "meta" / protocol.file):
            if path.is_file():
                return path
        return _download(protocol.url, save_folder / protocol.file, "md5", protocol.md5)
    if "://" in name:
        url, _, digest = name.partition("#sha256=")
        file = Path(urlsplit(url).path)
        # Many sites have a list of the same name, and a preparation has files of its own.
        mark = hashlib.sha256(url.encode()).hexdigest()[:10]
        kept = save_folder / f"{file.stem}-{mark}{file.suffix}"
        return _download(url, kept, "sha256", digest)
    if not Path(name).is_file():
        raise UserError(f"{name}: no such trial list; name a file, a URL, or O, E or H")
    return Path(name)


def _download(url: str, path: Path, algorithm: str, digest: str) -> Path:
    """The list at ``path``, downloaded if it is not there; checked where a hash is known."""
    if not path.is_file():
        download(url, path, algorithm, digest)
    elif digest:
        check_hash(path, algorithm, digest)
    return path
