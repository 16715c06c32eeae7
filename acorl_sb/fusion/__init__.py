"""Fusion of systems: several scores (and quality measures) per trial in, one score out.

Everything here is a pure function or a small fitted model on arrays; ``fuse.py`` is the script
around it. Scores are ``(S, N)``: S systems, N trials, float64 inside. Labels are ``(N,)``, True
for a target trial. The models are fitted on development trials and applied to others:

- ``BestSingle``: the one system that is best on the development trials, untouched;
- ``MeanZNorm``: the mean of z-normalised scores, which needs no labels;
- ``LogisticFusion``: a weighted sum that is a log-likelihood ratio (LLR), fitted by logistic
  regression at a stated effective prior; quality measures enter as extra columns.

Each has ``fit``, ``__call__``, ``state`` (plain numbers, fit for JSON) and ``from_state``.
"""

from acorl_sb.fusion.checks import check_labels, check_scores
from acorl_sb.fusion.logistic import SEPARABLE_L2, FusionWarning, LogisticFusion
from acorl_sb.fusion.quality import (
    cohort_means,
    concatenate,
    log_durations,
    magnitudes,
    quality_columns,
    unit_length,
)
from acorl_sb.fusion.saving import MODELS, from_state, load, save
from acorl_sb.fusion.simple import BestSingle, MeanZNorm

__all__ = [
    "MODELS",
    "SEPARABLE_L2",
    "BestSingle",
    "FusionWarning",
    "LogisticFusion",
    "MeanZNorm",
    "check_labels",
    "check_scores",
    "cohort_means",
    "concatenate",
    "from_state",
    "load",
    "log_durations",
    "magnitudes",
    "quality_columns",
    "save",
    "unit_length",
]
