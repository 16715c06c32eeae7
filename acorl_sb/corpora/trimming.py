"""Utterances without the silence before and after their speech."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import replace

from tqdm import tqdm

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.lines import some
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.vad import LEAST_SPEECH, require_detector, speech_spans

logger = logging.getLogger(__name__)


def trim_corpus(found: Corpus) -> Corpus:
    """``trimmed`` utterances in every split; those of the corpus's own trials all stay."""
    lists = (found.dev_trials, found.test_trials, *found.more_trials.values())
    needed = {name for trials in lists if trials is not None for name in trials.ids}
    parts = {part: trimmed(getattr(found, part), needed) for part in ("train", "dev", "test")}
    return replace(found, **parts)


def trimmed(utterances: Sequence[Utterance], needed: Container[str] = ()) -> list[Utterance]:
    """Utterances from the first to the last sample of their speech; pauses within stay.

    An utterance with less than ``LEAST_SPEECH`` seconds of speech is left out, and one that is
    ``needed`` by its ID is kept whole; the log names either.

    Raises ``UserError`` for audio that ``read_audio`` refuses, and without a detector.
    """
    require_detector()
    made, out, whole = [], [], []
    for u in tqdm(utterances, desc="find speech", unit="utt", disable=None):
        spans = speech_spans(read_audio(u.wav, u.start, u.stop))
        if sum(stop - start for start, stop in spans) >= LEAST_SPEECH * SAMPLE_RATE:
            start, stop = u.start + spans[0][0], u.start + spans[-1][1]
            made.append(replace(u, start=start, stop=stop, duration=(stop - start) / SAMPLE_RATE))
        elif u.id in needed:
            whole.append(u.id)
            made.append(u)
        else:
            out.append(u.id)
    for names, what in ((out, "left out"), (whole, "kept whole, since trials name them")):
        if names:
            logger.warning(
                "less than %g s of speech in %d utterances, %s: %s",
                *(LEAST_SPEECH, len(names), what, some(names)),
            )
    return made
