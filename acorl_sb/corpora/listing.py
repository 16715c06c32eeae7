"""Helpers that corpus modules share: look through folders, read headers, say what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile
from tqdm import tqdm

from acorl_sb.data.audio import SAMPLE_RATE, SHORTEST, Header, read_header
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.tar_audio import file_of
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import require_utf8
from acorl_sb.utils.reading import shown

EXTENSIONS = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"} | {
    ".aif",
    ".oga",
    ".opus",
    ".wave",
    ".m4a",
}
"""File name extensions that :mod:`acorl_sb.data.audio` may read, in lower case."""

_BLOCK = 500  # files that a thread reads before it reports


def require_folder(folder: str | os.PathLike | None, what: str) -> Path:
    """``folder`` as a path; ``UserError`` where it is not given, missing, no folder, or empty."""
    if folder is None:
        raise UserError(f"{what} needs a data folder; name it with data_folder")
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"{folder}: no such folder; {what} is expected there")
    if not folder.is_dir():
        raise UserError(f"{folder}: not a folder; {what} is expected there")
    if not list_folder(folder):
        raise UserError(f"{folder}: the folder is empty; {what} is expected there")
    return folder


def is_audio(name: str | os.PathLike) -> bool:
    """Whether the file name's extension is one of ``EXTENSIONS``."""
    name = os.fspath(name)
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not os.path.basename(
        name
    ).startswith(".")


def list_folder(folder: str | os.PathLike) -> list[os.DirEntry]:
    """What is in a folder, by name.

    Raises ``UserError`` for a folder that cannot be read and for a link that leads nowhere, since
    what it stood for would be left out silently.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"{shown(folder)}: the folder cannot be read ({error.strerror}); make it readable or "
            "take it out"
        ) from None
    for entry in found:
        if entry.is_symlink() and not entry.name.startswith(".") and not os.path.exists(entry.path):
            raise UserError(f"{shown(entry.path)}: this link leads nowhere; mend or remove it")
    return found


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder or a link to one."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def walk(folder: str | os.PathLike) -> Iterator[tuple[str, list[str], list[str]]]:
    """(folder, names of its folders, names of its other files) from ``folder`` down, by name.

    As ``os.walk``, links to folders followed and the list of folders free to be shortened, but no
    folder is left out silently: raises what ``list_folder`` raises, and ``UserError`` for a link
    that leads back to a folder that it is in.
    """
    return _walk(os.fspath(folder), (os.path.realpath(folder),))


def _walk(folder: str, above: tuple[str, ...]) -> Iterator[tuple[str, list[str], list[str]]]:
    """``above`` are the real paths of the folder and of those that it is in."""
    entries = list_folder(folder)
    links = {entry.name for entry in entries if entry.is_symlink()}
    folders = [entry.name for entry in entries if is_folder(entry)]
    yield folder, folders, [entry.name for entry in entries if not is_folder(entry)]
    for name in folders:
        path = os.path.join(folder, name)
        real = os.path.realpath(path) if name in links else os.path.join(above[-1], name)
        if real in above:
            raise UserError(
                f"{shown(path)}: this link leads back to a folder that it is in; remove the link"
            )
        yield from _walk(path, (*above, real))


def audio_files(folder: Path) -> list[Path]:
    """Every audio file below ``folder``, by extension, in sorted order; as ``walk``."""
    found = []
    for parent, folders, files in walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if is_audio(name)]
    return found


def read_headers(
    paths: Sequence[str], journal: Path | None = None, threads: int | None = None
) -> list[Header]:
    """Header of every file, in order; read in parallel, large sets under a progress bar.

    Threads, not processes: a header is waited for more than it is worked on (libsndfile reads it
    without Python's lock), and nothing of the caller's program is imported again.

    With a ``journal``, what has been read is noted there as it is read, so that an interrupted call
    goes on where it stopped and files that have not changed are not read again.

    Raises the ``UserError`` of the first file that cannot be read.
    """
    known = _load_journal(journal)
    blocks = [paths[i : i + _BLOCK] for i in range(0, len(paths), _BLOCK)]
    headers: list[Header] = []
    with (
        ThreadPoolExecutor(threads or os.cpu_count()) as pool,
        open(journal or os.devnull, "a", encoding="utf-8", errors="surrogateescape") as file,
        tqdm(
            total=len(paths), desc="headers", unit="file", disable=len(blocks) < 10 or None
        ) as bar,
    ):
        try:
            for block, lines in pool.map(lambda part: _read_block(part, known), blocks):
                headers += block
                file.writelines(lines)
                file.flush()
                bar.update(len(block))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return headers


_Known = dict[str, tuple[tuple[int, int], Header]]  # path -> (size, time of change), header


def _load_journal(path: Path | None) -> _Known | None:
    """What a journal holds; None without one."""
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    known: _Known = {}
    if path.is_file():
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields = line.rstrip("\n").split("\t")
                # The last field says that the line is whole: an interruption may cut one off.
                if len(fields) == 6 and fields[5] == "." and all(map(_is_count, fields[1:5])):
                    size, changed, frames, rate = map(int, fields[1:5])
                    known[fields[0]] = ((size, changed), Header(frames, rate))
    return known


def _is_count(field: str) -> bool:
    return field.isascii() and field.isdigit() and 0 < len(field) < 20 and int(field) > 0


def _read_block(paths: Sequence[str], known: _Known | None) -> tuple[list[Header], list[str]]:
    """Headers of some files, and the journal lines of those that were not known."""
    if known is None:
        return [read_header(path) for path in paths], []
    headers, lines = [], []
    for path in paths:
        try:
            status = os.stat(file_of(path))
        except OSError:
            status = os.stat_result([0] * 10)  # read_header says what is wrong
        key = (status.st_size, status.st_mtime_ns)
        noted, header = known.get(path, (None, None))
        if noted != key:
            header = read_header(path)
            lines.append("\n" + "\t".join(map(str, (path, *key, *header, "."))))
        headers.append(header)
    return headers, lines


def utterances(
    rows: Iterable[tuple[str, str | os.PathLike, str, str, str]],
    journal: Path | None = None,
    attributes: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Utterance]:
    """Whole-file utterances from rows of (ID, path, speaker, session, gender).

    ``attributes`` maps speakers to what else is known of them, such as ``{"age": "9"}``.

    Raises ``UserError`` for a file that ``read_header`` refuses, one that is shorter than
    ``SHORTEST`` seconds, and a name that is not UTF-8, which no manifest could hold.
    """
    rows = [(name, os.path.abspath(path), *rest) for name, path, *rest in rows]
    for _, path, *_ in rows:
        if not path.isascii():
            require_utf8(path)
    headers = read_headers([row[1] for row in rows], journal)
    made = []
    for (name, path, spk, session, gender), header in zip(rows, headers, strict=True):
        seconds = header.frames / header.rate
        if seconds < SHORTEST:
            raise UserError(
                f"{shown(path)}: {seconds:.3f} s of audio are too little to tell a speaker by, "
                f"{SHORTEST} s are the least; remove the file"
            )
        length = header.length(SAMPLE_RATE)
        known = (attributes or {}).get(spk, {})
        made.append(Utterance(name, seconds, path, 0, length, spk, session, gender, known))
    return made
