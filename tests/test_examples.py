"""The examples of CONTRIBUTING.md do what they are for, run as a user runs them."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from acorl_sb.data.embeddings import read_embeddings
from acorl_sb.data.scorefiles import read_scores
from tests import tiny
from tests.cli.test_train import TINY

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"


def acorl(*arguments, folder):
    """Run a command with the examples on ``PYTHONPATH``; returns what it printed."""
    path = os.pathsep.join([str(EXAMPLES), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "acorl_sb", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with the example corpus, encoder and objective, all at once."""
    folder = tmp_path_factory.mktemp("examples")
    for utterance in tiny.hums(folder / "hums"):
        source = Path(utterance.wav)
        (folder / "mine").mkdir(exist_ok=True)
        shutil.move(source, folder / "mine" / f"{source.parent.name}_{source.name}")
    acorl(
        *("train", EXAMPLES / "my_ensemble.yaml", *TINY),
        *("--data_folder", "mine", "--prepare_options", "{dev_speakers: 2, test_speakers: 2}"),
        *("--output_folder", "run"),
        folder=folder,
    )
    return folder / "run"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    yield importlib.import_module
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


def test_corpus_and_encoder_and_objective_train(run):
    names = [system["name"] for system in json.loads((run / "results.json").read_text())["systems"]]
    assert names[:2] == ["first", "second"]
    speakers = {line.split("_")[0] for line in (run / "manifest/train.csv").read_text().split()[1:]}
    assert len(speakers) == 2  # of six, four are held out
    log = [json.loads(line) for line in (run / "members/second/train_log.jsonl").open()]
    assert all(0 <= epoch["squared_cosine"] <= 1 for epoch in log)
    assert "MeanPooling" in (run / "members/second/hyperparams.yaml").read_text()


def test_the_objective_is_what_it_says(example):
    objective = example("my_objective").SquaredCosine(3, [3], 4)
    z = torch.randn(5, 3, requires_grad=True)
    term = objective(z, [2 * z.detach()], torch.zeros(5), 0.5)
    assert float(term.logs["squared_cosine"]) == pytest.approx(1)
    term = objective(torch.eye(3)[:1], [torch.eye(3)[1:2]], torch.zeros(1), 0.5)
    assert float(term.logs["squared_cosine"]) == 0


def test_the_back_end_scores(run):
    acorl(
        *("score", EXAMPLES / "my_scoring.yaml", "--run_folder", run, "--replicates", "0"),
        *("--output_folder", run.parent / "scored", "--device", "cpu"),
        folder=run.parent,
    )
    scores = read_scores(run.parent / "scored/scores/first/euclidean-none.txt")
    table = read_embeddings(run / "embeddings/first/test")
    rows = {name: row for row, name in enumerate(table.ids)}
    ids = scores.trials.ids
    enrol, test = (
        table.vectors[[rows[ids[i]] for i in side]]
        for side in (scores.trials.enrol, scores.trials.test)
    )
    expected = -np.square(enrol.astype(np.float64) - test).sum(1)
    np.testing.assert_allclose(scores.scores, expected, rtol=1e-4, atol=1e-4)


def test_contributing_shows_every_example():
    """The page's code is that of the files, so that what a reader copies is what was run."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = {line.strip() for block in re.findall(r"```python\n(.*?)```", text, re.S)
             for line in block.splitlines() if line.strip()}  # fmt: skip
    written: set[str] = set()
    for path in EXAMPLES.iterdir():
        if path.is_file():
            assert f"docs/examples/{path.name}" in text
            written |= {line.strip() for line in path.read_text(encoding="utf-8").splitlines()}
    assert shown and shown <= written
