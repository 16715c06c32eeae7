"""Trial lists of one's own: what they name is tried, and nobody in them trains."""

from __future__ import annotations

import logging

import pytest

from acorl_sb import corpora
from acorl_sb.data.trials import read_trials
from acorl_sb.utils.errors import UserError

FILES = [f"spk{s}/{k}.wav" for s in range(9) for k in range(3)]
TEST = "1 spk0/0 spk0/1\n0 spk0/0 spk1/2\n"
DEV = "spk2/0 spk2/1 target\nspk2/0 spk3/1 nontarget\n"


@pytest.fixture
def data(audio_tree):
    return audio_tree("data", FILES)


def prepared(data, tmp_path, test=TEST, dev=DEV, **options):
    lists = {}
    for part, text in (("test", test), ("dev", dev)):
        if text is not None:
            lists[part] = tmp_path / f"my_{part}.txt"
            lists[part].write_text(text)
    splits = corpora.prepare("folder", data, tmp_path / "out", own_trials=lists, **options)
    return splits, [corpora.read_manifest(path) for path in splits[:3]]


def test_the_listed_utterances_are_the_parts_and_their_speakers_do_not_train(
    data, tmp_path, caplog
):
    with caplog.at_level(logging.INFO):
        splits, (train, dev, test) = prepared(data, tmp_path)
    assert {u.id for u in test} == {"spk0/0", "spk0/1", "spk1/2"}
    assert {u.id for u in dev} == {"spk2/0", "spk2/1", "spk3/1"}
    assert {u.spk_id for u in train} == {f"spk{s}" for s in range(4, 9)} and len(train) == 15
    found = read_trials(splits.test_trials)
    assert [found.name(n) for n in range(2)] == ["spk0/0 spk0/1", "spk0/0 spk1/2"]
    assert found.labels.tolist() == [True, False]
    # 12 utterances of the four speakers, six of which the lists name
    assert "4 speakers" in caplog.text and "with 6 utterances" in caplog.text


@pytest.mark.parametrize("given", ["test", "dev"])
def test_the_part_without_a_list_is_held_out_of_the_other_speakers(data, tmp_path, given):
    lists = {"test": TEST, "dev": None} if given == "test" else {"test": None, "dev": DEV}
    _, parts = prepared(data, tmp_path, **lists)
    speakers = [{u.spk_id for u in part} for part in parts]
    assert speakers[2 if given == "test" else 1] == (
        {"spk0", "spk1"} if given == "test" else {"spk2", "spk3"}
    )
    assert all(len(s) >= 2 for s in speakers)
    assert not speakers[0] & speakers[1] | speakers[0] & speakers[2] | speakers[1] & speakers[2]


@pytest.mark.parametrize(
    "lists",
    [
        {"test": "1 spk0/0 spk0/1\n0 spk0/0 nobody/2\n"},
        {"test": "1 spk0/0 spk1/1\n0 spk0/0 spk2/2\n"},
        {"test": "1 spk0/0 spk0/1\n"},
        {"test": "spk0/0 spk0/1\n"},
        {"test": "no trial list\n"},
        {"dev": "1 spk0/0 spk0/2\n0 spk0/0 spk2/1\n"},
        {"test": "".join(f"0 spk{s}/0 spk{s + 1}/0\n" for s in range(8)) + "1 spk0/0 spk0/1\n"},
    ],
)
def test_lists_that_make_no_sense_are_refused_before_anything_is_written(data, tmp_path, lists):
    with pytest.raises(UserError):
        prepared(data, tmp_path, **lists)
    assert not (tmp_path / "out").exists()


def test_a_changed_list_is_read_again(data, tmp_path):
    prepared(data, tmp_path)
    _, (_, _, test) = prepared(data, tmp_path, test=TEST.replace("spk0/1", "spk0/2"))
    assert {u.id for u in test} == {"spk0/0", "spk0/2", "spk1/2"}
