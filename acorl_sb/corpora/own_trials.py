"""Trial lists of one's own over the utterances of any corpus."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.data.lines import some
from acorl_sb.data.trial_set import TrialSet, read_trial_set
from acorl_sb.utils.errors import UserError

logger = logging.getLogger(__name__)


def with_own_trials(found: Corpus, lists: Mapping[str, str | os.PathLike]) -> Corpus:
    """A corpus whose development or test part is what a list names; its speakers do not train.

    Arguments
    ---------
    found : Corpus
        The list may name utterances of any of its parts.
    lists : mapping
        Path of a trial list by the part, ``dev`` or ``test``, that it is for.

    Returns
    -------
    Corpus
        The listed part holds the utterances that the list names, and its trials; all other
        utterances of their speakers are left out of the other parts, which the log says.

    Raises
    ------
    UserError
        For a list that names utterances that the corpus has not, has no labels or one class only,
        or contradicts the corpus's speakers; and for two lists that share speakers.
    """
    everything = [*found.train, *found.dev, *found.test]
    sets = {part: _named(read_trial_set(everything, path)) for part, path in lists.items()}
    speakers = {part: {u.spk_id for u in made.utterances} for part, made in sets.items()}
    if len(sets) == 2 and (shared := sorted(speakers["dev"] & speakers["test"])):
        raise UserError(
            f"{lists['dev']} and {lists['test']}: {len(shared)} speakers are in both, "
            f"{some(shared)}; development and test speakers must differ"
        )
    held, kept = set().union(*speakers.values()), {}
    for part in ("train", "dev", "test"):
        own = getattr(found, part)
        kept[part] = [u for u in own if u.spk_id not in held]
    named = sum(len(made.utterances) for made in sets.values())
    left_out = len(everything) - named - sum(map(len, kept.values()))
    logger.info(
        "%s: %d speakers of these trials are kept out of training, with %d utterances that no "
        "trial names",
        " and ".join(str(path) for path in lists.values()), len(held), left_out,
    )  # fmt: skip
    for part, made in sets.items():
        kept[part] = list(made.utterances)
    trials = {f"{part}_trials": made.trials for part, made in sets.items()}
    return replace(found, **kept, **trials)


def _named(made: TrialSet) -> TrialSet:
    """The same trials over the utterances alone that they name."""
    names = set(made.trials.ids)
    return TrialSet.of([u for u in made.utterances if u.id in names], made.trials)
