"""The study: a pair per candidate beside one first member, resumable, figures of its runs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from acorl_sb.scoring.scorefiles import read_scores

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "speechocean762"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("study", RECIPE / "study.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*args):
    return subprocess.run(
        [sys.executable, RECIPE / "study.py", *map(str, args)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_best_linear_d_is_the_closed_form_of_two_correlated_members(study):
    generator = np.random.default_rng(0)
    labels = np.arange(400_000) % 2 == 0
    noise = generator.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], len(labels)).T
    scores = noise + np.where(labels, [[2.0], [1.5]], 0.0)
    wanted = ((4 + 2.25 - 2 * 0.5 * 3) / (1 - 0.25)) ** 0.5
    assert study.best_linear_d(scores, labels) == pytest.approx(wanted, rel=0.01)


def test_an_unknown_candidate_is_refused():
    done = run(RECIPE / "hparams" / "study.yaml", "--data_folder", "x", "--chosen", "[nobody]")
    assert done.returncode == 2 and "'nobody' is not a candidate" in done.stderr


def test_two_candidates_on_real_speech_and_again(real_data, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"""
inherit: {RECIPE}/hparams/study.yaml
base: {RECIPE.parents[1]}/hparams/acorl_ecapa.yaml
data_folder: {real_data}/speechocean762
output_folder: {tmp_path}/out
common:
    {{epochs: 1, epoch_steps: 2, channels: 8, embedding_dim: 8, batch_size: 8, crop_seconds: 0.5,
    dev_seconds: 0.5, score_seconds: 0.5, cache_mb: 0}}
seeds: [1]
chosen: [cka]
candidates:
    independent: {{objective: null}}
    cka:
        objective: !name:acorl_sb.complementarity.CKA
            push: !new:acorl_sb.complementarity.Push
                strength: 5.0
""")
    done = run(mine)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((tmp_path / "out" / "study.json").read_text())
    assert [row["candidate"] for row in rows] == ["independent", "cka"]
    assert rows[0]["test"]["first"] == rows[1]["test"]["first"]
    assert rows[0]["test"]["second"] != rows[1]["test"]["second"]
    files = [
        read_scores(tmp_path / "out" / "seed1" / "cka" / "scores" / name / "test.txt")
        for name in ("first", "second")
    ]
    apart = ~files[0].trials.labels
    wanted = np.corrcoef(files[0].scores[apart], files[1].scores[apart])[0, 1]
    assert rows[1]["test"]["correlation_nontarget"] == pytest.approx(wanted)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.ckpt")}
    assert run(mine).returncode == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.ckpt")}
