"""Enrolled speakers in Milvus: its embedded form, Milvus Lite, or a server; see docs/store.md."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np

from acorl_sb.store.milvus_collections import (
    PREFIX,
    SPEAKERS,
    count_rows,
    drop_collection,
    embedded_file,
    faults,
    import_pymilvus,
    key_of,
    make_collections,
    make_speakers,
    milvus_exists,
    read_store_model,
    write_model,
)
from acorl_sb.store.speaker_store import Enrolment, SpeakerStore, check_speaker
from acorl_sb.store.store_model import StoreModel
from acorl_sb.store.vector_index import VectorIndex
from acorl_sb.utils.errors import UserError

_KEPT = ["name", "enrolled", "utterances", "seconds"]
_SLACK = 32  # candidates beyond the ones asked for, since float32 may swap neighbours
_MOST = 16384  # rows that Milvus gives at once
_NEVER = 2**31 - 1  # milliseconds


class MilvusStore(SpeakerStore):
    """Speakers in a collection of Milvus, with the exact index FLAT over inner products.

    An enrolment is one row, and there as a whole or not at all. The embedded form belongs to one
    process at a time, and what is deleted or replaced is in none of its files any more: the others
    are written anew. A server erases at its own time.

    Arguments
    ---------
    client : pymilvus.MilvusClient
    model, path
        See ``SpeakerStore``; the path begins with ``milvus:``.
    number : int
        Of the collection that holds the speakers.
    """

    def __init__(self, client: Any, model: StoreModel, path: str, number: int):
        super().__init__(model, path)
        self._client, self._number = client, number

    @property
    def _collection(self) -> str:
        return f"{SPEAKERS}{self._number}"

    def vector(self, name: str) -> np.ndarray:
        """A speaker's vector (D,) float32; ``UserError`` for a name that is not there."""
        name = check_speaker(name)
        with self._lock, faults(self.path):
            rows = self._get(name, ["vector"])
            if not rows:
                self._require(name)
            return self._require_vectors(np.array([rows[0]["vector"]], np.float32))[0]

    def search(self, query: np.ndarray, top: int | None = None) -> list[tuple[str, float]]:
        """Names and inner products with (D,), the ``top`` largest (None: all), largest first.

        The products are sums in float64. All, or more than Milvus gives at once, are fetched and
        multiplied here. Milvus chooses among more equal ones than 32 beyond ``top``.
        """
        with self._lock, faults(self.path):
            if top is None or top + _SLACK > _MOST:
                rows = [row for block in self._blocks(["name", "vector"]) for row in block]
            else:
                (hits,) = self._client.search(
                    self._collection,
                    [np.asarray(query, np.float32)],
                    limit=top + _SLACK,
                    output_fields=["name", "vector"],
                    consistency_level="Strong",
                )
                rows = [hit["entity"] for hit in hits]
        vectors = np.array([row["vector"] for row in rows], np.float32)
        vectors = self._require_vectors(vectors.reshape(len(rows), self.model.size))
        return VectorIndex([row["name"] for row in rows], vectors).search(query, top)

    def speakers(self) -> list[Enrolment]:
        """All enrolments, in the order of their names."""
        with self._lock, faults(self.path):
            rows = [row for block in self._blocks(_KEPT) for row in block]
        made = [
            Enrolment(**{key: row[key] for key in _KEPT}, model=self.model.hash) for row in rows
        ]
        return sorted(made)

    def close(self) -> None:
        """Let the store go; of the embedded form, another process may open it then."""
        _close(self._client, self.path)

    def __len__(self) -> int:
        with self._lock, faults(self.path):
            return count_rows(self._client, self._collection)

    def __contains__(self, name: str) -> bool:
        with self._lock, faults(self.path):
            return bool(self._get(unicodedata.normalize("NFC", name), ["name"]))

    def _put(self, made: Enrolment, vector: np.ndarray, replace: bool) -> None:
        with self._lock, faults(self.path):
            self.check_new(made.name, replace)
            known = replace and made.name in self
            row = {key: getattr(made, key) for key in _KEPT}
            row |= {"id": key_of(made.name), "vector": vector}
            self._client.upsert(self._collection, [row])
            if known:
                self._erase()

    def _forget(self, names: list[str]) -> None:
        with self._lock, faults(self.path):
            for name in names:
                self._require(name)
            self._client.delete(self._collection, ids=[key_of(name) for name in names])
            self._erase()

    def _erase(self) -> None:
        """See to it that what was deleted is in no file."""
        if embedded_file(self.path) is None:
            self._client.flush(self._collection)
            self._client.compact(self._collection)
            return
        old, new = self._collection, f"{SPEAKERS}{self._number + 1}"
        drop_collection(self._client, new)
        make_speakers(self._client, new, self.model.size)
        for block in self._blocks([*_KEPT, "id", "vector"]):
            self._client.upsert(new, block)
        self._client.flush(new)
        write_model(self._client, self.model, self._number + 1)
        self._number += 1
        drop_collection(self._client, old)

    def _some_names(self) -> list[str]:
        rows = self._client.query(self._collection, filter="", output_fields=["name"], limit=5)
        return sorted(row["name"] for row in rows)

    def _get(self, name: str, fields: list[str]) -> list[dict[str, Any]]:
        return list(
            self._client.get(
                self._collection,
                ids=[key_of(name)],
                output_fields=fields,
                consistency_level="Strong",
            )
        )

    def _blocks(self, fields: list[str]) -> Iterator[list[dict[str, Any]]]:
        if not count_rows(self._client, self._collection):
            return
        rows = self._client.query_iterator(
            self._collection,
            batch_size=_MOST,
            output_fields=fields,
            consistency_level="Strong",
        )
        while block := rows.next():
            yield [{key: row[key] for key in fields} for row in block]
        rows.close()


def connect(path: str, model: StoreModel | None, create: bool) -> tuple[Any, StoreModel, str, int]:
    """A client, the model of the vectors, the path, and the number of the collection.

    Arguments and errors are those of ``open_store``.
    """
    milvus_exists(path, create)
    client_of = import_pymilvus().MilvusClient
    file = embedded_file(path)
    with faults(path):
        # The server of Milvus Lite takes the pings that are meant for one far away as an attack.
        options = {} if file is None else {"grpc_options": {"grpc.keepalive_time_ms": _NEVER}}
        client = client_of(file or path.removeprefix(PREFIX), **options)
        try:
            found = read_store_model(client, path)
            if found is None:
                if not create or model is None:
                    raise UserError(f"{path}: holds no store of speakers")
                make_collections(client, model)
                found = model, 0
            kept, number = found
            if file is not None:  # what a process that was killed left of an erasure
                for name in client.list_collections():
                    if name.startswith(SPEAKERS) and name != f"{SPEAKERS}{number}":
                        drop_collection(client, name)
            client.load_collection(f"{SPEAKERS}{number}")
        except BaseException:
            _close(client, path)
            raise
    return client, kept, path, number


def _close(client: Any, path: str) -> None:
    client.close()
    if (file := embedded_file(path)) is not None:
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(file)
