"""YAMLs: inheritance, includes, overrides, and keys that nobody knows."""

from __future__ import annotations

import collections

import pytest
import ruamel.yaml

from acorl_sb.utils import hparams
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build, plain
from acorl_sb.utils.option_kinds import ABSENT, REQUIRED

BASE = """
start: 1
b: !ref <start> + 1
made: !new:collections.Counter
    x: !ref <b>
spare:
    n: !include:part.yaml
"""


@pytest.fixture()
def base(tmp_path):
    (tmp_path / "part.yaml").write_text("size: 3\ntwice: !ref <size> * 2\n")
    path = tmp_path / "base.yaml"
    path.write_text(BASE)
    return path


def load(path, lazy=("spare",), **given):
    return hparams.load(path, given, dict.fromkeys(["b", "made", "spare"], REQUIRED), lazy)


def test_references_includes_and_overrides(base):
    loaded = load(base, start=4)
    assert loaded.hparams["b"] == 5 and loaded.hparams["made"]["x"] == 5
    assert plain(loaded.lazy["spare"]) == {"n": {"size": 3, "twice": 6}}
    assert "start: 4" in loaded.text and "b: 5" in loaded.text
    assert loaded.plain(["b", "made"]) == {
        "b": 5,
        "made": {"!tag": "!new:collections.Counter", "x": 5},
    }


def test_inheritance_from_another_folder_keeps_includes(base, tmp_path):
    child = tmp_path / "deep" / "child.yaml"
    child.parent.mkdir()
    child.write_text("inherit: ../base.yaml\nstart: 10\n")
    loaded = load(child)
    assert loaded.hparams["b"] == 11
    assert plain(loaded.lazy["spare"])["n"]["twice"] == 6
    grandchild = tmp_path / "grandchild.yaml"
    grandchild.write_text("inherit: deep/child.yaml\nb: 7\n")
    assert load(grandchild).hparams["b"] == 7


def test_a_reference_may_lead_to_one_that_stands_further_down(base, tmp_path):
    child = tmp_path / "child.yaml"
    child.write_text("inherit: base.yaml\nb: !ref <late> + 1\nlate: !ref <later> * 2\nlater: 3\n")
    loaded = load(child)
    assert loaded.hparams["b"] == 7 and loaded.hparams["made"]["x"] == 7


def test_lazy_trees_build_a_new_object_each_time(base):
    loaded = load(base, ["made", "spare"])
    one, two = (build(loaded.lazy["made"], "made") for _ in range(2))
    assert one == two and one is not two


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("b: 2\nmade: 3\nspare: 4\nother: 5\n", "'other'"),
        ("b: 2\nmade: 3\nspares: 4\n", "'spare'"),
        ("b: 2\nmade: 3\n", "'spare'"),
        ("b: [\n", "mine.yaml"),
        ("just text\n", "mine.yaml"),
        ("b: !ref <nowhere>\nmade: 1\nspare: 2\n", "nowhere"),
        ("b: 1\nmade: !new:collections.Count {}\nspare: 2\n", "Count"),
        ("b: 1\nmade: !new:nowhere.At {}\nspare: 2\n", "nowhere"),
        ("b: !PLACEHOLDER\nmade: 1\nspare: 2\n", "PLACEHOLDER"),
        ("inherit: none.yaml\n", "none.yaml"),
    ],
)
def test_each_fault_is_one_sentence_with_the_file(tmp_path, text, where):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"(mine|none)\.yaml") as error:
        load(path)
    assert where in str(error.value) and "\n" not in str(error.value)


def test_a_child_may_not_bring_keys_that_its_parent_lacks(base, tmp_path):
    child = tmp_path / "child.yaml"
    child.write_text("inherit: base.yaml\nlr: 10\n")
    with pytest.raises(UserError, match=r"child.yaml.*'lr'.*base.yaml"):
        load(child)


def test_an_included_file_takes_only_its_own_keys(base, tmp_path):
    child = tmp_path / "child.yaml"
    child.write_text("inherit: base.yaml\nspare:\n    - n: !include:part.yaml\n        size: 5\n")
    assert plain(load(child).lazy["spare"]) == [{"n": {"size": 5, "twice": 10}}]
    child.write_text(child.read_text().replace("size", "siz"))
    with pytest.raises(UserError, match=r"child\.yaml.*'siz'.*part\.yaml.*'size'"):
        load(child)


def test_an_included_file_may_hold_objects_of_one_argument(base, tmp_path):
    (tmp_path / "part.yaml").write_text("parts: [!new:collections.Counter {x: 1}]\n")
    for child in (BASE, BASE.replace("part.yaml", "part.yaml {}")):
        base.write_text(child)
        loaded = load(base)
        assert build(loaded.lazy["spare"], "spare") == {"n": {"parts": [collections.Counter(x=1)]}}


def test_an_unknown_override_is_named(base):
    with pytest.raises(UserError, match=r"command line.*'mad'"):
        load(base, mad=3)


def test_a_key_for_the_yamls_own_references_is_overridden_where_it_has_it(base):
    known = {**dict.fromkeys(["b", "made", "spare"], REQUIRED), "channels": ABSENT}
    with pytest.raises(UserError, match=r"command line.*'channels'.*base\.yaml"):
        hparams.load(base, {"channels": 8}, known, ["spare"])
    base.write_text(BASE.replace("<start> + 1", "<channels> + <start>"))
    assert hparams.load(base, {"channels": 8}, known, ["spare"]).hparams["b"] == 9


def test_a_list_in_brackets_may_hold_objects_of_one_argument(tmp_path):
    path = tmp_path / "base.yaml"
    parts = "[!new:collections.Counter {x: 1}, {y: [!new:collections.Counter {z: 2}]}, 3]"
    path.write_text(f"b: 1\nmade: !new:collections.OrderedDict {{parts: {parts}}}\nspare: [1, 2]\n")
    for given in ({}, {"b": yaml_value(parts)}):
        loaded = load(path, **given)
        assert loaded.hparams["made"]["parts"] == [{"x": 1}, {"y": [{"z": 2}]}, 3]
        assert type(loaded.hparams["made"]["parts"][0]) is collections.Counter
        # Read again, as a rerun and the saved YAML are; other lists stay in brackets.
        path.write_text(loaded.text)
        assert "spare: [1, 2]" in loaded.text
    assert loaded.hparams["b"] == loaded.hparams["made"]["parts"]


def yaml_value(text):
    return ruamel.yaml.YAML().load(text)
