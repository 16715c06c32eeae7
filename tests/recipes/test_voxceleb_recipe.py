"""The VoxCeleb recipe: its YAMLs say what they mean to, and its debug run goes through."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from acorl_sb.training.train_options import DECISIVE, TrainingRun
from acorl_sb.utils.hparams import build
from acorl_sb.utils.options import read

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "VoxCeleb" / "SpeakerRec" / "ACoRL"
script = runpy.run_path(str(RECIPE / "train.py"))


def rows():
    with open(ROOT / "recipes" / "VoxCeleb" / "recipes.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def load(name, *overrides):
    path = str(RECIPE / "hparams" / f"{name}.yaml")
    return read(script["RecipeOptions"], [path, "--device=cpu", *overrides], run=TrainingRun)


@pytest.mark.parametrize("encoder", ["ecapa1024", "resnet34"])
def test_fine_tuning_differs_from_training_as_it_should(encoder):
    first, second = load(encoder), load(f"{encoder}_large_margin")
    assert first.hparams["head"].keywords["margin"] == 0.2
    assert second.hparams["head"].keywords["margin"] == 0.5
    assert second.hparams["crop_seconds"] > first.hparams["crop_seconds"]
    assert list(first.hparams["speeds"]) == [1.0, 0.9, 1.1] and second.hparams["speeds"] == [1.0]
    assert second.hparams["lr"] < first.hparams["lr"] / 10
    for loaded, start in ((first, None), (second, f"results/acorl_{encoder}/1/members/second")):
        assert loaded.lazy["members"][1]["start"] == start
    for loaded in (first, second):  # an epoch is VoxCeleb2 once
        steps = loaded.hparams["batch_size"] * loaded.hparams["epoch_steps"]
        assert steps == pytest.approx(1_092_009, rel=0.001)
        assert loaded.lazy["encoder"]["n_mels"] == 80
        assert loaded.lazy["members"][0]["encoder"] == loaded.lazy["encoder"]


@pytest.mark.parametrize(("encoder", "millions"), [("ecapa1024", 20.8), ("resnet34", 7.7)])
def test_encoders_have_the_size_of_the_literature(encoder, millions):
    made = build(load(encoder).lazy["encoder"], encoder)["embedding_model"]
    assert sum(p.numel() for p in made.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_every_yaml_has_its_row():
    listed = {Path(row["Hparam_file"]).name for row in rows()}
    assert listed == {path.name for path in (RECIPE / "hparams").glob("*.yaml")}
    for row in rows():
        for column in ("Script_file", "Hparam_file", "Readme_file"):
            assert (ROOT / row[column]).is_file()


def test_the_debug_rows_run(tmp_path):
    """Training, then fine-tuning, and members that are fine-tuned, with the flags of the rows."""
    for kind, seed in (("noise", 0), ("RIRs", 1)):
        folder = tmp_path / "tests" / "samples" / kind
        folder.mkdir(parents=True)
        wave = 0.1 * np.random.default_rng(seed).standard_normal(4000)
        soundfile.write(folder / "a.wav", wave, 16000)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    for number, row in zip((9, 10, 13), [*rows()[:2], rows()[-1]], strict=True):
        out = f"tests/tmp/VoxCeleb_row_{number:02d}"
        done = subprocess.run(
            [
                *(sys.executable, row["Script_file"], row["Hparam_file"]),
                *shlex.split(row["test_debug_flags"]),
                *("--output_folder", out, "--debug", "--debug_persistently"),
            ],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        wanted = row["test_debug_checks"].split("[")[1].split("]")[0].split(",")
        assert [name for name in wanted if not (tmp_path / out / name).exists()] == []
        member = wanted[5].split("/")[1]
        record = json.loads((tmp_path / out / "members" / member / "member.json").read_text())
        kept = {*DECISIVE, "corpus", "data_folder", "prepare_options"}
        assert set(record["settings"]["training"]) == kept  # no loader processes, no cache
