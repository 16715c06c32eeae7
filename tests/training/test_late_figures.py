"""Figures that come a step late, as a GPU's do: the same, and a loss that is not finite stops."""

from __future__ import annotations

import pytest
import torch

from acorl_sb.training import one_member
from acorl_sb.training.brain import SpeakerBrain
from acorl_sb.training.late_figures import LateFigures
from acorl_sb.training.members import train_members
from acorl_sb.training.speech import TrainingSet
from acorl_sb.utils.errors import UserError
from tests import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    utterances = tiny.hums(tmp_path_factory.mktemp("hums"), speakers=3, each=2)
    return TrainingSet(utterances, lambda encoder: 0.1)


class Late(SpeakerBrain):
    """A Brain that treats the CPU as a GPU; the loss of one step can be spoilt."""

    spoilt = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.lag = 1

    def compute_objectives(self, predictions, batch, stage):
        loss = super().compute_objectives(predictions, batch, stage)
        return loss * float("nan") if self.global_step == type(self).spoilt else loss


def train(folder, data):
    options = tiny.RunOptions(
        device="cpu", ckpt_interval_steps=2, overridden_args={"device", "ckpt_interval_steps"}
    )
    specs = [{"name": "a", "encoder": tiny.encoder_tree(), "objective": None}]
    train_members(specs, [], data, tiny.settings(), options, torch.device("cpu"), folder)
    return (folder / "a" / "train_log.jsonl").read_text()


def test_the_log_is_the_same(data, tmp_path, monkeypatch):
    wanted = train(tmp_path / "now", data)
    monkeypatch.setattr(one_member, "SpeakerBrain", Late)
    assert train(tmp_path / "late", data) == wanted


@pytest.mark.parametrize("step", [1, 2, 3, 6])
def test_a_loss_that_is_not_finite_is_named_and_not_kept(data, tmp_path, monkeypatch, step):
    monkeypatch.setattr(Late, "spoilt", step)
    monkeypatch.setattr(one_member, "SpeakerBrain", Late)
    with pytest.raises(UserError, match=f"nan at step {step}"):
        train(tmp_path, data)
    for path in (tmp_path / "a" / "save").glob("*/encoder.ckpt"):
        state = torch.load(path, weights_only=True)
        assert all(bool(torch.isfinite(v).all()) for v in state.values() if v.is_floating_point())


def test_figures_arrive_from_where_they_are(device):
    late = LateFigures()
    for step in range(5):
        late.put(step, ["a", "b"], torch.tensor([step, 2.5], device=device, dtype=torch.float64))
        found = list(late.take(keep=1))
        assert found == ([(step - 1, {"a": step - 1.0, "b": 2.5})] if step else [])
    assert list(late.take()) == [(4, {"a": 4.0, "b": 2.5})]
