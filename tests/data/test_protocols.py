"""VoxCeleb1's protocols by name, and training on test speakers refused."""

from __future__ import annotations

import numpy as np
import pytest

from acorl_sb.data import protocols
from acorl_sb.data.trials import TrialList, write_trials
from acorl_sb.utils.errors import UserError


def listing(path, n_trials, n_target, first=10270, speakers=40):
    """A list of the right shape: distinct pairs of utterances of the protocol's speakers."""
    side = int(np.ceil(np.sqrt(n_trials)))
    side += (-side) % speakers
    ids = [f"id{first + k % speakers}/video{k // speakers}/00001.wav" for k in range(side)]
    enrol, test = np.divmod(np.arange(n_trials), side)
    write_trials(path, TrialList(ids, enrol, test, np.arange(n_trials) < n_target))


@pytest.mark.parametrize(
    ("name", "file", "trials", "target"),
    [
        ("VoxCeleb1-O", "veri_test2.txt", 37611, 18802),
        ("VoxCeleb1-E", "list_test_all2.txt", 579818, 289921),
        ("VoxCeleb1-H", "list_test_hard2.txt", 550894, 275488),
    ],
)
def test_protocols_have_the_published_figures(name, file, trials, target):
    protocol = protocols.find_protocol(name)
    assert protocols.find_protocol(name[-1]) is protocol
    assert (protocol.file, protocol.n_trials, protocol.n_target) == (file, trials, target)
    assert protocol.url.endswith(f"/voxceleb/meta/{file}")


def test_the_published_list_is_known_by_its_figures(tmp_path):
    path = tmp_path / "veri_test2.txt"
    listing(path, 37611, 18802)
    assert len(protocols.read_protocol("VoxCeleb1-O", path)) == 37611
    path.write_text(path.read_text().rsplit("\n", 2)[0] + "\n")
    with pytest.raises(UserError):
        protocols.read_protocol("O", path)
    listing(path, 37611, 18802, first=10800)
    with pytest.raises(UserError, match="id10800"):
        protocols.read_protocol("O", path)
    with pytest.raises(UserError, match="'X'"):
        protocols.find_protocol("X")


def test_what_each_protocol_excludes():
    o, e, h = (protocols.find_protocol(name) for name in "OEH")
    assert o.excludes("id10270") and o.excludes("id10309/abc/00001.wav")
    assert not o.excludes("id10269") and not o.excludes("id10310")
    for all_of_it in (e, h):
        assert all_of_it.excludes("id10001") and all_of_it.excludes("wav/id11251/x/1.wav")
        assert not all_of_it.excludes("id09272") and not all_of_it.excludes("p225")
    assert sum(o.excludes(f"id{k:05d}") for k in range(20000)) == 40
    assert sum(e.excludes(f"id{k:05d}") for k in range(20000)) == 1251


def test_training_on_a_test_speaker_is_refused_unless_told_otherwise():
    training = ["id00012", "id10300", "id10270", "id10001", "id10300"]
    with pytest.raises(UserError, match=r"'id10270'.*'id10300'"):
        protocols.check_training(training, protocols.find_protocol("O"))
    with pytest.raises(UserError):
        protocols.check_training(training, protocols.find_protocol("E"))
    with pytest.raises(UserError, match="'a'"):
        protocols.check_training(["a", "b"], ["a", "c"], "the cohort")
    assert protocols.check_training(["a", "b"], ["a", "c"], allow=True) == ["a"]
    assert protocols.check_training(["id00012"], protocols.find_protocol("H")) == []
