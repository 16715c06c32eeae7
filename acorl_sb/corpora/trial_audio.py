"""The audio of a trial list: from a table, a folder, or the paths that the list names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from acorl_sb.corpora.audio_inputs import read_inputs
from acorl_sb.corpora.listing import audio_files, is_audio, require_folder, utterances
from acorl_sb.data.lines import some
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError


def find_audio(
    ids: Sequence[str], audio: str | os.PathLike | None, trials: str | os.PathLike
) -> list[Utterance]:
    """The utterances that a trial list names, in the order of ``ids``.

    Arguments
    ---------
    ids : sequence of str
        Utterances of the trials.
    audio : path or None
        A table with these ids (``.csv``, ``.json``, ``wav.scp``) or a data folder of Kaldi's; any
        other folder, in which an id is a relative path, with or without its extension; None where
        the ids are paths themselves.
    trials : path
        The list, for messages.

    Returns
    -------
    list of Utterance
        Where there is no table, whole files; ``spk_id`` is then what stands before the first slash
        of the id, which may or may not be a speaker.

    Raises
    ------
    UserError
        For ids that are not there or name two files, and for audio that ``read_header`` refuses.

    Example
    -------
    >>> find_audio(["a.wav"], None, "trials.txt")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    acorl_sb.utils.errors.UserError
    """
    if audio is not None and is_table(audio):
        table = {u.id: u for u in read_inputs([os.fspath(audio)])}
        _require(ids, table, trials, f"in {audio}")
        return [table[name] for name in ids]
    if audio is None:
        files = {name: Path(name) for name in ids if is_audio(name) and Path(name).is_file()}
        _require(ids, files, trials, "there: without the key audio, a list names files")
    else:
        files = _by_path(require_folder(audio, "a folder with the audio of the trials"), ids)
        _require(ids, files, trials, f"below {audio}")
    rows = [(name, files[name], name.partition("/")[0], "", "") for name in ids]
    return utterances(rows)


def is_table(audio: str | os.PathLike) -> bool:
    """Whether audio is told by a table, which may know speakers, and not by files alone."""
    path = Path(audio)
    return path.suffix.lower() in (".csv", ".json", ".scp") or (path / "wav.scp").is_file()


def _by_path(root: Path, ids: Sequence[str]) -> dict[str, Path]:
    """Files below ``root`` by id: relative path, white space as in the corpus ``folder``."""
    wanted = set(ids)
    exact: dict[str, Path] = {}
    bare: dict[str, Path] = {}
    for path in audio_files(root):
        name = "_".join(path.relative_to(root).as_posix().split())
        stem = name.removesuffix(path.suffix)
        for known, asked in ((exact, name), (bare, stem)):
            if asked in wanted and asked in known:
                raise UserError(
                    f"{root}: {asked} is both {known[asked].name!r} and {path.name!r}; keep one"
                )
            known[asked] = path
    return bare | exact


def _require(
    ids: Sequence[str], found: Mapping[str, object], trials: str | os.PathLike, where: str
) -> None:
    missing = [name for name in ids if name not in found]
    if missing:
        raise UserError(
            f"{trials}: the audio of {len(missing)} of {len(ids)} utterances is not {where}: "
            f"{some(missing)}"
        )
