"""Development and test speakers for a corpus that brings none of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.corpora.splits import (
    by_speaker,
    split_speakers,
    thin,
)
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError

logger = logging.getLogger(__name__)


def hold_out_speakers(
    found: Corpus, seed: int, dev_speakers: int | None, test_speakers: int | None, limit: int
) -> Corpus:
    """Hold out test, then development speakers, where the corpus has none of its own."""
    train, dev, test = found.train, found.dev, found.test
    eligible = _eligible(train)
    if not test:
        count = min(80, max(2, eligible // 4)) if test_speakers is None else test_speakers
        train, test = _hold_out(train, count, seed, "test", limit)
    if not dev and _eligible(train) < 2 and found.test and found.test_trials is None:
        logger.warning(
            "no training speaker has two utterances, so half of the test speakers become "
            "development speakers"
        )
        count = _eligible(test) // 2 if dev_speakers is None else dev_speakers
        test, dev = _hold_out(test, count, seed + 1, "development", limit)
    elif not dev:
        count = min(40, max(2, eligible // 6)) if dev_speakers is None else dev_speakers
        train, dev = _hold_out(train, count, seed + 1, "development", limit)
    for name, part in (("training", train), ("development", dev), ("test", test)):
        speakers = len({u.spk_id for u in part})
        if speakers < 2:
            raise UserError(
                f"fewer than two {name} speakers ({speakers}); bring more speakers or hold out "
                "fewer with dev_speakers and test_speakers"
            )
    return replace(found, train=train, dev=dev, test=test)


def _eligible(utterances: Sequence[Utterance]) -> int:
    """Number of speakers with the two utterances that a target trial needs."""
    return sum(len(group) > 1 for group in by_speaker(utterances).values())


def _hold_out(
    utterances: Sequence[Utterance], count: int, seed: int, purpose: str, limit: int
) -> tuple[list[Utterance], list[Utterance]]:
    if count < 2:
        raise UserError(f"{count} {purpose} speaker(s): trials need two or more")
    try:
        kept, held_out = split_speakers(utterances, count, seed)
    except UserError as error:
        raise UserError(f"{purpose} speakers: {error}") from None
    return kept, thin(held_out, limit, seed)
