"""Distillation: a student learns what an ensemble of teachers knows, docs/method.md (9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from acorl_sb.complementarity.class_means import ClassMeans
from acorl_sb.complementarity.joint import concatenate
from acorl_sb.complementarity.objective import ABSENT, Objective, Term, zero_loss
from acorl_sb.complementarity.schedules import WeightSchedule


class Distillation(Objective):
    """L = task_weight L_task + c (e L_embedding + s L_score + p L_posterior), docs/method.md (9).

    The references are the teachers. Each item counts in all three losses by how much the teachers
    agree about it (``agreement_weights``). Nothing but embeddings of the teachers is needed.

    - ``L_embedding``: 1 - cosine of a linear map of z and the teachers' concatenation.
    - ``L_score``: squared difference of the z-normalised cosines of the batch's pairs: z's against
      the mean of the teachers'.
    - ``L_posterior``: Kullback-Leibler divergence from the teachers' class posteriors, in two
      parts (``posterior_loss``), that of the non-target classes ``nontarget`` times as heavy. The
      teachers' posteriors are a softmax over their mean cosines to the class means of earlier
      batches, the student's over z's cosines to learned class vectors; classes not seen yet are
      left out.

    Items of the label -1, whose class is not known, count in the first two losses alone.

    Arguments
    ---------
    dim, reference_dims, n_classes : see ``Objective``
    schedule : WeightSchedule
        c, default 1 throughout.
    task_weight : float >= 0
        Of the task loss on the labels.
    embedding, score, posterior : float >= 0
        e, s, p.
    nontarget : float >= 0
        Weight of the non-target classes' part against the target's; 1 with equal emphasis.
    scale : float > 0
        Of the cosines in both softmaxes.
    sharpness : float >= 0
        Power that agreement is raised to; 0: all items count the same.
    """

    uses_references = True
    default_schedule = WeightSchedule(1.0)
    takes_unlabelled = True

    def __init__(
        self,
        dim: int,
        reference_dims: Sequence[int],
        n_classes: int,
        schedule: WeightSchedule | None = None,
        task_weight: float = 1.0,
        embedding: float = 1.0,
        score: float = 1.0,
        posterior: float = 1.0,
        nontarget: float = 4.0,
        scale: float = 15.0,
        sharpness: float = 1.0,
    ):
        super().__init__(dim, reference_dims, n_classes, schedule)
        weights = {
            "task_weight": task_weight,
            "embedding": embedding,
            "score": score,
            "posterior": posterior,
            "nontarget": nontarget,
            "sharpness": sharpness,
        }
        for name, value in weights.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a number from 0 on, not {value}")
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale must be a number above 0, not {scale}")
        self.task_weight, self.weights = task_weight, (embedding, score, posterior)
        self.nontarget, self.scale, self.sharpness = nontarget, scale, sharpness
        self.projection = nn.Linear(dim, sum(reference_dims), bias=False)
        self.classes = nn.Parameter(torch.randn(n_classes, dim) / dim**0.5)
        self.means = nn.ModuleList(ClassMeans(d, n_classes) for d in reference_dims)

    def forward(self, z, references, labels, progress):
        weight = self.schedule(progress)
        teachers = [v.detach().to(z.dtype) for v in references]
        agreement = agreement_weights(teachers, self.sharpness)  # (B,)
        of_embedding, of_score, of_posterior = self.weights
        apart = 1 - F.cosine_similarity(self.projection(z), concatenate(teachers))  # (B,)
        posterior = self.posterior_term(z, teachers, labels, agreement)
        losses = {
            "embedding": (agreement * apart).mean(),
            "score": (agreement * score_loss(z, teachers)).mean(),
            "posterior": zero_loss(z, [self.classes]) if posterior is None else posterior,
        }
        loss = (
            of_embedding * losses["embedding"]
            + of_score * losses["score"]
            + of_posterior * losses["posterior"]
        )
        logs = {f"{name}_loss": value.detach() for name, value in losses.items()}
        lacking = {"posterior_loss": ABSENT} if posterior is None else {}
        return Term(weight * loss, self.task_weight, {**logs, **lacking, "weight": weight})

    def posterior_term(
        self,
        z: torch.Tensor,
        teachers: Sequence[torch.Tensor],
        labels: torch.Tensor,
        agreement: torch.Tensor,
    ) -> torch.Tensor | None:
        """L_posterior, a scalar, of items whose class has been seen before; counts the batch in.

        Its mean is over the items that have a label; None where no class has been seen.
        """
        all_means = cast("Sequence[ClassMeans]", self.means)
        seen = all_means[0].seen()  # (C,), the same for all teachers
        cosines = torch.stack(
            [
                F.normalize(v, dim=-1) @ F.normalize(means.means().to(v.dtype), dim=-1).T
                for v, means in zip(teachers, all_means, strict=True)
            ]
        ).mean(0)  # (B, C)
        told = labels >= 0
        for v, means in zip(teachers, all_means, strict=True):
            means.count_in(v[told], labels[told])
        known = told & seen[labels.clamp(min=0)]
        if not bool(known.any()) or int(seen.sum()) < 2:
            return None
        own = F.normalize(z, dim=-1) @ F.normalize(self.classes.to(z.dtype), dim=-1).T
        place = torch.cumsum(seen, 0) - 1  # of a class among those seen
        losses = posterior_loss(
            self.scale * own[known][:, seen],
            self.scale * cosines[known][:, seen],
            place[labels[known]],
            self.nontarget,
        )
        return (agreement[known] * losses).sum() / told.sum()


def posterior_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, nontarget: float
) -> torch.Tensor:
    """Decoupled divergence of class posteriors, logits (B, C) and (B, C) -> (B,), in nats.

    With p = softmax(teacher) and q = softmax(student): KL of (p_y, 1 - p_y) from (q_y, 1 - q_y),
    plus ``nontarget`` times KL of the wrong classes' p from their q, both made to sum to 1. The
    plain divergence has 1 - p_y in place of ``nontarget``: a teacher that is sure says nothing of
    whom the item resembles (Truong et al., arXiv 2309.14838; Zhao et al., CVPR 2022).
    """
    right = F.one_hot(labels, teacher.shape[-1]).bool()
    log_p, log_q = F.log_softmax(teacher, -1), F.log_softmax(student, -1)

    def parts(logits: torch.Tensor, logs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """log (p_y, 1 - p_y), (B, 2), and the log posteriors of the wrong classes, (B, C - 1)."""
        wrong = logits[~right].view(len(logits), -1)
        every = torch.logsumexp(logits, -1)
        binary = torch.stack([logs[right], torch.logsumexp(wrong, -1) - every], -1)
        return binary, F.log_softmax(wrong, -1)

    (binary_p, wrong_p), (binary_q, wrong_q) = parts(teacher, log_p), parts(student, log_q)
    of_target = (binary_p.exp() * (binary_p - binary_q)).sum(-1)
    of_wrong = (wrong_p.exp() * (wrong_p - wrong_q)).sum(-1)
    return of_target + nontarget * of_wrong


def score_loss(z: torch.Tensor, teachers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean squared difference of z-normalised pair scores by item, (B, D) -> (B,).

    The teachers' target is the mean of their z-normalised cosine matrices, z-normalised again; all
    over the batch's pairs of two items; 0 where there are none.
    """
    if len(z) < 2:
        return 0 * z.sum(1)
    fused = torch.stack([normalised_scores(v) for v in teachers]).mean(0)
    off = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    target = _z_normalised(fused, off)
    return ((normalised_scores(z) - target).square() * off).sum(1) / (len(z) - 1)


