"""The three verification protocols of VoxCeleb1 (cleaned lists) by name, and what they forbid.

Figures of the lists as published at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ (J. S. Chung,
A. Nagrani and A. Zisserman, "VoxCeleb2: Deep Speaker Recognition", 2018, for E and H). The site
publishes no checksums of its lists; theirs here are those that PaddleSpeech checks them against
(examples and ``paddlespeech/dataset``, https://github.com/PaddlePaddle/PaddleSpeech).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from acorl_sb.data.lines import some
from acorl_sb.data.trials import TrialList, read_trials
from acorl_sb.utils.errors import UserError

VOXCELEB1_SPEAKERS = range(10001, 11252)
"""Numbers of all 1,251 speakers of VoxCeleb1, ``id10001`` to ``id11251``; VoxCeleb2's are lower."""

VOXCELEB1_TEST_SPEAKERS = range(10270, 10310)
"""Numbers of the 40 speakers of VoxCeleb1's test part, those with names in E."""


@dataclass(frozen=True)
class Protocol:
    """One protocol: its trial list and the speakers that no system may be trained on."""

    name: str
    file: str
    """Name of the published list; lines ``1 id10270/5r0dWxy17C8/00001.wav id10270/...``."""
    n_trials: int
    n_target: int
    speakers: range
    """Numbers of the speakers whose utterances the trials are drawn from."""
    training: str
    """What may be trained on, in words."""
    md5: str
    """Of the published list."""

    @property
    def url(self) -> str:
        return f"https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/{self.file}"

    def excludes(self, speaker: str) -> bool:
        """Whether training on this speaker (``id10270``, or a path that holds it) is forbidden."""
        number = _number(speaker)
        return number is not None and number in self.speakers


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "VoxCeleb1-O",
            "veri_test2.txt",
            37611,
            18802,
            VOXCELEB1_TEST_SPEAKERS,
            "VoxCeleb2, and VoxCeleb1 without its 40 test speakers",
            "b73110731c9223c1461fe49cb48dddfc",
        ),
        Protocol(
            "VoxCeleb1-E",
            "list_test_all2.txt",
            579818,
            289921,
            VOXCELEB1_SPEAKERS,
            "VoxCeleb2 alone: the trials are over all speakers of VoxCeleb1",
            "a53e059deb562ffcfc092bf5d90d9f3a",
        ),
        Protocol(
            "VoxCeleb1-H",
            "list_test_hard2.txt",
            550894,
            275488,
            VOXCELEB1_SPEAKERS,
            "VoxCeleb2 alone: the trials are over speakers of all of VoxCeleb1, two of one "
            "nationality and gender in a trial",
            "857790e09d579a68eb2e339a090343c8",
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol of a name; also by its letter. Raises ``UserError`` for any other."""
    key = name if name.startswith("VoxCeleb1-") else f"VoxCeleb1-{name}"
    if key not in PROTOCOLS:
        raise UserError(f"there is no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[key]


def read_protocol(name: str, path: str | os.PathLike) -> TrialList:
    """Read the trial list of a protocol and check that it is the published one.

    Repeated trials, if the published list has any, are kept: its figures count them. Raises
    ``UserError`` when the number of trials, of target trials, or the speakers are not the
    protocol's.
    """
    protocol = find_protocol(name)
    trials = read_trials(path, duplicates="keep")
    if trials.labels is None:
        raise UserError(f"{path}: the list of {protocol.name} has labels, this one has none")
    found = len(trials), int(trials.labels.sum())
    if found != (protocol.n_trials, protocol.n_target):
        raise UserError(
            f"{path}: {found[0]} trials, {found[1]} of them target trials, but {protocol.name} "
            f"(cleaned, {protocol.file}) has {protocol.n_trials} and {protocol.n_target}"
        )
    others = [utterance for utterance in trials.ids if not protocol.excludes(utterance)]
    if others:
        raise UserError(
            f"{path}: {len(others)} utterances are not of {protocol.name}'s speakers: "
            f"{some(others)}"
        )
    return trials


def check_training(
    training_speakers: Iterable[str],
    test_speakers: Iterable[str] | Protocol,
    what: str = "the training set",
    allow: bool = False,
) -> list[str]:
    """The training speakers who are also test speakers, sorted; refuses them unless ``allow``.

    ``test_speakers`` are the speakers of the trials, or a protocol (then all that it excludes).
    Raises ``UserError`` naming the first few.
    """
    forbidden: Callable[[str], bool]
    if isinstance(test_speakers, Protocol):
        forbidden, where = test_speakers.excludes, test_speakers.name
    else:
        forbidden, where = set(test_speakers).__contains__, "the trials"
    shared = sorted({speaker for speaker in training_speakers if forbidden(speaker)})
    if shared and not allow:
        raise UserError(
            f"{what} holds {len(shared)} speakers of {where}: {some(shared)}; take them out, or "
            "say that they may stay (allow_test_speakers: True)"
        )
    return shared


def _number(speaker: str) -> int | None:
    """10270 of ``id10270`` and of ``wav/id10270/5r0dWxy17C8/00001``; None without such a part."""
    found = re.search(r"(?:^|[/-])id(\d{5})(?:$|[/-])", speaker)
    return int(found.group(1)) if found else None
