"""The image recipe: data, metrics and fusion against other computations; training with the core."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ruamel.yaml
import torch
from PIL import Image
from speechbrain.utils.run_opts import RunOptions

from acorl_sb.metrics.bootstrap import draws
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import load_hparams

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "ImageClassification"
sys.path.insert(0, str(RECIPE))

from images import comparison, ensembles, metrics, page, results, training  # noqa: E402
from images.augment import ResizedCrop, Shift  # noqa: E402
from images.brain import ImageBrain  # noqa: E402
from images.data import ImageData, cifar, digits, hold_out, image_folder  # noqa: E402
from images.members import Outputs, embed, load_member, load_outputs  # noqa: E402
from images.models import SmallCNN, TorchvisionResNet  # noqa: E402

# ------------------------------------------------------------------------------------- data


def yaml(name):
    return str(RECIPE / "hparams" / name)


def test_hold_out_is_proportional_disjoint_and_complete():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    held, rest = hold_out(labels, 11, seed=3)
    assert sorted([*held, *rest]) == list(range(100))
    counts = np.bincount(labels[held])
    assert counts.sum() == 11 and (abs(counts - 11 * np.array([0.5, 0.3, 0.2])) < 1).all()
    assert np.array_equal(held, hold_out(labels, 11, seed=3).held_out)
    assert not np.array_equal(held, hold_out(labels, 11, seed=4).held_out)
    with pytest.raises(UserError):
        hold_out(np.array([0, 0, 1]), 2, seed=0)


def test_digits_are_all_there_once_with_the_noise_asked_for():
    from sklearn.datasets import load_digits

    clean = digits(train_images=300, dev_images=400, noise=0.0)
    assert [len(s) for s in (clean.train, clean.dev, clean.test)] == [300, 400, 1097]
    pooled = np.concatenate([s.images.numpy().reshape(-1, 64) for s in _splits(clean)])
    given = load_digits().data / 16
    assert np.allclose(np.sort(pooled, 0), np.sort(given, 0))
    assert len(np.unique(pooled.round(4), axis=0)) == len(np.unique(given.round(4), axis=0))
    noisy = digits(noise=0.2)
    inside = (clean.test.images > 0.45) & (clean.test.images < 0.55)  # clipping is rare there
    spread = (noisy.test.images - clean.test.images)[inside].std().item()
    assert spread == pytest.approx(0.2, rel=0.1)
    assert torch.equal(noisy.dev.images, digits(noise=0.2).dev.images)


def _splits(data: ImageData):
    return data.train, data.dev, data.test


def write_image(path: Path, colour, size=(12, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, tuple(colour)).save(path)


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 10), ("val", 3)):
        for label, name in enumerate(["ant", "bee"]):
            for i in range(count):
                write_image(tmp_path / split / name / f"{i}.png", (255 * label, 51, 10 * i))
    return tmp_path


def test_image_folder_reads_pixels_labels_and_splits(folder):
    data = image_folder(str(folder), size=4, dev_fraction=0.2)
    assert data.classes == ["ant", "bee"]
    assert [len(s) for s in _splits(data)] == [16, 4, 6]
    assert not {*data.train.paths} & {*data.dev.paths}
    for split in _splits(data):
        for i, label in enumerate(split.labels):
            image = split[i]
            assert image.shape == (3, 4, 4)
            blue = 10 * int(split.paths[i].stem) / 255
            assert torch.allclose(image.mean((1, 2)), torch.tensor([label, 0.2, blue]).float())
    for i in range(2):
        write_image(folder / "test" / "ant" / f"{i}.jpg", (0, 0, 0))
    whole = image_folder(str(folder), size=4)
    assert [len(s) for s in _splits(whole)] == [20, 6, 2]


def test_a_picture_keeps_its_proportions(tmp_path):
    """A wide picture loses its left and right, not its shape: a centred square stays one."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[10:30, 30:50] = 255
    for split, name in itertools.product(("train", "val"), "ab"):
        for i in range(2):
            path = tmp_path / split / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    image = image_folder(str(tmp_path), size=40, dev_fraction=0.5).test[0]
    expected = torch.zeros(3, 40, 40)
    expected[:, 10:30, 10:30] = 1
    assert torch.equal(image, expected)


