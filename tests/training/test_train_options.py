"""What the run options of training become in a step of SpeechBrain's."""

from __future__ import annotations

import copy
import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from acorl_sb.training.brain import SpeakerBrain
from acorl_sb.training.dataset import Batch
from acorl_sb.training.heads import SoftmaxHead
from acorl_sb.training.train_options import TrainingRun
from acorl_sb.utils.options import validate

RATE = 0.5
HPARAMS = {
    **{"name": "a", "seed": 0, "total_steps": 2, "augment": None, "log_file": None},
    **{"lr_schedule": lambda optimizer, step: None, "dev_error": lambda encoder: 0.0},
}


@pytest.mark.parametrize("norm", [0.01, 0.0, -1.0])
def test_gradients_are_clipped_to_the_norm_or_not_at_all(norm):
    torch.manual_seed(0)
    modules = {"encoder": nn.Linear(8, 8), "head": SoftmaxHead(8, 3)}
    batch = Batch(torch.randn(6, 8), torch.arange(6) % 3, torch.arange(6))
    plain = copy.deepcopy(modules)
    plain["head"](plain["encoder"](batch.inputs), batch.labels).backward()
    gradients = [p.grad for module in plain.values() for p in module.parameters()]
    whole = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert whole > 0.02
    kept = 1.0 if norm <= 0 else norm / float(whole)

    given = {"max_grad_norm": norm, "device": "cpu"}
    run_opts, _ = validate(TrainingRun, given).run_options(set(given))
    hparams = {**HPARAMS, "sampler": SimpleNamespace(steps_per_epoch=2)}
    sgd = functools.partial(torch.optim.SGD, lr=RATE)
    brain = SpeakerBrain(modules, sgd, hparams, run_opts)
    before = [p.detach().clone() for module in modules.values() for p in module.parameters()]
    brain.init_optimizers()
    brain.epoch = brain.step = 1
    brain.modules.train()
    brain.fit_batch(batch)
    after = [p for module in modules.values() for p in module.parameters()]
    for now, then, gradient in zip(after, before, gradients, strict=True):
        torch.testing.assert_close(now.detach(), then - RATE * kept * gradient)
