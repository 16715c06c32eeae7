"""What a corpus module hands over for preparation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trials import TrialList


@dataclass
class Corpus:
    """What a corpus module found: utterances by official split, and official trials if any.

    ``dev`` and ``test`` may be empty; speakers are then held out of the training speakers.
    ``more_trials`` are further lists over the test utterances, by name. ``impostor_group`` gives an
    utterance's group, such as its language, within which impostors are drawn; None: among all.
    ``shared_speakers`` says that the user has explicitly allowed a speaker to be in two splits.
    """

    train: list[Utterance]
    dev: list[Utterance] = field(default_factory=list)
    test: list[Utterance] = field(default_factory=list)
    test_trials: TrialList | None = None
    more_trials: dict[str, TrialList] = field(default_factory=dict)
    impostor_group: Callable[[Utterance], str] | None = None
    shared_speakers: bool = False
    dev_trials: TrialList | None = None
