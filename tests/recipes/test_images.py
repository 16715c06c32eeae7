"""The image recipe: members trained and resumed, accuracy recomputed, bad input refused."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from sklearn.metrics import accuracy_score
from torchvision import datasets

from acorl_sb.utils.errors import run_cli

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "ImageClassification"
sys.path.insert(0, str(RECIPE))
from images.data import cifar, digits, embed, small_resnet18  # noqa: E402
from images.ensembles import measure  # noqa: E402

SMALL = ["--epochs=2", "--epoch_steps=3", "--batch_size=20", "--width=4", "--device=cpu"]


def call(script, yaml, folder, *argv):
    main = runpy.run_path(str(RECIPE / f"{script}.py"))["main"]
    argv = [*SMALL, "--output_folder", str(folder), *argv]
    assert main([str(RECIPE / "hparams" / yaml), *argv]) == 0
    return json.loads((folder / "results.json").read_text())


def weights(member):
    return torch.load(member / "embedding_model.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, call("train", "digits.yaml", folder)


def test_accuracy_is_that_of_the_mean_of_probabilities(trained):
    folder, found = trained
    test, logits = digits().test, []
    for name in ("first", "second"):
        member = folder / "members" / name
        encoder = load_hyperpyyaml((member / "hyperparams.yaml").read_text())["embedding_model"]
        encoder.load_state_dict(weights(member))
        head = torch.load(member / "classifier.ckpt", weights_only=True)
        with torch.no_grad():
            logits.append(encoder.eval()(test.images) @ head["weight"].T + head["bias"])
    guesses = {"first": logits[0], "second": logits[1]}
    guesses["2 members, probabilities"] = logits[0].softmax(1) + logits[1].softmax(1)
    for name, values in guesses.items():
        expected = accuracy_score(test.labels, values.argmax(1))
        assert found[name]["accuracy"][0] == pytest.approx(expected, abs=0.002)
    assert found["2 members, embeddings"]["accuracy"][0] > 0.2  # chance is 0.1


def test_an_interrupted_run_ends_as_if_it_had_never_stopped(trained, tmp_path, monkeypatch):
    def stop(self, dev_error):
        if self.epoch == 2 and self.hparams.name == "second":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("acorl_sb.training.brain.ComplementaryBrain.epoch_ended", stop)
        call("train", "digits.yaml", tmp_path)
    assert call("train", "digits.yaml", tmp_path) == trained[1]
    for name in ("first", "second"):
        whole, resumed = (weights(f / "members" / name) for f in (trained[0], tmp_path))
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    monkeypatch.setattr("acorl_sb.training.brain.SpeakerBrain.fit", None)
    assert call("train", "digits.yaml", tmp_path) == trained[1]


@pytest.mark.parametrize("view", ["crop", "utterance"])
def test_a_member_of_one_run_is_a_reference_of_another(trained, tmp_path, view):
    owned = trained[0] / "members" / "first" / "embedding_model.ckpt"
    references = f"[{{name: mine, encoder: !ref <encoder>, weights: {owned}}}]"
    members = "[{name: new, encoder: !ref <encoder>, objective: !ref <complementary>}]"
    argv = ["--references", references, "--members", members, "--view", view]
    assert list(call("train", "digits.yaml", tmp_path, *argv)) == ["new"]


def test_an_objective_changes_members_by_its_weight_alone(trained, tmp_path):
    found = call("compare", "compare.yaml", tmp_path, "--seeds", "[1, 2]", "--weight", "0.0")
    expected = {**found["2 members, embeddings, independent"], "minus": [0, 0, 0]}
    assert found["2 members, embeddings, complementary"] == expected
    alone = weights(tmp_path / "seed1" / "second-independent")
    for member, same in ((tmp_path / "seed1", True), (trained[0] / "members", False)):
        other = weights(member / "second")
        assert same == all(torch.equal(alone[key], other[key]) for key in alone)


def test_intervals_are_of_images_and_seeds():
    labels = np.arange(400) % 4
    guessed, known = np.random.default_rng(0).random((400, 4)), np.eye(4)[labels]
    runs = {"one": np.stack([guessed, guessed]), "two": np.stack([guessed, known])}
    found = measure(runs, {}, labels, 1000)
    (one, *spread), (two, low, high) = (found[name]["accuracy"] for name in runs)
    half = 1.96 * np.sqrt(one * (1 - one) / 400)  # of a binomial share
    assert spread == pytest.approx([one - half, one + half], abs=0.15 * half)
    assert two == pytest.approx((1 + one) / 2)
    assert low < one + half and high > 0.99  # a quarter of the draws have one seed twice


def test_cifar_is_read_through_torchvision(monkeypatch):
    class Grey(datasets.CIFAR10):
        def __init__(self, folder, train):
            self.data = np.full((100, 32, 32, 3), 51, dtype=np.uint8)
            self.targets, self.classes = [*range(10)] * 10, [*"abcdefghij"]

    monkeypatch.setattr(datasets, "CIFAR10", Grey)
    data = cifar("here", dev_images=20)
    assert [len(split.labels) for split in (data.train, data.dev, data.test)] == [80, 20, 100]
    assert torch.allclose(data.test.images, torch.tensor(0.2)) and data.classes[9] == "j"
    assert embed(small_resnet18(8), data.dev.images, "cpu").shape == (20, 8)


@pytest.mark.parametrize(
    ("script", "yaml", "key", "value"),
    [
        ("train", "digits.yaml", "epoch", "1"),
        ("train", "digits.yaml", "train_images", "5"),
        ("train", "digits.yaml", "encoder", "{embedding_model: !new:torch.nn.Flatten []}"),
        ("train", "digits.yaml", "head", "!name:torch.nn.Linear"),
        ("train", "digits.yaml", "members", "[{name: a, encoder: !ref <encoder>, start: x}]"),
        ("train", "digits.yaml", "references", "[{name: a, folder: nowhere}]"),
        ("train", "cifar.yaml", "data_folder", "nowhere"),
        ("compare", "compare.yaml", "seeds", "[1, 1]"),
        ("compare", "compare.yaml", "complementary", "null"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(tmp_path, capsys, script, yaml, key, value):
    with pytest.raises(SystemExit) as stopped:
        run_cli(lambda: call(script, yaml, tmp_path / "out", f"--{key}", value))
    sentence = capsys.readouterr().err
    assert stopped.value.code == 2 and sentence.count("\n") == 1
    assert any(word in sentence for word in (key, value, "members"))
    assert not (tmp_path / "out").exists()
