"""Whether further speech is held-out speech under another name: told by files and stretches."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping

from acorl_sb.data.manifest import Utterance
from acorl_sb.data.tar_audio import file_of
from acorl_sb.utils.errors import UserError


class HeldOut:
    """The stretches of audio that a corpus develops and tests on.

    Arguments
    ---------
    parts : mapping
        Utterances by what they are held out for, such as ``test``.

    Example
    -------
    >>> tested = Utterance("ann-1", 1.0, "ann.wav", 0, 16000, "ann")
    >>> held = HeldOut({"test": [tested]})
    >>> held.refuse([Utterance("a", 1.0, "ann.wav", 16000, 32000, "a")], "more_training: folder")
    """

    def __init__(self, parts: Mapping[str, Iterable[Utterance]]):
        self._resolved_folder = functools.cache(os.path.realpath)  # far fewer than files
        self._stretches: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for part, utterances in parts.items():
            for u in utterances:
                self._stretches[self._resolved(u.wav)].append((u.start, u.stop, part))

    def refuse(self, utterances: Iterable[Utterance], where: str) -> None:
        """Raise ``UserError``, which begins with ``where``, if an utterance is held-out speech.

        That is: its file is a held-out utterance's, links followed, and their stretches overlap.
        """
        for u in utterances:
            for start, stop, part in self._stretches.get(self._resolved(u.wav), ()):
                if u.start < stop and start < u.stop:
                    raise UserError(
                        f"{where}: the file {u.wav} is held out for {part}, so its speech cannot "
                        "be trained on; name a folder of other recordings"
                    )

    def _resolved(self, wav: str) -> str:
        """The name of the file that links lead to; with the place in it, if it is a shard."""
        file = file_of(wav)
        folder, name = os.path.split(file)
        path = os.path.join(self._resolved_folder(folder), name)
        if os.path.islink(path):
            path = os.path.realpath(path)
        return path + wav[len(file) :]
