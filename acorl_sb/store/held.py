"""The store that a program works on: given, opened from a file, or made when it is needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from acorl_sb.store.opening import open_store, store_exists
from acorl_sb.store.speaker_store import SpeakerStore
from acorl_sb.store.store_model import StoreModel
from acorl_sb.utils.errors import UserError


class HeldStore:
    """Holds one store at a time, and closes those that it opened itself.

    Arguments
    ---------
    model : callable() -> StoreModel
        What a store must be of. Asked when one is opened or made.
    """

    def __init__(self, model: Callable[[], StoreModel]):
        self._model = model
        self._making = threading.Lock()  # of two threads that need one first, one makes the store
        self._new: str | os.PathLike | None = None  # a file that is made when something goes in
        self._own = False  # whether it was opened here
        self._closed = False  # since then what goes in would be lost
        self.open_now: SpeakerStore | None = None

    @property
    def store(self) -> SpeakerStore:
        """The store; made now where there is none yet. ``UserError`` once it is closed."""
        with self._making:
            if self._closed:
                raise UserError("the store of speakers was closed; open it again")
            if self.open_now is None:
                self.open_now = open_store(self._new, self._model(), create=True)
                self._own = True
            return self.open_now

    def open(self, store: SpeakerStore | str | os.PathLike, create: bool = True) -> None:
        """Take another store, or the one in a file, and let the one before go.

        Where there is no file it is made when the store is needed, unless ``create`` is False.
        Raises ``UserError`` for a file that is no store, or of another model; the one before is
        kept then.
        """
        held: SpeakerStore | None = None
        if isinstance(store, SpeakerStore):
            store.require_model(self._model())
            held, path, own = store, None, False
        else:
            if store_exists(store, create):
                held = open_store(store, self._model(), create)
            path, own = store, True
        self.close()
        self.open_now, self._new, self._own, self._closed = held, path, own, False

    def close(self) -> None:
        """Let the store go, and close it if it was opened here; another may be opened."""
        if self.open_now is not None and self._own:
            self.open_now.close()
        self.open_now, self._new, self._own, self._closed = None, None, False, True
