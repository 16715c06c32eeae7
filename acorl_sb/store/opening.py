"""Open a store by its name: a file of SQLite's, or one of Milvus."""

from __future__ import annotations

import os

from acorl_sb.store import milvus_store, store_file
from acorl_sb.store.milvus_collections import is_milvus, milvus_exists
from acorl_sb.store.speaker_store import SpeakerStore
from acorl_sb.store.sqlite_store import SqliteStore
from acorl_sb.store.store_model import StoreModel


def open_store(
    path: str | os.PathLike | None, model: StoreModel | None = None, create: bool = False
) -> SpeakerStore:
    """Open a store, or make an empty one.

    Arguments
    ---------
    path : of the file, or ``milvus:`` and a file or address; None keeps the store in memory
    model : StoreModel or None
        That the vectors must be of; None takes the store's own, to list and delete.
    create : make a store of ``model`` where there is none

    Returns
    -------
    SpeakerStore

    Raises
    ------
    UserError
        For a store that is missing (unless ``create``), damaged, none, of a later version, or
        of another model. It is not changed.
    """
    store: SpeakerStore
    if is_milvus(path):
        store = milvus_store.MilvusStore(*milvus_store.connect(str(path), model, create))
    else:
        store = SqliteStore(*store_file.connect(path, model, create))
    if model is not None:
        try:
            store.require_model(model)
        except BaseException:
            store.close()
            raise
    return store


def store_exists(path: str | os.PathLike, create: bool) -> bool:
    """Whether a store is there, or at least its server.

    Raises ``UserError`` for a path at which no store is, nor, with ``create``, can be made.
    """
    if is_milvus(path):
        return milvus_exists(str(path), create)
    store_file.refuse_other_files(path, create)
    return os.path.lexists(path)