def normalised_scores(v: torch.Tensor) -> torch.Tensor:
    """Cosines of all pairs of a batch with zero mean and unit deviation, (B, D) -> (B, B).

    The diagonal is 0 and takes no part. Needs B >= 2.
    """
    unit = F.normalize(v, dim=-1)
    off = ~torch.eye(len(v), dtype=torch.bool, device=v.device)
    return _z_normalised(unit @ unit.T, off)


def agreement_weights(teachers: Sequence[torch.Tensor], sharpness: float = 1.0) -> torch.Tensor:
    """How much K teachers agree about each item of a batch, K of (B, D_k) -> (B,), mean 1.

    Agreement of two teachers is the correlation, over the other items, of their cosines to them,
    not below 0; that of K is the mean of all pairs, raised to ``sharpness``. 1 for all items with
    one teacher, with three items or fewer, and where nobody agrees about anything.
    """
    count = len(teachers[0])
    equal = teachers[0].new_ones(count)
    if len(teachers) < 2 or sharpness == 0 or count < 4:
        return equal
    off = ~torch.eye(count, dtype=torch.bool, device=equal.device)
    rows = []
    for v in teachers:
        unit = F.normalize(v, dim=-1)
        row = (unit @ unit.T)[off].view(count, count - 1)
        rows.append(F.normalize(row - row.mean(1, keepdim=True), dim=-1))
    pairs = [(rows[a] * rows[b]).sum(1) for a in range(len(rows)) for b in range(a + 1, len(rows))]
    agreement = torch.stack(pairs).clamp(min=0).mean(0) ** sharpness
    mean = agreement.mean()
    return agreement / mean if float(mean) > 0 else equal


def _z_normalised(scores: torch.Tensor, off: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit deviation over the entries ``off`` the diagonal; 0 on it."""
    count = off.sum()
    centred = (scores - (scores * off).sum() / count) * off
    # Clamped before the root, whose slope at 0 is infinite: two items have one cosine only.
    variance = (centred.square().sum() / count).clamp(min=1e-12)
    return centred / variance.sqrt()