def test_loader_processes_say_what_is_wrong_in_one_line(folder):
    (folder / "val" / "bee" / "x.png").write_bytes(b"no image")
    data = image_folder(str(folder), size=8, dev_fraction=0.2)
    with pytest.raises(UserError, match=r"^[^\n]*x\.png[^\n]*$"):
        embed(SmallCNN(3, 4, 6), data.test, workers=1)


def test_folders_that_make_no_sense_are_said_in_a_sentence(folder):
    for change, where in (
        (lambda: image_folder(str(folder / "nowhere")), "nowhere"),
        (lambda: image_folder(str(folder / "train")), "train"),
    ):
        with pytest.raises(UserError, match=where):
            change()
    broken = folder / "val" / "bee" / "x.png"
    broken.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"x\.png"):
        data = image_folder(str(folder), size=4, dev_fraction=0.2)
        [data.test[i] for i in range(len(data.test))]
    write_image(folder / "val" / "cow" / "0.png", (1, 1, 1))
    with pytest.raises(UserError, match="cow"):
        image_folder(str(folder), size=4)


@pytest.mark.parametrize(
    "make", [lambda: TorchvisionResNet(18), lambda: cifar("anywhere")], ids=["resnet", "cifar"]
)
def test_without_torchvision_a_sentence_says_so(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(UserError):
        make()


def test_torchvision_resnets_embed():
    pytest.importorskip("torchvision", reason="torchvision is an optional extra")
    for depth, dim in ((18, 512), (50, 2048)):
        encoder = TorchvisionResNet(depth, small_images=True).eval()
        assert encoder.embedding_dim == dim
        assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, dim)
        assert not any("fc." in key for key in encoder.state_dict())


def test_cifar_is_read_through_torchvision(tmp_path, monkeypatch):
    tv = pytest.importorskip("torchvision", reason="torchvision is an optional extra")
    import pickle

    with pytest.raises(UserError, match="cifar-10-batches-py"):
        cifar(str(tmp_path))
    home = tmp_path / "cifar-10-batches-py"
    home.mkdir()
    rng = np.random.default_rng(0)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name in names:
        rows = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        batch = {"data": rows, "labels": [i % 10 for i in range(20)]}
        (home / name).write_bytes(pickle.dumps(batch))
    meta = {"label_names": list("abcdefghij")}
    (home / "batches.meta").write_bytes(pickle.dumps(meta))
    monkeypatch.setattr(tv.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(tv.datasets.cifar, "check_integrity", lambda *_: True)
    data = cifar(str(tmp_path), dev_images=20)
    assert [len(s) for s in _splits(data)] == [80, 20, 20]
    assert data.classes == list("abcdefghij")
    assert torch.allclose(data.test[19], torch.from_numpy(rows[19].reshape(3, 32, 32)) / 255)


# --------------------------------------------------------------------------------- augmentation


def test_shift_gives_windows_of_the_padded_image_and_reaches_all_of_them(device):
    torch.manual_seed(0)
    image = torch.rand(1, 2, 5, 4, device=device)
    shifted, lengths = Shift(1)(image.expand(300, -1, -1, -1), torch.ones(300, device=device))
    assert len(lengths) == 300
    padded = np.pad(image[0].cpu().numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")
    windows = {
        padded[:, y : y + 5, x : x + 4].tobytes() for y, x in itertools.product(range(3), repeat=2)
    }
    assert {one.cpu().numpy().tobytes() for one in shifted} == windows


def test_mirrored_and_resized_crops(device):
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 16, device=device).expand(64, 1, 16, 16).contiguous()
    same, _ = ResizedCrop(1.0, 1.0, mirror=False)(ramp, None)
    assert torch.allclose(same, ramp, atol=1e-5)
    turned, _ = ResizedCrop(1.0, 1.0)(ramp, None)
    flipped = [torch.allclose(one, ramp[0].flip(-1), atol=1e-5) for one in turned]
    kept = [torch.allclose(one, ramp[0], atol=1e-5) for one in turned]
    assert sum(flipped) + sum(kept) == 64 and 16 < sum(flipped) < 48
    part, _ = ResizedCrop(0.25, 1.0, mirror=False)(ramp, None)
    # A part of area a holds sqrt(a) of the ramp: its slope says so.
    area = ((part[:, 0, 8, 12] - part[:, 0, 8, 4]) / (ramp[0, 0, 8, 12] - ramp[0, 0, 8, 4])) ** 2
    assert 0.24 < area.min() < 0.4 and 0.85 < area.max() <= 1.01
    assert part.min() >= 0 and part.max() <= 1


# -------------------------------------------------------------------------------------- metrics


@pytest.fixture
def guesses():
    rng = np.random.default_rng(0)
    return metrics.softmax(2 * rng.standard_normal((500, 8))), rng.integers(0, 8, 500)


def test_metrics_agree_with_scikit_learn_and_a_plain_loop(guesses):
    from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score

    p, labels = guesses
    found = {key: value.item() for key, value in metrics.evaluate(p, labels).items()}
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, p.argmax(1)))
    assert found["top5"] == pytest.approx(top_k_accuracy_score(labels, p, k=5))
    assert found["nll"] == pytest.approx(log_loss(labels, p, labels=range(8)))
    error = 0.0
    for low in np.arange(15) / 15:
        mine = [
            (row, y) for row, y in zip(p, labels, strict=True) if low <= max(row) < low + 1 / 15
        ]
        if mine:
            right = np.mean([np.argmax(row) == y for row, y in mine])
            error += len(mine) / 500 * abs(right - np.mean([max(row) for row, _ in mine]))
    assert found["ece"] == pytest.approx(error)


