"""The file of a store: opened or made, and seen to be one before anything is read from it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from acorl_sb.store.speaker_store import damaged
from acorl_sb.store.store_model import StoreModel
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import open_input, shown

APPLICATION, FORMAT = 0x41434F52, 1  # what marks the file as ours, and the form of its tables
HEADER = b"SQLite format 3\0"
WAIT_SECONDS = 30

SCHEMA = (
    "CREATE TABLE model (members TEXT NOT NULL, probe BLOB NOT NULL)",
    "CREATE TABLE speakers (name TEXT NOT NULL PRIMARY KEY, vector BLOB NOT NULL, "
    "enrolled TEXT NOT NULL, utterances INTEGER NOT NULL, seconds REAL NOT NULL)",
)


def connect(
    path: str | os.PathLike | None, model: StoreModel | None, create: bool
) -> tuple[sqlite3.Connection, StoreModel, str]:
    """A connection to the file, the model of its vectors, and its name for messages.

    Arguments and errors are those of ``open_store``.
    """
    if path is None:
        name, address = "the store", ":memory:"
    else:
        name = shown(path)
        mode = "rwc" if create else "rw"
        address = f"{Path(path).absolute().as_uri()}?mode={mode}"
        refuse_other_files(path, create)
    with faults(name):
        connection = sqlite3.connect(
            address, WAIT_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )
    try:
        with faults(name):
            for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if create and model is not None:
                _make_tables(connection, model)
            return connection, _read_model(connection, name), name
    except BaseException:
        connection.close()
        raise


def refuse_other_files(path: str | os.PathLike, create: bool) -> None:
    """Raise ``UserError`` for a path at which no store is, nor, with ``create``, can be made."""
    if create and not os.path.lexists(path):
        if not Path(path).absolute().parent.is_dir():
            raise UserError(f"{shown(path)}: there is no such folder to make a store in")
        return
    with open_input(path, "store of speakers") as file:
        start = file.read(len(HEADER))
    if start != HEADER and (start or not create):  # a store whose making was killed is empty
        raise UserError(f"{shown(path)}: not a store of speakers; name one, or a new file")


def _make_tables(connection: sqlite3.Connection, model: StoreModel) -> None:
    """Make the tables, all or none, unless another process was faster."""
    connection.execute("BEGIN IMMEDIATE")
    if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        for statement in SCHEMA:
            connection.execute(statement)
        row = model.to_json(), model.probe.astype("<f4").tobytes()
        connection.execute("INSERT INTO model VALUES (?, ?)", row)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _read_model(connection: sqlite3.Connection, name: str) -> StoreModel:
    """The store's model, once it is seen that the file is a store and nothing else."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise UserError(f"{name}: an SQLite file, but not a store of speakers; name another one")
    if version != FORMAT:
        raise UserError(f"{name}: a store of another version ({version}) than {FORMAT}, not read")
    found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    rows = connection.execute("SELECT members, probe FROM model").fetchall()
    if sorted(sql for (sql,) in found) != sorted(SCHEMA) or len(rows) != 1:
        raise damaged(name, "its tables")
    try:
        return StoreModel.from_json(*rows[0])
    except ValueError:
        raise damaged(name, "its model") from None


@contextlib.contextmanager
def faults(name: str) -> Iterator[None]:
    """Turn what SQLite finds wrong with a file into a ``UserError``."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise UserError(
                f"{name}: another process has held the store for {WAIT_SECONDS} s; try again"
            ) from None
        raise UserError(f"{name}: the store cannot be read or written ({error})") from None
    except sqlite3.DatabaseError as error:
        raise damaged(name, str(error)) from None
