"""Single steps of training on vectors: precision, what a step leaves out, what is logged."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from acorl_sb.complementarity import (
    Adversarial,
    Bounded,
    Combined,
    ConditionalRedundancy,
    Distillation,
    Nontarget,
    Objective,
    ResidualTarget,
    Term,
    WeightSchedule,
)
from acorl_sb.complementarity.objective import is_absent
from acorl_sb.training.heads import AAMHead
from acorl_sb.training.pair_loss import DLoss
from tests import tiny
from tests.brains import DIM, batch, brain, descent, step

BF16 = tiny.RunOptions(device="cpu", precision="bf16", overridden_args={"device", "precision"})
LABELS = torch.arange(6)


class Products(Objective):
    """A term of matrix products, which autocast would compute in half precision."""

    def __init__(self, dim, reference_dims, n_classes):
        super().__init__(dim, reference_dims, n_classes)
        self.map = nn.Linear(dim, reference_dims[0])

    def forward(self, z, references, labels, progress):
        self.given, self.made = (z, references), self.map(z) @ references[0].T
        return Term(self.made.square().mean())


def test_losses_on_embeddings_are_computed_in_float32_under_autocast():
    made = brain(
        Products,
        options=BF16,
        head=AAMHead(DIM, 6),
        hparams={"pair_loss": DLoss(1.0), "pair_batches": lambda step: batch(step, LABELS)},
    )
    made.step = 30  # the ramp of the loss on pairs has begun
    seen = {}
    made.modules["encoder"].register_forward_hook(lambda m, i, o: seen.setdefault("z", o))
    classifier = made.modules["head"].classifier
    classifier.register_forward_hook(lambda m, i, o: seen.update(inputs=i[0], cosines=o))
    weights = classifier.weight.detach().clone()
    objective = made.modules["objective"]
    map_weight, map_bias = (p.detach().clone() for p in objective.map.parameters())
    pair_loss = made.hparams.pair_loss
    pairs = []

    def noting(*given):
        pairs.append((given, pair_loss(*given)))
        return pairs[-1][1]

    made.hparams.pair_loss = noting
    step(made, batch(1, LABELS))
    assert seen["z"].dtype == torch.bfloat16  # the encoder is what half precision is for
    z = seen["z"].float()
    assert torch.equal(seen["inputs"].squeeze(1), z) and seen["inputs"].dtype == torch.float32
    unit = nn.functional.normalize
    torch.testing.assert_close(
        seen["cosines"].squeeze(1), unit(z) @ unit(weights.squeeze(1)).T, rtol=1e-6, atol=1e-6
    )
    assert seen["cosines"].dtype == torch.float32
    given, references = objective.given
    assert torch.equal(given, z) and references[0].dtype == torch.float32
    expected = (z @ map_weight.T + map_bias) @ references[0].T
    torch.testing.assert_close(objective.made, expected, rtol=1e-6, atol=1e-6)
    [(of_pairs, found)] = pairs
    assert of_pairs[0].dtype == torch.float32 and float(found[0].detach()) != 0
    assert all(map(torch.equal, found, pair_loss(*of_pairs)))


def test_a_bounded_step_scales_the_loss_as_fp16_needs_it():
    """SpeechBrain has fp16 on a GPU alone; its scaler and autocast are the same on a CPU."""

    class Faint(nn.Module):
        def forward(self, z, labels):
            return 1e-7 * z.square().mean()

    kind = functools.partial(
        Bounded, part=functools.partial(Nontarget, schedule=WeightSchedule(1e-7))
    )
    moved = {}
    for half in (False, True):
        made = brain(kind, head=Faint(), optimizer=functools.partial(torch.optim.SGD, lr=1e6))
        if half:
            made.training_ctx = torch.autocast("cpu", torch.float16)
            made.scaler = torch.GradScaler("cpu")
        weight = made.modules["encoder"][0].weight
        before = weight.detach().clone()
        step(made, batch(1, LABELS))
        moved[half] = weight.detach() - before
    assert moved[False].norm() > 1e-4
    assert float((moved[True] - moved[False]).norm() / moved[False].norm()) < 0.02


class Switched(nn.Module):
    """An augmentation that can be off."""

    on = False

    def forward(self, inputs, lengths):
        return (inputs + 1 if self.on else inputs), lengths


@pytest.mark.parametrize("adversary_steps", [1, 3])
def test_the_objective_is_left_out_of_augmented_steps(adversary_steps):
    kind = functools.partial(
        Adversarial,
        target=ResidualTarget,
        adversary_steps=adversary_steps,
        schedule=WeightSchedule(1.0),
    )
    augment = Switched()
    made = brain(kind, view="unaugmented", hparams={"augment": augment})
    plain = brain(hparams={"augment": augment})
    objective, losses = made.objective, []
    for number, on in enumerate((False, False, True, False, True)):
        augment.on = on
        heads = [p.detach().clone() for p in objective.heads.parameters()]
        counted = objective.targets[0].count.clone()
        plain.modules["encoder"].load_state_dict(made.modules["encoder"].state_dict())
        plain.modules["head"].load_state_dict(made.modules["head"].state_dict())
        step(made, batch(number, LABELS))
        step(plain, batch(number, LABELS))
        same = all(map(torch.equal, heads, objective.heads.parameters()))
        counts = (objective.targets[0].count - counted).tolist()
        if on:
            assert same and counts == [0] * 6
            weights = zip(
                made.modules["encoder"].parameters(),
                plain.modules["encoder"].parameters(),
                strict=True,
            )
            assert all(torch.equal(a, b) for a, b in weights)
        else:
            assert counts == [2] * 6
            assert same == (number == 0)  # no class had been seen
            losses.append(float(made.told["adversary_loss"]))
        assert all(m.training for m in objective.modules())
    assert made.means.sums["task_loss"][1] == 5
    assert made.means.values()["adversary_loss"] == pytest.approx(sum(losses) / 3)
    assert made.means.sums["weight"] == [3.0, 3]


def test_each_part_takes_its_own_further_steps():
    """Parts of 1 and 5 move as each alone, after the same start, on the same z."""
    kinds = [
        functools.partial(Adversarial, adversary_steps=n, hidden=4, schedule=WeightSchedule(0.0))
        for n in (1, 5)
    ]
    adam = functools.partial(torch.optim.Adam, lr=0.01)
    both = brain(functools.partial(Combined, parts=kinds), adversary=adam)
    for part, kind in zip(both.objective.parts, kinds, strict=True):
        alone = brain(kind, adversary=adam)
        alone.objective.load_state_dict(part.state_dict())
        part.alone = alone
    for number in range(2):
        step(both, batch(number, LABELS))
        for part in both.objective.parts:
            step(part.alone, batch(number, LABELS))
    for part in both.objective.parts:
        for a, b in zip(part.parameters(), part.alone.objective.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_a_figure_that_a_batch_lacks_is_no_part_of_its_mean():
    made = brain(ConditionalRedundancy, n_classes=12)
    told = []
    for number, labels in enumerate((LABELS, torch.arange(12), LABELS)):
        step(made, batch(number, labels))
        told.append(made.told)
    assert is_absent(told[1]["log_ratio"]) and made.means.sums["loss"][1] == 3
    for name in ("log_ratio", "adversary_loss"):
        wanted = (float(told[0][name]) + float(told[2][name])) / 2
        assert made.means.values()[name] == pytest.approx(wanted)


def test_a_batch_without_labels_has_no_task_loss():
    made = brain(Distillation, hparams={"unlabelled": True}, optimizer=descent)
    head = made.modules["head"]
    kept = []
    for number, labels in enumerate((LABELS, torch.tensor([-1]), LABELS)):
        before = head.weight.detach().clone()
        gradients = []
        hook = head.weight.register_hook(gradients.append)
        step(made, batch(number, labels))
        hook.remove()
        assert len(gradients) == 1  # other ranks wait for it
        assert torch.equal(head.weight, before) == (number == 1)
        kept.append(made.told)
    assert all(is_absent(kept[1][name]) for name in ("task_loss", "posterior_loss"))
    assert made.means.sums["task_loss"][1] == 2
    wanted = float(kept[0]["task_loss"].detach() + kept[2]["task_loss"].detach()) / 2
    assert made.means.values()["task_loss"] == pytest.approx(wanted)