def test_weights_count_images(guesses):
    p, labels = guesses
    times = draws(500, 3, seed=1)
    assert (times.sum(1) == 500).all()
    weighted = metrics.evaluate(p, labels, times)
    for r in range(3):
        repeated = metrics.evaluate(np.repeat(p, times[r], 0), np.repeat(labels, times[r]))
        for key in metrics.METRICS:
            assert weighted[key][r] == pytest.approx(repeated[key].item())


def test_equal_probabilities_do_not_help():
    flat = np.full((10, 10), 0.1)
    found = metrics.evaluate(flat, np.arange(10))
    assert found["accuracy"] == 0.1 and found["top5"] == 0.5
    assert found["ece"] == pytest.approx(0)


def test_intervals_cover_images_and_pair_systems(guesses):
    p, labels = guesses
    bootstrap = results.Bootstrap(labels, runs=1, replicates=2000)
    value, low, high = results.with_intervals(bootstrap.measure([p]))["accuracy"]
    sigma = np.sqrt(value * (1 - value) / 500)
    assert low == pytest.approx(value - 1.96 * sigma, abs=0.15 * sigma)
    assert high == pytest.approx(value + 1.96 * sigma, abs=0.15 * sigma)
    measured = bootstrap.measure([p])
    assert all(v == [0, 0, 0] for v in results.differences(measured, measured).values())
    # One image better of 500: the paired difference can be 0 to a few images, never worse.
    better = p.copy()
    wrong = np.flatnonzero(p.argmax(1) != labels)[0]
    better[wrong] = np.eye(8)[labels[wrong]]
    apart = results.differences(bootstrap.measure([better]), measured)["accuracy"]
    assert apart == pytest.approx([1 / 500, 0, 3 / 500], abs=0.5 / 500)


def test_runs_are_averaged_and_their_spread_counts(guesses):
    p, labels = guesses
    perfect = np.eye(8)[labels]
    value, low, high = results.with_intervals(
        results.Bootstrap(labels, runs=2).measure([p, perfect])
    )["accuracy"]
    alone = metrics.evaluate(p, labels)["accuracy"].item()
    assert value == pytest.approx((1 + alone) / 2)
    assert low < alone + 0.05 and high > 0.95  # both runs drawn alike, a quarter of the draws each


