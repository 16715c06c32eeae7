"""Who trains, who is developed on, who is tested, and which pairs are tried: pure functions.

scikit-learn's splitters of groups hold out a share of the rows; here a number of speakers is held
out, of each gender in proportion, whatever the numbers of their utterances.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from acorl_sb.data.manifest import Utterance
from acorl_sb.data.trials import TrialList
from acorl_sb.utils.errors import UserError


def by_speaker(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Utterances of each speaker, speakers and utterances in the order of their names."""
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        groups[utterance.spk_id].append(utterance)
    return {spk: sorted(groups[spk], key=lambda u: u.id) for spk in sorted(groups)}


def split_speakers(
    utterances: Sequence[Utterance], count: int, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Hold ``count`` speakers out: (utterances of the others, utterances of the held-out ones).

    Only speakers with two utterances or more can be held out, since one utterance makes no target
    trial. Genders are held out in proportion. The choice depends on the seed and the set of
    speakers alone, not on the order of the utterances; the order is kept.

    Raises ``UserError`` where there are not enough speakers to leave two on the other side.
    """
    groups = by_speaker(utterances)
    eligible: dict[str, list[str]] = defaultdict(list)  # gender -> speakers
    for spk, group in groups.items():
        if len(group) > 1:
            eligible[group[0].gender].append(spk)
    total = sum(map(len, eligible.values()))
    if count > total or count > len(groups) - 2:
        raise UserError(
            f"cannot hold out {count} speakers: of {len(groups)} speakers {total} have the two "
            "utterances that a target trial needs, and two must stay on the other side; "
            "bring more speakers or ask for fewer"
        )
    rng = random.Random(f"split {seed}")
    for speakers in eligible.values():
        rng.shuffle(speakers)
    # Interleave the genders by the relative position within each: any prefix is proportional.
    ranked = sorted(
        ((i + 0.5) / len(speakers), gender, spk)
        for gender, speakers in eligible.items()
        for i, spk in enumerate(speakers)
    )
    held_out = {spk for _, _, spk in ranked[:count]}
    return (
        [u for u in utterances if u.spk_id not in held_out],
        [u for u in utterances if u.spk_id in held_out],
    )


def thin(utterances: Sequence[Utterance], limit: int, seed: int) -> list[Utterance]:
    """At most ``limit`` utterances of each speaker, taken from the sessions in turn."""
    chosen: set[str] = set()
    for spk, group in by_speaker(utterances).items():
        rng = random.Random(f"thin {seed} {spk}")
        sessions: dict[str, list[Utterance]] = defaultdict(list)
        for utterance in group:
            sessions[utterance.session].append(utterance)
        queues = list(sessions.values())
        rng.shuffle(queues)
        for queue in queues:
            rng.shuffle(queue)
        rounds = itertools.chain.from_iterable(itertools.zip_longest(*queues))
        chosen.update(u.id for u in itertools.islice(filter(None, rounds), limit))
    return [u for u in utterances if u.id in chosen]


def cut(utterance: Utterance, seconds: float) -> list[Utterance]:
    """Equal pieces, to a sample, of at least ``seconds``; a shorter utterance as it is."""
    pieces = int(utterance.duration // seconds)
    if pieces < 2:
        return [utterance]
    edges = np.linspace(utterance.start, utterance.stop, pieces + 1).round().astype(int).tolist()
    rate = (utterance.stop - utterance.start) / utterance.duration
    return [
        replace(utterance, id=f"{utterance.id}_{i}", start=a, stop=b, duration=(b - a) / rate)
        for i, (a, b) in enumerate(itertools.pairwise(edges))
    ]


def check_disjoint(splits: Mapping[str, Iterable[str]]) -> None:
    """Raise ``UserError`` naming the speakers that two splits share.

    ``splits`` maps the name of a split to its speakers.
    """
    sets = {name: set(speakers) for name, speakers in splits.items()}
    for (name_a, a), (name_b, b) in itertools.combinations(sets.items(), 2):
        shared = sorted(a & b)
        if shared:
            named = ", ".join(shared[:5]) + (" ..." if len(shared) > 5 else "")
            raise UserError(
                f"{len(shared)} speaker(s) are in both {name_a} and {name_b}: {named}; "
                "a speaker may be in one split only"
            )


def make_trials(
    utterances: Sequence[Utterance],
    seed: int,
    max_targets: int = 20_000,
    nontargets_per_target: float = 4.0,
    impostor_group: Callable[[Utterance], str] | None = None,
) -> TrialList:
    """A deterministic trial list over ``utterances``, each pair at most once.

    Targets: all pairs of a speaker; where sessions are known and some speaker has two, only pairs
    across sessions, since pairs within one are too easy. Above ``max_targets`` they are sampled so
    that every speaker keeps an equal share. Non-targets: sampled evenly over the pairs of speakers,
    whatever their gender, so that the share of same-gender trials is the set's own.
    ``impostor_group`` gives an utterance's group, such as its language; both speakers of a
    non-target pair are then of one group (that of their first utterance).

    Raises ``UserError`` where there are fewer than two speakers or no target pair, or where no two
    speakers are of one group.
    """
    groups = by_speaker(utterances)
    if len(groups) < 2:
        raise UserError(f"trials need two speakers or more, got {len(groups)}")
    rng = random.Random(f"trials {seed}")
    within = [list(itertools.combinations(group, 2)) for group in groups.values()]
    across = [[pair for pair in speaker if _two_sessions(*pair)] for speaker in within]
    targets = _even_sample(across if any(across) else within, max_targets, rng)
    if not targets:
        raise UserError("no speaker has two utterances, so there is no target trial")
    wanted = round(len(targets) * nontargets_per_target)
    if impostor_group is None:
        nontargets = _nontargets(list(groups.values()), wanted, rng)
    else:
        nontargets = _nontargets_in_groups(list(groups.values()), wanted, rng, impostor_group)
    pairs = [(True, a.id, b.id) for a, b in targets]
    pairs += [(False, a.id, b.id) for a, b in nontargets]
    rng.shuffle(pairs)
    return _trial_list(pairs)


def _trial_list(pairs: Sequence[tuple[bool, str, str]]) -> TrialList:
    ids = sorted({name for _, a, b in pairs for name in (a, b)})
    number = {name: i for i, name in enumerate(ids)}
    return TrialList(
        ids,
        np.array([number[a] for _, a, _ in pairs], dtype=np.int64),
        np.array([number[b] for _, _, b in pairs], dtype=np.int64),
        np.array([target for target, _, _ in pairs], dtype=bool),
    )


def _two_sessions(a: Utterance, b: Utterance) -> bool:
    return bool(a.session and b.session and a.session != b.session)


def _even_sample(groups: Sequence[Sequence], limit: int, rng: random.Random) -> list:
    """At most ``limit`` items: those of every group below the level that just fills the limit."""
    if sum(map(len, groups)) <= limit:
        return [item for group in groups for item in group]
    taken, left = [], limit
    # Smallest groups first: what they cannot fill is shared among the larger ones.
    order = sorted(range(len(groups)), key=lambda i: len(groups[i]))
    for place, i in enumerate(order):
        share = min(len(groups[i]), left // (len(order) - place))
        taken += rng.sample(groups[i], share)
        left -= share
    return taken


def _nontargets(
    groups: list[list[Utterance]], count: int, rng: random.Random
) -> list[tuple[Utterance, Utterance]]:
    """``count`` pairs of different speakers, as even as possible over the pairs of speakers."""
    speaker_pairs = len(groups) * (len(groups) - 1) // 2
    chosen: list[tuple[Utterance, Utterance]] = []
    quota, extra = divmod(count, speaker_pairs)
    one_more = set(rng.sample(range(speaker_pairs), extra))
    wanted = sorted(one_more) if quota == 0 else range(speaker_pairs)
    for index in wanted:
        a, b = (groups[i] for i in _unrank(index))
        n = min(quota + (index in one_more), len(a) * len(b))
        for k in rng.sample(range(len(a) * len(b)), n):
            pair = (a[k // len(b)], b[k % len(b)])
            # Either speaker may be the enrolled one.
            chosen.append(pair if rng.random() < 0.5 else pair[::-1])
    return chosen


def _nontargets_in_groups(
    speakers: list[list[Utterance]], count: int, rng: random.Random, group: Callable
) -> list[tuple[Utterance, Utterance]]:
    """As ``_nontargets``, but of two speakers of one group."""
    pools: dict[str, list[list[Utterance]]] = defaultdict(list)
    for utterances in speakers:
        pools[group(utterances[0])].append(utterances)
    pairs = [
        [(a, b) if rng.random() < 0.5 else (b, a) for a, b in itertools.product(*two)]
        for pool in pools.values()
        for two in itertools.combinations(pool, 2)
    ]
    if not pairs:
        raise UserError("no two speakers are of one group, so there is no non-target trial")
    return _even_sample(pairs, count, rng)


def _unrank(index: int) -> tuple[int, int]:
    """The ``index``-th pair (i, j), i < j, in the order (0,1) (0,2) (1,2) (0,3) ..."""
    j = int(((8 * index + 1) ** 0.5 + 1) / 2)
    while j * (j - 1) // 2 > index:
        j -= 1
    while j * (j + 1) // 2 <= index:
        j += 1
    return index - j * (j - 1) // 2, j
