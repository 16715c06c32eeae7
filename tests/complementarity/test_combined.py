"""Several objectives at once: added up, and each with figures of its own."""

from __future__ import annotations

import functools

import pytest
import torch

from acorl_sb.complementarity import (
    CKA,
    Adversarial,
    Bounded,
    Combined,
    Nontarget,
    WeightSchedule,
    out_of_fold,
)


def test_figures_of_every_part_are_told_apart():
    torch.manual_seed(0)
    strengths = (1.0, 0.5, 0.25)
    parts = [
        functools.partial(kind, schedule=WeightSchedule(weight))
        for kind, weight in zip((Adversarial, Nontarget, Nontarget), strengths, strict=True)
    ]
    objective = Combined(4, [4], 3, parts)
    z, reference = torch.randn(8, 4, requires_grad=True), torch.randn(8, 4)
    labels = torch.arange(8) % 3
    term = objective(z, [reference], labels, 0.5)
    alone = [part(z, [reference], labels, 0.5) for part in objective.parts]
    names = ("adversarial", "nontarget1", "nontarget2")
    wanted = {
        f"{name}.{figure}": value
        for name, part in zip(names, alone, strict=True)
        for figure, value in part.logs.items()
    }
    assert term.logs == wanted
    assert [term.logs[f"{name}.weight"] for name in names] == list(strengths)
    torch.testing.assert_close(term.loss, sum(part.loss for part in alone))


@pytest.mark.parametrize("around", ["nothing", "bound", "combination", "folds"])
def test_each_part_takes_its_own_number_of_adversary_steps(around):
    steps = (1, 5, 3)
    parts = [functools.partial(Adversarial, hidden=4, adversary_steps=n) for n in steps]
    combined = functools.partial(Combined, parts=parts)
    torch.manual_seed(0)
    copies = 1
    if around == "folds":
        objective, copies = out_of_fold(combined, 4, [4, 4], 4, torch.tensor([0, 1, 0, 1])), 2
    elif around == "bound":
        objective = Bounded(4, [4], 4, combined)
    elif around == "combination":
        objective = Combined(4, [4], 4, [combined, CKA])
    else:
        objective = combined(4, [4], 4)
    labels = torch.arange(12) % 4
    z, references = torch.randn(12, 4), [torch.randn(12, 4) for _ in range(copies)]
    objective(z, references, labels, 1.0)
    # Of Adam, which moves whatever has a gradient, be it 0.
    optimizer = torch.optim.Adam(objective.adversary_parameters(), lr=0.01)
    adversaries = [m for m in objective.modules() if isinstance(m, Adversarial)]
    moved = [0] * len(adversaries)
    assert objective.adversary_steps == 5
    for step in range(objective.adversary_steps):
        before = [[p.detach().clone() for p in part.parameters()] for part in adversaries]
        optimizer.zero_grad()
        objective.further_loss(step, z, references, labels).backward()
        stepping = {id(p) for p in objective.further_parameters(step)}
        optimizer.step()
        for i, part in enumerate(adversaries):
            changed = [
                not torch.equal(a, b) for a, b in zip(before[i], part.parameters(), strict=True)
            ]
            assert all(changed) or not any(changed)
            assert [id(p) in stepping for p in part.parameters()] == changed
            moved[i] += changed[0]
    assert moved == [*steps] * copies


def test_a_combination_of_combinations_keeps_all():
    inner = functools.partial(Combined, parts=[CKA, Nontarget])
    objective = Combined(4, [4], 3, [inner, CKA])
    z, reference = torch.randn(8, 4), torch.randn(8, 4)
    logs = objective(z, [reference], torch.arange(8) % 3, 0.5).logs
    assert {"combined.cka.weight", "combined.nontarget.weight", "cka.weight"} < set(logs)


def test_a_bound_that_would_be_lost_is_refused():
    bounded = functools.partial(Bounded, part=Nontarget)
    for kind, inner in (
        (Combined, {"parts": [bounded, CKA]}),
        (Bounded, {"part": bounded}),
        (Bounded, {"part": functools.partial(Combined, parts=[bounded])}),
    ):
        with pytest.raises(ValueError, match="limit"):
            kind(4, [4], 3, **inner)
    assert Bounded(4, [4], 3, functools.partial(Combined, parts=[CKA, Nontarget])).limit == 0.3


@pytest.mark.parametrize("part", [None, "cka", torch.nn.Identity, dict])
def test_a_part_that_is_no_objective_is_named(part):
    for kind, inner in ((Combined, {"parts": [CKA, part]}), (Bounded, {"part": part})):
        with pytest.raises(ValueError, match="part"):
            kind(4, [4], 3, **inner)


@pytest.mark.parametrize("parts", [[], None, Nontarget])
def test_parts_are_a_list_of_some(parts):
    with pytest.raises(ValueError, match="parts"):
        Combined(4, [4], 3, parts)