# --------------------------------------------------------------------------------------- fusion


def test_linear_head_is_scikit_learns_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((120, 6)), rng.integers(0, 3, 120)
    for penalty in (1e-1, 1e-3):
        reference = LogisticRegression(C=1 / (120 * penalty), tol=1e-9, max_iter=5000)
        reference.fit(x, labels)
        weight, bias = ensembles.fit_linear(x, labels, penalty)
        ours = metrics.softmax(x @ weight.T + bias)
        assert np.allclose(ours, reference.predict_proba(x), atol=1e-4)


def make_outputs(rng, labels, shown, classes=4):
    """A member whose embeddings tell only the classes ``shown`` from the others."""

    def embedding(y):
        return np.eye(classes)[y] * np.isin(y, shown)[:, None] + 0.1 * rng.random((len(y), classes))

    z = [embedding(y).astype(np.float32) for y in labels]
    return Outputs(*z, 8 * z[1], 8 * z[2])


def test_fusion_uses_what_each_member_knows():
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 4, n) for n in (80, 60, 100)]
    pair = [make_outputs(rng, labels, [0, 1]), make_outputs(rng, labels, [2, 3])]
    p = ensembles.fuse_probabilities([o.test_logits for o in pair])
    by_hand = (metrics.softmax(pair[0].test_logits) + metrics.softmax(pair[1].test_logits)) / 2
    assert np.allclose(p, by_hand) and np.allclose(p.sum(1), 1)
    _, alone = ensembles.fuse_embeddings(pair[:1], labels[0], labels[1])
    _, both = ensembles.fuse_embeddings(pair, labels[0], labels[1])
    accuracy = [metrics.evaluate(q, labels[2])["accuracy"].item() for q in (alone, both)]
    assert accuracy[0] < 0.85 and accuracy[1] == 1.0
    alike = ensembles.similarity(pair, labels[2])
    same = ensembles.similarity([pair[0], pair[0]], labels[2])
    assert alike["cka"] < 0.5 and same["cka"] == pytest.approx(1, abs=1e-5)
    assert same["error_overlap"] == 1 and same["error_correlation"] == pytest.approx(1)
    assert alike["error_overlap"] < 0.5 and ensembles.similarity(pair[:1], labels[2]) == {}


# ------------------------------------------------------------------------------------- training

ENCODER = "!new:images.models.SmallCNN {in_channels: 1, width: 4, embedding_dim: 8}"
OBJECTIVES = {
    "none": "null",
    "unpushed": """!name:acorl_sb.complementarity.Adversarial
    schedule: !new:acorl_sb.complementarity.WeightSchedule {weight: 0.0}
    hidden: 8""",
    "residual": """!name:acorl_sb.complementarity.Adversarial
    schedule: !new:acorl_sb.complementarity.Ramp {weight: 1.0}
    target: !name:acorl_sb.complementarity.ResidualTarget
    adversary_steps: 2
    hidden: 8""",
    "cka": """!name:acorl_sb.complementarity.CKA
    schedule: !new:acorl_sb.complementarity.Ramp {weight: 10.0}""",
}


def spec(name, objective="none"):
    text = f"name: {name}\nencoder: {ENCODER}\nobjective: {OBJECTIVES[objective]}\n"
    return ruamel.yaml.YAML().load(text)


def task(device="cpu", **changes):
    settings = {
        "seed": 1,
        "batch_size": 32,
        "epochs": 3,
        "epoch_steps": 4,
        "optimizer": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        "adversary_optimizer": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        "lr_schedule": lambda optimizer, step: None,
        "augment": Shift(1),
        "view": "crop",
        "workers": 0,
        **changes,
    }
    record = {"batch_size": settings["batch_size"]}
    return training.Task(
        digits(train_images=100, dev_images=100, noise=0.1),
        training.Settings(**settings, plain=record),
        RunOptions(device=str(device)),
        torch.device(device),
    )


