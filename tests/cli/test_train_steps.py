"""Where an experiment is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from acorl_sb.data.manifest import read_manifest
from acorl_sb.data.trials import read_trials
from acorl_sb.training.run_folder import check_and_prepare, named
from acorl_sb.training.train_options import DECISIVE, TrainingKeys, TrainingRun, TrainOptions
from acorl_sb.utils.options import read
from tests import tiny

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"


@pytest.mark.parametrize(
    "name",
    [
        "acorl_ecapa",
        "acorl_paper",
        "acorl_scratch",
        "acorl_ge2e",
        "independent_ecapa",
        "heterogeneous_ecapa",
        "finetuned_ecapa",
    ],
)
def test_the_default_output_folder_tells_data_folders_apart(name, tmp_path):
    def default(*args):
        path = str(HPARAMS / f"{name}.yaml")
        hparams = read(TrainOptions, [path, *args], "", TrainingRun).hparams
        return named(hparams["output_folder"], hparams["corpus"], hparams["data_folder"])

    assert default() == Path(f"results/voices_{name}_1")
    assert default("--data_folder", "anywhere") == default()
    of_folder = [
        default("--corpus", "folder", "--data_folder", str(tmp_path / mine))
        for mine in ("one", "two", "two words")
    ]
    assert len({*of_folder, default()}) == 4
    assert of_folder[1].name == f"folder_two_{name}_1"
    assert not set(of_folder[2].name) & set(" /\\")


def test_what_decides_weights_is_all_but_how_fast_training_goes():
    tree = YAML().load((HPARAMS / "acorl_ecapa.yaml").read_text(encoding="utf-8"))
    assert set(TrainingKeys.model_fields) <= set(tree)
    assert set(TrainingKeys.model_fields) - set(DECISIVE) == {
        *("workers", "cache_mb", "train_logger", "cuda_graphs")
    }


def test_trials_of_ones_own_reach_the_manifests(tmp_path):
    tiny.hums(tmp_path / "speech", speakers=8, each=3, seconds=0.2)
    lists = {"test": tmp_path / "test.txt", "dev": tmp_path / "dev.txt"}
    lists["test"].write_text("1 s0/u0 s0/u2\n0 s0/u0 s1/u1\n")
    lists["dev"].write_text("s2/u0 s2/u1 target\ns2/u0 s3/u2 nontarget\n")
    member = {"name": "a", "encoder": tiny.encoder_tree()}
    rest = ([member], [], tiny.settings(), tiny.CPU, lists)
    splits = check_and_prepare(tmp_path / "out", "folder", tmp_path / "speech", {}, *rest)
    assert [u.id for u in read_manifest(splits.test)] == ["s0/u0", "s0/u2", "s1/u1"]
    assert {u.spk_id for u in read_manifest(splits.train)} == {"s4", "s5", "s6", "s7"}
    assert len(read_trials(splits.dev_trials)) == 2
