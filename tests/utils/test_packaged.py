"""A YAML of the user's goes before one that the project brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import read_tree
from acorl_sb.utils.packaged import find_yaml

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["acorl_ecapa.yaml", "hparams/acorl_ecapa.yaml", "encoders/ecapa.yaml"]
)
def test_what_the_project_brings_is_found_from_any_folder(name, empty):
    assert find_yaml(name) == HPARAMS / name.removeprefix("hparams/")
    (empty / name).parent.mkdir(exist_ok=True)
    (empty / name).write_text("mine: 1\n")
    assert find_yaml(name) == Path(name)
    assert find_yaml(name, empty) == empty / name


@pytest.mark.parametrize(
    "name", ["none.yaml", "../hparams/fuse.yaml", "/hparams/fuse.yaml", "x/fuse.yaml", "hparams"]
)
def test_any_other_name_stays_what_it_is(name):
    assert find_yaml(name) == Path(name)


def test_a_yaml_of_ones_own_may_build_on_them(empty):
    (empty / "mine.yaml").write_text(
        "inherit: acorl_paper.yaml\nmembers:\n- encoder: !include:encoders/resnet.yaml\n"
    )
    tree = read_tree(Path("mine.yaml"))
    assert tree["batch_size"] == read_tree(HPARAMS / "acorl_paper.yaml")["batch_size"]
    assert tree["members"][0]["encoder"].tag.value == f"!include:{HPARAMS}/encoders/resnet.yaml"
    (empty / "encoders").mkdir()
    (empty / "encoders/resnet.yaml").write_text("n_mels: 3\n")
    own = read_tree(Path("mine.yaml"))["members"][0]["encoder"]
    assert own.tag.value == f"!include:{empty}/encoders/resnet.yaml"
    (empty / "mine.yaml").write_text("inherit: none.yaml\n")
    with pytest.raises(UserError, match=r"none\.yaml"):
        read_tree(Path("mine.yaml"))
