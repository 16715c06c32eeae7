"""What a store is in Milvus: an address, a collection of speakers and one of the model."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from acorl_sb.store.speaker_store import damaged
from acorl_sb.store.store_model import StoreModel
from acorl_sb.utils.errors import UserError

PREFIX = "milvus:"
MODEL, SPEAKERS = "acorl_model", "acorl_speakers_"
FORMAT = 1


def is_milvus(path: str | os.PathLike | None) -> bool:
    """Whether a path names a store of Milvus.

    >>> is_milvus("milvus:speakers.db"), is_milvus("speakers.db")
    (True, False)
    """
    return isinstance(path, str) and path.startswith(PREFIX)


def milvus_exists(path: str, create: bool) -> bool:
    """Whether there are files of the embedded form, or an address; errors as ``connect``'s."""
    file = embedded_file(path)
    if file is None:
        return True
    folder = Path(file)
    if not file.endswith(".db"):
        raise UserError(f"{path}: a store of Milvus Lite is called milvus:NAME.db")
    if os.path.lexists(file):
        if not (folder / "LOCK").is_file() or not (folder / "collections").is_dir():
            raise UserError(f"{path}: no store of Milvus Lite; name one, or a new one")
        return True
    if not create:
        raise UserError(f"{path}: there is no such store of speakers")
    if not folder.absolute().parent.is_dir():
        raise UserError(f"{path}: there is no such folder to make a store in")
    return False


@contextlib.contextmanager
def faults(path: str) -> Iterator[None]:
    """Turn what Milvus refuses into a ``UserError``."""
    pymilvus = import_pymilvus()
    try:
        yield
    except pymilvus.MilvusException as error:
        if "Open local milvus failed" in str(error):
            raise UserError(
                f"{path}: cannot be opened: damaged, or in use by another process; a store of "
                "Milvus Lite belongs to one at a time"
            ) from None
        text = " ".join(str(getattr(error, "message", error)).split())
        raise UserError(f"{path}: Milvus cannot do this ({text})") from None


def import_pymilvus() -> Any:
    """The package, which is quiet from then on; ``UserError`` where it is missing."""
    try:
        import milvus_lite  # noqa: F401
        import pymilvus
    except ImportError:
        raise UserError(
            "a store in Milvus needs the packages pymilvus and milvus-lite: "
            "pip install 'acorl_sb[milvus]'"
        ) from None
    for name in ("pymilvus", "milvus_lite"):  # errors are raised as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return pymilvus


def embedded_file(path: str) -> str | None:
    """The file of the embedded form; None for a server's address."""
    rest = path.removeprefix(PREFIX)
    return None if "://" in rest else rest


def key_of(name: str) -> str:
    """The primary key: what a server keeps of deleted rows tells no name."""
    return hashlib.sha256(name.encode()).hexdigest()


def count_rows(client: Any, collection: str) -> int:
    """How many rows a collection has."""
    rows = client.query(
        collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
    )
    return int(rows[0]["count(*)"])


def drop_collection(client: Any, collection: str) -> None:
    """Remove a collection, if it is there."""
    if client.has_collection(collection):
        client.drop_collection(collection)


def make_collections(client: Any, model: StoreModel) -> None:
    """The two collections; the row of the model comes last, and says that the store is whole."""
    drop_collection(client, f"{SPEAKERS}0")
    make_speakers(client, f"{SPEAKERS}0", model.size)
    drop_collection(client, MODEL)
    fields = {"members": 65535, "format": None, "number": None}
    _make_collection(client, MODEL, fields, model.size)
    write_model(client, model, 0)


def make_speakers(client: Any, collection: str, size: int) -> None:
    """Make a collection of speakers, whose vectors have ``size`` dimensions."""
    fields = {"name": 800, "enrolled": 40, "utterances": None, "seconds": 0}
    _make_collection(client, collection, fields, size)


def _make_collection(client: Any, name: str, fields: dict[str, int | None], size: int) -> None:
    """A key, a vector, and fields: of text with its longest, of whole numbers, or 0: of others."""
    types = import_pymilvus().DataType
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", types.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=size)
    for field, longest in fields.items():
        if longest:
            schema.add_field(field, types.VARCHAR, max_length=longest)
        else:
            schema.add_field(field, types.INT64 if longest is None else types.DOUBLE)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")


def write_model(client: Any, model: StoreModel, number: int) -> None:
    """Note the model, and the number of the collection that holds the speakers."""
    row = {"members": model.to_json(), "format": FORMAT, "number": number}
    client.upsert(MODEL, [{"id": "model", "vector": model.probe, **row}])


def read_store_model(client: Any, path: str) -> tuple[StoreModel, int] | None:
    """The store's model and the number of its collection; None where no store was made."""
    if not client.has_collection(MODEL):
        return None
    client.load_collection(MODEL)
    rows = client.get(
        MODEL,
        ids=["model"],
        output_fields=["members", "format", "number", "vector"],
        consistency_level="Strong",
    )
    if not rows:
        return None
    if rows[0]["format"] != FORMAT:
        raise UserError(
            f"{path}: a store of another version ({rows[0]['format']}) than {FORMAT}, not read"
        )
    probe = np.array(rows[0]["vector"], "<f4").tobytes()
    try:
        model = StoreModel.from_json(rows[0]["members"], probe)
    except ValueError:
        raise damaged(path, "its model") from None
    if not client.has_collection(f"{SPEAKERS}{rows[0]['number']}"):
        raise damaged(path, "its speakers")
    return model, int(rows[0]["number"])
