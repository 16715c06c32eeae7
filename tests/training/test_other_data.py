"""Training takes any data: points in a plane, encoders of one layer, folders of its own."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import ruamel.yaml
import torch
from speechbrain.utils.run_opts import RunOptions
from torch import nn
from torch.utils.data import Dataset

from acorl_sb.training.heads import SoftmaxHead
from acorl_sb.training.members import check_members, train_members
from acorl_sb.training.rehearsal import rehearse
from acorl_sb.training.settings import Settings
from acorl_sb.training.training_data import MemberKind, TrainingData
from acorl_sb.utils.checkpoint import AtomicCheckpointer
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import write_json
from tests import tiny

CENTRES = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])


class Net(nn.Linear):
    embedding_dim = 4

    def __init__(self):
        super().__init__(2, self.embedding_dim)


class Nets(MemberKind):
    def build(self, tree, where):
        return Net()

    def load_reference(self, spec, where):
        torch.manual_seed(7)
        return Net().eval()

    def noise(self, count, settings=None):
        return torch.randn(count, 2)

    def rebuild(self, folder, tree, where):
        net = Net()
        net.load_state_dict(torch.load(folder / "net.pt", weights_only=True))
        return net.eval()

    def save(self, folder, encoder, head, tree, data, record):
        torch.save(encoder.state_dict(), folder / "net.pt")
        torch.save(head.state_dict(), folder / "head.pt")
        write_json(folder / "member.json", record)


class Points(TrainingData, Dataset):
    kind = Nets()
    dev_figure = "dev_error"
    classes = ("right", "left", "up")
    labels = tuple(range(3)) * 20

    def __init__(self, figures=None):
        self.figures = figures
        self.seen = []

    def dataset(self, settings, seed):
        return self

    def __getitem__(self, index):
        draw, item = index
        noise = 0.3 * np.random.default_rng((draw, item)).standard_normal(2)
        point = CENTRES[self.labels[item]] + noise
        return torch.tensor(point, dtype=torch.float32), self.labels[item], item

    def check(self, encoder, head):
        if head is None:
            return None
        self.seen.append({k: v.clone() for k, v in encoder.state_dict().items()})
        if self.figures is not None:
            return self.figures[len(self.seen) - 1]
        with torch.no_grad():
            guess = head.logits(encoder(torch.tensor(CENTRES, dtype=torch.float32))).argmax(1)
        return float((guess != torch.arange(3)).float().mean())

    def table(self, encoder, device, name):
        points = torch.stack([self[0, item][0] for item in range(len(self.labels))])
        with torch.no_grad():
            return encoder(points)


def settings(**changes):
    values = {
        "seed": 1,
        "batch_size": 12,
        "epochs": 3,
        "epoch_steps": 20,
        "optimizer": functools.partial(torch.optim.Adam, lr=0.05),
        "adversary_optimizer": functools.partial(torch.optim.Adam, lr=0.05),
        "lr_schedule": lambda optimizer, step: None,
        "head": SoftmaxHead,
        "augment": None,
        "view": "crop",
        "workers": 0,
        "plain": {},
        **changes,
    }
    return Settings(**values)


def train(folder, data, references=(), **changes):
    objective = ruamel.yaml.YAML().load(
        "objective: !name:acorl_sb.complementarity.Adversarial\n    hidden: 8\n"
    )
    specs = [
        {"name": "a", "encoder": {}},
        {"name": "b", "encoder": {}, **objective},
    ]
    given = [specs, list(references)]
    made = train_members(*given, data, settings(**changes), tiny.CPU, torch.device("cpu"), folder)
    begun = check_members(*given, data.kind, settings(**changes), tiny.CPU, folder)
    return made, begun


@pytest.mark.parametrize("view", ["crop", "utterance"])
def test_members_learn_and_the_second_run_loads_them(tmp_path, view):
    owned = [{"name": "mine", "folder": "anywhere"}]
    made, begun = train(tmp_path, Points(), owned, view=view)
    assert made.names == ["mine", "a", "b"] and begun == ["a", "b"]
    data = Points()
    again, _ = train(tmp_path, data, owned, view=view)
    assert not data.seen, "a finished member was trained again"
    for one, other in zip(made.members, again.members, strict=True):
        assert torch.equal(one.encoder.weight, other.encoder.weight)
    head = SoftmaxHead(4, 3)
    head.load_state_dict(torch.load(tmp_path / "b" / "head.pt", weights_only=True))
    assert Points().check(made.members[-1].encoder, head) == 0.0


@pytest.mark.parametrize(("selects", "kept"), [(True, 1), (False, 2)])
def test_the_best_or_the_last_epoch_is_kept(tmp_path, selects, kept):
    data = Points(figures=[0.3, 0.1, 0.2, 0.3, 0.1, 0.2])
    data.selects = selects
    made, _ = train(tmp_path, data)
    for number, member in enumerate(made.members):
        assert torch.equal(member.encoder.weight, data.seen[3 * number + kept]["weight"])


def test_a_member_has_no_settings_of_other_data(tmp_path):
    spec = ruamel.yaml.YAML().load("{name: a, encoder: {}, training: {crop_seconds: 1.0}}")
    given = [[spec], [], Points(), settings(), tiny.CPU, torch.device("cpu"), tmp_path]
    with pytest.raises(UserError, match="crop_seconds"):
        train_members(*given)


def test_a_step_is_rehearsed(tmp_path):
    spec = {"name": "a", "encoder": {}}
    rehearse([spec], [{"name": "mine", "folder": "x"}], settings(), tiny.CPU, Points.kind)
    flat = settings(head=lambda dim, n_classes: nn.Flatten())
    with pytest.raises(UserError, match="head"):
        rehearse([spec], [], flat, tiny.CPU, Points.kind)


def test_no_checkpoint_is_made_while_gradients_are_gathered(tmp_path, monkeypatch):
    saved, save = [], AtomicCheckpointer.save_checkpoint

    def noting(self, *args, **kwargs):
        saved.append((kwargs["end_of_epoch"], self.recoverables["brain"].step))
        return save(self, *args, **kwargs)

    monkeypatch.setattr(AtomicCheckpointer, "save_checkpoint", noting)
    given = {"ckpt_interval_steps": 1, "grad_accumulation_factor": 2, "device": "cpu"}
    options = RunOptions(**given, overridden_args=set(given))
    chosen = settings(epochs=1, epoch_steps=6)
    specs = [{"name": "a", "encoder": {}}]
    train_members(specs, [], Points(), chosen, options, torch.device("cpu"), tmp_path)
    assert [step for at_end, step in saved if not at_end] == [2, 4, 6]
