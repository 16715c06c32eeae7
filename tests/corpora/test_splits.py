"""Splits share no speaker; trials are right, unique, balanced and depend on the seed alone."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from acorl_sb.corpora.splits import check_disjoint, cut, make_trials, split_speakers, thin
from acorl_sb.data.manifest import Utterance
from acorl_sb.utils.errors import UserError


def corpus(speakers=10, sessions=2, per_session=3, known=True):
    return [
        Utterance(
            f"s{s:02d}-{t}-{k}",
            1.0,
            f"/{s}/{t}/{k}.wav",
            0,
            16000,
            f"s{s:02d}",
            f"{t}" if known else "",
            "mf"[s % 2],
        )
        for s in range(speakers)
        for t in range(sessions)
        for k in range(per_session)
    ]


def triples(trials):
    ids = trials.ids
    return [
        (bool(label), ids[a], ids[b])
        for label, a, b in zip(trials.labels, trials.enrol, trials.test, strict=True)
    ]


def speakers(utterances):
    return {u.spk_id for u in utterances}


def test_split_is_disjoint_complete_and_balanced():
    utterances = corpus(20)
    kept, held_out = split_speakers(utterances, 6, seed=3)
    assert len(speakers(held_out)) == 6 and not speakers(kept) & speakers(held_out)
    assert sorted([*kept, *held_out], key=lambda u: u.id) == utterances
    gender = Counter(u.gender for u in held_out)
    assert gender["m"] == gender["f"]


def test_split_depends_on_the_seed_and_not_on_the_order():
    utterances = corpus(20)
    first = speakers(split_speakers(utterances, 6, seed=0)[1])
    assert speakers(split_speakers(utterances[::-1], 6, seed=0)[1]) == first
    assert any(speakers(split_speakers(utterances, 6, seed=s)[1]) != first for s in (1, 2))


def test_speakers_with_one_utterance_are_never_held_out():
    once = [Utterance(f"x{i}", 1.0, f"/{i}", 0, 16000, f"x{i}") for i in range(30)]
    kept, held_out = split_speakers([*once, *corpus(6)], 6, seed=0)
    assert speakers(held_out) == speakers(corpus(6)) and len(kept) == 30
    with pytest.raises(UserError):
        split_speakers([*once, *corpus(6)], 7, seed=0)


def test_two_speakers_must_stay():
    with pytest.raises(UserError):
        split_speakers(corpus(6), 5, seed=0)


def test_thinning_takes_from_every_session():
    utterances = corpus(3, sessions=4, per_session=5)
    few = thin(utterances, 6, seed=0)
    count = Counter((u.spk_id, u.session) for u in few)
    assert len(few) == 18 and len(count) == 12 and set(count.values()) == {1, 2}
    assert few == [u for u in utterances if u in few]
    assert thin(utterances[::-1], 6, seed=0)[::-1] == few != thin(utterances, 6, seed=1)
    assert thin(utterances, 20, seed=0) == utterances


def test_shared_speakers_are_named():
    check_disjoint({"train": ["a", "b"], "dev": ["c"], "test": ["d"]})
    with pytest.raises(UserError):
        check_disjoint({"train": "abd", "dev": "c", "test": "bde"})


def test_labels_agree_with_speakers_and_no_pair_occurs_twice():
    utterances = corpus(known=False)
    speaker = {u.id: u.spk_id for u in utterances}
    rows = triples(make_trials(utterances, seed=0))
    for target, a, b in rows:
        assert a != b and target == (speaker[a] == speaker[b])
    assert len({frozenset(row[1:]) for row in rows}) == len(rows)
    # Every target pair there is: 10 speakers, 15 pairs each.
    assert sum(target for target, _, _ in rows) == 150
    assert sum(not target for target, _, _ in rows) == 600


def test_known_sessions_are_crossed():
    utterances = corpus(sessions=3)
    session = {u.id: u.session for u in utterances}
    targets = [row for row in triples(make_trials(utterances, seed=0)) if row[0]]
    assert len(targets) == 10 * 27
    assert all(session[a] != session[b] for _, a, b in targets)


def test_one_session_each_gives_targets_within_it():
    assert sum(make_trials(corpus(sessions=1), seed=0).labels) == 30


def test_the_cap_is_shared_evenly():
    utterances = corpus(8, sessions=1, per_session=10) + [
        Utterance(f"t-{k}", 1.0, f"/t/{k}", 0, 16000, "t") for k in range(2)
    ]
    rows = triples(make_trials(utterances, seed=0, max_targets=81, nontargets_per_target=1))
    count = Counter(a.split("-")[0] for target, a, _ in rows if target)
    assert count.pop("t") == 1  # all it has
    assert set(count.values()) == {10}


def test_nontargets_are_even_over_pairs_of_speakers():
    rows = triples(make_trials(corpus(known=False), seed=5))
    pairs = Counter(frozenset((a[:3], b[:3])) for target, a, b in rows if not target)
    assert len(pairs) == 45 and set(pairs.values()) == {13, 14}


def test_few_nontargets_over_many_speakers():
    rows = triples(make_trials(corpus(30), seed=0, max_targets=20, nontargets_per_target=1))
    pairs = [frozenset((a[:3], b[:3])) for target, a, b in rows if not target]
    assert len(rows) == 40 and len(set(pairs)) == 20 and all(len(pair) == 2 for pair in pairs)


def test_trials_depend_on_the_seed_and_not_on_the_order():
    utterances = corpus()
    first = triples(make_trials(utterances, seed=0, max_targets=50))
    assert triples(make_trials(utterances[::-1], seed=0, max_targets=50)) == first
    assert triples(make_trials(utterances, seed=1, max_targets=50)) != first


def test_all_pairs_of_speakers_can_be_drawn():
    # Few speakers with more non-targets asked for than there are: all of them, once.
    rows = triples(make_trials(corpus(3, 1, 2), seed=0, nontargets_per_target=100))
    expected = {
        frozenset((a.id, b.id))
        for a, b in itertools.combinations(corpus(3, 1, 2), 2)
        if a.spk_id != b.spk_id
    }
    assert {frozenset(row[1:]) for row in rows if not row[0]} == expected


def test_too_little_for_trials_is_said():
    with pytest.raises(UserError):
        make_trials(corpus(1), seed=0)
    with pytest.raises(UserError):
        make_trials(corpus(3, 1, 1), seed=0)


@pytest.mark.parametrize("samples, pieces", [(47_999, 1), (95_999, 1), (96_000, 2), (160_001, 3)])
def test_pieces_cover_the_utterance_and_are_long_enough(samples, pieces):
    whole = Utterance("u", samples / 16000, "u.wav", 500, 500 + samples, "s", "day", "f")
    found = cut(whole, 3.0)
    assert len(found) == pieces
    assert found[0].start == 500 and found[-1].stop == 500 + samples
    assert all(a.stop == b.start for a, b in itertools.pairwise(found))
    assert max(u.stop - u.start for u in found) - min(u.stop - u.start for u in found) <= 1
    for u in found:
        assert u.duration == pytest.approx((u.stop - u.start) / 16000)
        assert (u.wav, u.spk_id, u.session, u.gender) == ("u.wav", "s", "day", "f")
        assert pieces == 1 or u.duration >= 3.0
