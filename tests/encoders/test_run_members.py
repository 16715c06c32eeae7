"""Which members a run's folder is of: its results first, then its YAML, then its folders."""

from __future__ import annotations

import json

import pytest

from acorl_sb.encoders.run_members import ensemble_of, trained_members
from acorl_sb.utils.errors import UserError

FOLDERS = ("a", "a2", "b", "b2")
YAML = """\
references: [{name: mine, folder: x}]
members:
    - {name: a, objective: null}
    - {name: b, objective: !name:acorl_sb.complementarity.Nontarget {}}
    - {name: b2, start: b}
    - {name: a2, start: a}
"""


@pytest.fixture
def run(tmp_path):
    for name in FOLDERS:
        (tmp_path / "members" / name).mkdir(parents=True)
    return tmp_path


def results(*members):
    rows = [{"name": name, "kind": "member"} for name in members]
    return json.dumps({"systems": [*rows, {"name": "score-mean", "kind": "fusion"}]})


def test_folders_alone_say_what_was_trained(run):
    assert ensemble_of(run) is None
    assert trained_members(run) == [*FOLDERS]


def test_a_yaml_says_who_took_whose_place(run):
    (run / "hyperparams.yaml").write_text(YAML)
    assert ensemble_of(run) == trained_members(run) == ["a2", "b2"]
    (run / "members" / "b2").rmdir()
    assert trained_members(run) == ["a2"]


def test_results_say_what_a_finished_run_is_of(run):
    (run / "hyperparams.yaml").write_text(YAML)
    (run / "results.json").write_text(results("mine", "b", "a"))
    assert ensemble_of(run) == ["mine", "b", "a"]
    assert trained_members(run) == ["b", "a"]
    for text in ('{"score_seconds": 2.0}', '{"systems": []}'):  # a run without its figures
        (run / "results.json").write_text(text)
        assert ensemble_of(run) == ["a2", "b2"]


@pytest.mark.parametrize("text", ['{"systems": 3}', '{"systems": [{"kind": "member"}]}', "[]", "x"])
def test_other_results_are_refused(run, text):
    (run / "results.json").write_text(text)
    with pytest.raises(UserError, match=r"results\.json"):
        trained_members(run)


@pytest.mark.parametrize("text", ["{}", "members: 3\n", "members: [3, {objective: null}]\n"])
def test_a_yaml_without_names_says_nothing(run, text):
    (run / "hyperparams.yaml").write_text(text)
    assert ensemble_of(run) is None and trained_members(run) == [*FOLDERS]
