"""Who speaks in which utterance: from a manifest, from Kaldi's utt2spk, or from the id itself."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from acorl_sb.data.lines import decode, read_blocks, some
from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.trials import TrialList
from acorl_sb.utils.errors import UserError


def read_speakers(path: str | os.PathLike) -> dict[str, str]:
    """Utterance -> speaker from a manifest (``.csv``) or ``utterance speaker`` lines (utt2spk).

    Raises ``UserError`` for a file that is missing or of another form, and an utterance of two
    speakers.
    """
    if Path(path).suffix.lower() == ".csv":
        return {utterance.id: utterance.spk_id for utterance in read_manifest(path)}
    table: dict[str, str] = {}
    for block in read_blocks(path):
        for number, fields in block.lines():
            where = f"{path} line {number}"
            if len(fields) != 2:
                found = f"found {len(fields)} fields"
                raise UserError(f"{where}: 'utterance speaker' expected, {found}")
            utterance, speaker = (decode(field, where) for field in fields)
            if table.setdefault(utterance, speaker) != speaker:
                raise UserError(f"{where}: '{utterance}' has two speakers")
    return table


def read_speaker_files(paths: Sequence[str]) -> dict[str, str]:
    """Utterance -> speaker from several files; ``UserError`` where two of them disagree."""
    table: dict[str, str] = {}
    for path in paths:
        for utterance, speaker in read_speakers(path).items():
            if table.setdefault(utterance, speaker) != speaker:
                raise UserError(f"{path}: '{utterance}' has two speakers")
    return table


def by_table(ids: Sequence[str], table: dict[str, str], where: str) -> list[str]:
    """Speaker of each id; ``UserError`` naming the first few that the table lacks."""
    unknown = [utterance for utterance in ids if utterance not in table]
    if unknown:
        raise UserError(f"{where}: {len(unknown)} utterances have no speaker: {some(unknown)}")
    return [table[utterance] for utterance in ids]


def by_pattern(ids: Sequence[str], pattern: str) -> list[str]:
    """Speaker of each id: the first group, else all, of what the regular expression finds in it.

    Raises ``UserError`` for a bad pattern, and naming the first few ids in which nothing is found.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"speaker pattern '{pattern}': {error}") from None
    found = [compiled.search(utterance) for utterance in ids]
    bad = [utterance for utterance, hit in zip(ids, found, strict=True) if hit is None]
    if bad:
        raise UserError(f"speaker pattern '{pattern}': {len(bad)} ids do not match: {some(bad)}")
    group = 1 if compiled.groups else 0
    return [hit.group(group) or "" for hit in found if hit is not None]


def by_folder(ids: Sequence[str]) -> list[str] | None:
    """What stands before the first slash (VoxCeleb: ``id10270/5r0dWxy17C8/00001.wav``).

    None where an id has no slash, or begins with one.
    """
    heads = [utterance.partition("/") for utterance in ids]
    return (
        [head for head, _, _ in heads] if all(head and slash for head, slash, _ in heads) else None
    )


def number(*speakers: Sequence[str]) -> list[np.ndarray]:
    """Lists of M speaker names as int64 (M,) arrays, numbered from 0 together in sorted order.

    So what is drawn by these numbers does not depend on the order of a file's lines.
    """
    index = {name: n for n, name in enumerate(sorted(set(itertools.chain(*speakers))))}
    return [np.fromiter(map(index.__getitem__, names), np.int64, len(names)) for names in speakers]


def contradictions(trials: TrialList, speaker: np.ndarray) -> np.ndarray:
    """Trials whose label denies the speakers (M,): target trials are of one speaker, others of two.

    Returns their indices; empty where all agree or the trials have no labels.
    """
    if trials.labels is None:
        return np.zeros(0, dtype=np.int64)
    same = speaker[trials.enrol] == speaker[trials.test]
    return np.flatnonzero(same != trials.labels)
