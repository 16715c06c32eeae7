"""Lhotse's manifests (https://github.com/lhotse-speech/lhotse): cuts, or recordings with segments.

The folder holds ``cuts.jsonl.gz``, or ``recordings.jsonl.gz`` and ``supervisions.jsonl.gz``; names
may have a prefix and a part, as ``librispeech_cuts_train-clean-100.jsonl.gz``, and ``.gz`` may be
missing. A part that begins with train, dev or test is that split; without one all train. The
``data_folder`` may be one file of cuts, too. Every supervision is an utterance, of its speaker and
under its ID; its recording is its session. Audio is read from files alone: what a command, an
address or an augmentation makes is refused.
"""

from __future__ import annotations

import contextlib
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.listing import list_folder, require_folder
from acorl_sb.corpora.stretches import Row, located, stretches
from acorl_sb.data.manifest import FIELDS
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import shown

_NAME = re.compile(r"(?:.*[_.-])?(cuts|recordings|supervisions)(?:[_.-](.+))?\.jsonl(?:\.gz)?")
_SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "test": "test", "eval": "test"}
_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f"}
_DAMAGED = (
    *(ValueError, TypeError, KeyError, AttributeError, AssertionError, RecursionError),
    *(OSError, EOFError, zlib.error),
)


class _Part(NamedTuple):
    """Manifests that belong together, by kind."""

    split: str
    files: dict[str, Path]


def collect(data_folder: Path | None) -> Corpus:
    """The supervisions of all manifests of a folder, or of one file of cuts."""
    if data_folder is not None and data_folder.is_file():
        parts = [_Part("train", {"cuts": data_folder})]
    else:
        parts = _parts(require_folder(data_folder, "Lhotse's manifests"))
    rows: dict[str, list[Row]] = defaultdict(list)
    for part in parts:
        rows[part.split] += _cuts(part) if "cuts" in part.files else _joined(part)
    if not rows["train"]:
        raise UserError(f"{data_folder}: there is no utterance to train on")
    return Corpus(**{split: stretches(of_split) for split, of_split in rows.items()})


def _parts(folder: Path) -> list[_Part]:
    """The manifests of a folder, in the order of their names."""
    found: dict[str, _Part] = {}
    for entry in list_folder(folder):
        named = _NAME.fullmatch(entry.name)
        if named is None:
            continue
        kind, part = named[1], named[2] or ""
        split = next((s for head, s in _SPLITS.items() if part.lower().startswith(head)), None)
        if part and split is None:
            raise UserError(
                f"{shown(entry.path)}: whether {part!r} trains or tests is not known; let the part "
                f"begin with one of {', '.join(_SPLITS)}, or name the file of cuts by itself"
            )
        rest = entry.name[: named.start(1)] + entry.name[named.end(1) :].removesuffix(".gz")
        files = found.setdefault(rest, _Part(split or "train", {})).files
        if kind in files:
            raise UserError(f"{shown(entry.path)}: also there as {files[kind].name}; keep one")
        files[kind] = Path(entry.path)
    for part in found.values():
        lacking = {"recordings", "supervisions"} - part.files.keys()
        if "cuts" not in part.files and lacking:
            there = next(iter(part.files.values()))
            raise UserError(f"{shown(there)}: no {lacking.pop()} beside it, nor cuts")
    if not found:
        raise UserError(f"{folder}: neither cuts.jsonl.gz nor recordings.jsonl.gz is there")
    return list(found.values())


def _cuts(part: _Part) -> Iterator[Row]:
    path = part.files["cuts"]
    for where, cut in _read(path):
        if type(cut).__name__ not in ("MonoCut", "MultiCut"):
            raise UserError(f"{where}: a stretch of one recording is expected, not a mixture")
        if cut.recording is None:
            raise UserError(f"{where}: the cut has no recording, only features")
        if not cut.supervisions:
            raise UserError(f"{where}: the cut has no supervision, so its speaker is not known")
        for spoken in cut.supervisions:
            with _legible(where):
                start, end = max(spoken.start, 0.0), min(spoken.end, cut.duration)
                row = _row(where, path, cut.recording, spoken, cut.start + start, cut.start + end)
            yield row


def _joined(part: _Part) -> Iterator[Row]:
    path = part.files["recordings"]
    recordings = {recording.id: recording for _, recording in _read(path, "Recording")}
    for where, spoken in _read(part.files["supervisions"], "SupervisionSegment"):
        if spoken.recording_id not in recordings:
            name = spoken.recording_id
            raise UserError(f"{where}: the recording {name!r} is not in {shown(path)}")
        recording = recordings[spoken.recording_id]
        with _legible(where):
            row = _row(where, path, recording, spoken, spoken.start, spoken.end)
        yield row


@contextlib.contextmanager
def _legible(where: str) -> Iterator[None]:
    """``UserError`` for what Lhotse, or its objects of wrong kinds, fail with."""
    try:
        yield
    except _DAMAGED as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:120]
        raise UserError(f"{where}: no manifest of Lhotse's ({reason})") from None


def _read(path: Path, kind: str | None = None) -> Iterator[tuple[str, Any]]:
    """(where it stands, what Lhotse makes of it) of every line of a manifest."""
    try:
        from lhotse.serialization import deserialize_item, load_jsonl
    except ImportError:
        raise UserError(
            "manifests of Lhotse's need the package lhotse: pip install lhotse"
        ) from None
    number, lines = 0, load_jsonl(path.resolve())
    while True:
        where = f"{shown(path)} line {number + 1}"
        with _legible(where):
            item = next(lines, None)
            made = None if item is None else deserialize_item(item)
        if item is None:
            break
        if kind is not None and type(made).__name__ != kind:
            raise UserError(f"{where}: a {kind} is expected, not a {type(made).__name__}")
        yield where, made
        number += 1
    if not number:
        raise UserError(f"{shown(path)}: the manifest is empty")


def _row(where: str, path: Path, recording: Any, spoken: Any, start: float, end: float) -> Row:
    """An utterance, after a look at what its recording is made of."""
    sources = recording.sources
    kinds = [source.type for source in sources]
    if kinds != ["file"]:
        raise UserError(
            f"{where}: the audio of {recording.id!r} is of the kind {' and '.join(kinds)!r}, and "
            "nothing is run or fetched; write it to a file first (Lhotse's save_audios)"
        )
    if recording.transforms:
        raise UserError(f"{where}: {recording.id!r} is an augmentation; write it to a file first")
    if len(sources[0].channels) != 1:
        raise UserError(
            f"{where}: {recording.id!r} has {len(sources[0].channels)} channels; write the "
            "speaker's own to a file first"
        )
    if not spoken.speaker:
        raise UserError(f"{where}: the supervision {spoken.id!r} has no speaker")
    known = {"language": spoken.language, **(spoken.custom or {})}
    attributes = {
        name: str(value)
        for name, value in known.items()
        if isinstance(value, str | int | float) and str(value) and name not in FIELDS
    }
    audio = located(str(sources[0].source), path.parent)
    gender = _GENDERS.get(str(spoken.gender).lower(), "")
    who = (str(spoken.speaker), "_".join(str(recording.id).split()), gender)
    return Row(str(spoken.id), audio, where, *who, start, end, attributes)