def weights(folder):
    return torch.load(folder / "embedding_model.ckpt", weights_only=True)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A first member and a second under every objective."""
    folder = tmp_path_factory.mktemp("members")
    shared = task(epochs=5, epoch_steps=8)
    first = training.Chain(shared)
    first.add_member(spec("first"), 0, folder / "first")
    before = weights(folder / "first")
    chains = {}
    for name in OBJECTIVES:
        chains[name] = first.copy()
        chains[name].add_member(spec("second", name), 1, folder / name)
    assert same(before, weights(folder / "first"))
    reference = first.ensemble.members[0].encoder
    assert all(
        torch.equal(v, before[k]) for k, v in reference.state_dict().items()
    )  # batch norm too
    return shared, folder, chains


def test_members_learn_and_their_folders_are_complete(trained):
    shared, folder, chains = trained
    data = shared.data
    for name in OBJECTIVES:
        outputs = load_outputs(folder / name)
        encoder = load_member(folder / name)
        assert torch.equal(embed(encoder, data.test), torch.from_numpy(outputs.test))
        head = torch.load(folder / name / "classifier.ckpt", weights_only=True)
        logits = torch.from_numpy(outputs.test) @ head["weight"].T + head["bias"]
        assert np.allclose(logits, outputs.test_logits, atol=1e-5)
        p = metrics.softmax(outputs.dev_logits)
        accuracy = metrics.evaluate(p, data.dev.labels)["accuracy"].item()
        assert accuracy == pytest.approx(1 - chains[name].errors[-1])
        assert name == "cka" or accuracy > 0.4  # chance is 0.1
        log = (folder / name / "train_log.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in log] == [1, 2, 3, 4, 5]
        assert 1 - json.loads(log[-1])["dev_error"] == pytest.approx(accuracy)


def test_objectives_differ_only_in_what_they_push(trained):
    """Same first weights and order of images: an adversary that may not push changes nothing."""
    _, folder, _ = trained
    assert same(weights(folder / "none"), weights(folder / "unpushed"))
    assert not same(weights(folder / "none"), weights(folder / "residual"))


def test_cka_makes_members_less_alike(trained):
    shared, folder, _ = trained
    first, labels = load_outputs(folder / "first"), shared.data.test.labels
    alike = {
        name: ensembles.similarity([first, load_outputs(folder / name)], labels)["cka"]
        for name in ("none", "cka")
    }
    assert alike["cka"] < 0.5 * alike["none"]


def test_finished_members_are_kept_and_other_settings_refused(trained):
    shared, folder, _ = trained
    before = (folder / "none" / "embedding_model.ckpt").stat().st_mtime_ns
    chain = training.Chain(shared)
    chain.add_member(spec("first"), 0, folder / "first")
    chain.add_member(spec("second"), 1, folder / "none")
    assert (folder / "none" / "embedding_model.ckpt").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="batch_size"):
        training.Chain(task(batch_size=16)).add_member(spec("first"), 0, folder / "first")


def test_an_interrupted_member_ends_as_if_it_had_never_stopped(tmp_path, monkeypatch):
    def add_both(folder):
        chain = training.Chain(task())
        chain.add_member(spec("first"), 0, tmp_path / "first")
        chain.add_member(spec("second", "residual"), 1, folder)

    add_both(tmp_path / "whole")
    ended = ImageBrain.epoch_ended

    def stop_in_epoch_2(self, dev_error):
        if self.epoch == 2:
            raise KeyboardInterrupt
        ended(self, dev_error)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ImageBrain, "epoch_ended", stop_in_epoch_2)
        add_both(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "member.json").exists()
    add_both(tmp_path / "stopped")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))
    logs = [(tmp_path / f / "train_log.jsonl").read_text() for f in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_priors_of_a_user_and_the_view_of_whole_images(trained, tmp_path, device):
    _, folder, _ = trained
    chain = training.train_ensemble(
        [spec("new", "residual")],
        [{"name": "mine", "folder": folder / "first"}],
        task(device, view="utterance", epochs=1, augment=None),
        tmp_path,
    )
    assert chain.ensemble.names == ["mine", "new"]
    assert load_outputs(tmp_path / "new").test.shape == (1597, 8)


def test_an_encoder_that_does_not_fit_the_images_is_a_sentence(tmp_path):
    wrong = spec("first")
    wrong["encoder"]["in_channels"] = 3
    with pytest.raises(UserError, match=r"members\[0\]\.encoder"):
        training.Chain(task()).add_member(wrong, 0, tmp_path / "first")


def test_small_cnn_takes_any_size(device):
    encoder = SmallCNN(3, 4, 6).to(device).eval()
    for size in (8, 17, 32):
        assert encoder(torch.rand(2, 3, size, size, device=device)).shape == (2, 6)


def test_two_ranks_train_as_one_process_on_the_same_global_batch(tmp_path):
    # Sums over ranks differ in their last digits from sums over rows. AdamW would make of a
    # gradient that is zero but for these a whole step.
    descent = "!name:torch.optim.SGD {lr: !ref <lr>}"
    mine = tmp_path / "descent.yaml"
    mine.write_text(
        f"inherit: {yaml('digits.yaml')}\n"
        f"lr: 0.02\noptimizer: {descent}\nadversary_optimizer: {descent}\n"
    )
    argv = [str(mine), "--device", "cpu", "--augment", "null", "--replicates", "20"]
    argv += ["--epochs", "1", "--epoch_steps", "3", "--train_images", "60", "--batch_size"]
    loaded = load_hparams([*argv, "32"], training.RUN_KEYS, training.RUN_LAZY)
    shared = training.Task.from_hparams(loaded)
    training.train_ensemble(loaded.lazy["members"], [], shared, tmp_path / "one" / "members")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    output = ["--output_folder", str(tmp_path / "two")]
    done = subprocess.run(
        [sys.executable, *torchrun, str(RECIPE / "train.py"), *argv, "16", *output],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("2 members, embeddings") == 1
    for member in ("first", "second"):
        one, two = (weights(tmp_path / name / "members" / member) for name in ("one", "two"))
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(value, two[key], rtol=1e-3, atol=1e-4, msg=f"{member} {key}")


# ------------------------------------------------------------------------------ the core is free


def test_the_core_knows_nothing_of_speech_or_images():
    """Only torch is behind the complementarity code and the ensemble."""
    code = (
        "import sys, acorl_sb.complementarity, acorl_sb.encoders.ensemble\n"
        "ours = {m for m in sys.modules if m.startswith('acorl_sb.')}\n"
        "core = ('acorl_sb.complementarity', 'acorl_sb.encoders.ensemble')\n"
        "ours -= {'acorl_sb.encoders'}  # an empty package\n"
        "print(sorted(m for m in ours if not m.startswith(core)))\n"
        "names = ('speechbrain', 'torchaudio', 'soundfile', 'torchvision', 'PIL', 'sklearn')\n"
        "print([m for m in names if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


# ------------------------------------------------------------------------- YAMLs and comparison


def test_yamls_build(folder):
    for name in ("base", "digits", "image_folder"):
        changes = ["--data_folder", str(folder)] if name == "image_folder" else []
        loaded = load_hparams(
            [yaml(f"{name}.yaml"), *changes], training.RUN_KEYS, training.RUN_LAZY
        )
        made = training.Task.from_hparams(loaded)
        assert made.settings.epochs > 0 and len(made.data.train) > 0
    with pytest.raises(UserError, match="data_folder"):
        load_hparams([yaml("image_folder.yaml")], training.RUN_KEYS, training.RUN_LAZY)


@pytest.mark.parametrize("name", ["cifar", "imagenet100"])
def test_yamls_for_torchvision_build(name):
    pytest.importorskip("torchvision", reason="torchvision is an optional extra")
    argv = [yaml(f"{name}.yaml"), "--data_folder", "nowhere"]
    loaded = load_hparams(argv, training.RUN_KEYS, training.RUN_LAZY)
    with pytest.raises(UserError, match="nowhere"):
        training.Task.from_hparams(loaded)


def test_the_strength_with_the_lowest_development_nll_is_chosen():
    methods = {"none": {"objective": None}, "a": {"objective": None, "strengths": [1, 2, 3]}}
    tried = {("none", None): [1.0, 1.0], ("a", 1): [0.5, 0.5], ("a", 2): [0.1, 1.0]}
    tried["a", 3] = [0.9, 0.2]
    assert comparison.choose_strengths(methods, tried) == {"none": None, "a": 1}
    second = {setting: nlls[1:] for setting, nlls in tried.items()}
    assert comparison.choose_strengths(methods, second) == {"none": None, "a": 3}
    single = {"none": {"objective": None}, "a": {"objective": None, "strengths": [2]}}
    assert comparison.choose_strengths(single, {}) == {"none": None, "a": 2}


def test_comparison_end_to_end_and_again(tmp_path, monkeypatch):
    argv = [yaml("compare.yaml"), "--output_folder", str(tmp_path), "--jobs", "1"]
    argv += ["--seeds", "[1, 2]", "--selection_seeds", "[7]", "--ensemble_size", "3"]
    argv += ["--common", "{epochs: 1, epoch_steps: 2, train_images: 60, replicates: 50}"]
    argv += [
        "--methods",
        "{none: {objective: null}, cka: {objective: !name:acorl_sb.complementarity.CKA {}, "
        "strengths: [0.1, 1]}}",
    ]
    found = comparison.compare(argv)
    assert found["strengths"]["cka"] in (0.1, 1) and found["strengths"]["none"] is None
    rows = {(r["method"], r["k"], r["fusion"]): r for r in found["ensembles"]}
    assert len(rows) == 2 * 3 * 2
    seeds = [
        [load_outputs(tmp_path / f"seed{s}" / m) for m in ("first", "cka-2", "cka-3")]
        for s in (1, 2)
    ]
    labels = digits(train_images=60).test.labels
    by_hand = np.mean(
        [
            (sum(metrics.softmax(o.test_logits) for o in run).argmax(1) == labels).mean()
            for run in seeds
        ]
    )
    assert rows["cka", 3, "probabilities"]["accuracy"][0] == pytest.approx(by_hand)
    difference = rows["cka", 3, "probabilities"]["minus_reference"]["accuracy"][0]
    assert difference == pytest.approx(by_hand - rows["none", 3, "probabilities"]["accuracy"][0])
    assert (
        rows["none", 1, "probabilities"]["accuracy"] == rows["cka", 1, "probabilities"]["accuracy"]
    )
    tables = page.comparison_tables(found)
    assert f"{100 * by_hand:.1f}" in tables
    page.draw_comparison(found, tmp_path / "picture.png")
    assert Image.open(tmp_path / "picture.png").size[0] > 500

    def no_more_training(*_):
        raise AssertionError("a finished member was trained again")

    monkeypatch.setattr(training, "train_member", no_more_training)
    assert comparison.compare(argv) == found


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (["--seeds", "[1, 101]"], "101"),
        (["--reference", "cka"], "reference"),
        (["--common", "{nois: 0}"], "nois"),
        (["--methods", "{none: {objectiv: null}}"], "objectiv"),
        (["--common", "{members: [{name: a, encoder: {}, start: x}]}"], "'start'"),
        (["--common", "{members: [{name: a, encoder: {}, training: {}}]}"], "'training'"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(change, where):
    with pytest.raises(UserError, match=where):
        comparison.read_plan([yaml("compare.yaml"), *change])


def test_front_door_ends_bad_input_with_a_sentence(tmp_path):
    command = [sys.executable, str(RECIPE / "train.py"), yaml("digits.yaml"), "--epoch", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and "epochs" in done.stderr
