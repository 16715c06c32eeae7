"""What ACoRL is: objectives that make a new encoder complement frozen ones.

This package knows embeddings, class labels and the fraction of training done. It knows nothing
of speech, files or frameworks.
"""

from acorl_sb.complementarity.adversarial import (
    Adversarial,
    AdversaryHead,
    EmbeddingTarget,
    ResidualTarget,
    reverse_gradient,
)
from acorl_sb.complementarity.agreement import Agreement
from acorl_sb.complementarity.bounded import Bounded, bounded_loss
from acorl_sb.complementarity.combined import Combined
from acorl_sb.complementarity.distillation import Distillation
from acorl_sb.complementarity.dprime import FusedDPrime, OwnDPrime
from acorl_sb.complementarity.fused_scores import FusedScores, OwnScores
from acorl_sb.complementarity.hard_classes import HardClasses
from acorl_sb.complementarity.joint import Joint, concatenate
from acorl_sb.complementarity.objective import Independent, Objective, Term
from acorl_sb.complementarity.out_of_fold import OutOfFold, deal_folds, out_of_fold
from acorl_sb.complementarity.redundancy import ConditionalRedundancy
from acorl_sb.complementarity.schedules import (
    MarginRamp,
    Ramp,
    SteeredRamp,
    TaskGatedRamp,
    WeightSchedule,
)
from acorl_sb.complementarity.shared_specific import SharedSpecific
from acorl_sb.complementarity.similarity import CKA, Nontarget

__all__ = [
    "CKA",
    "Adversarial",
    "AdversaryHead",
    "Agreement",
    "Bounded",
    "Combined",
    "ConditionalRedundancy",
    "Distillation",
    "EmbeddingTarget",
    "FusedDPrime",
    "FusedScores",
    "HardClasses",
    "Independent",
    "Joint",
    "MarginRamp",
    "Nontarget",
    "Objective",
    "OutOfFold",
    "OwnDPrime",
    "OwnScores",
    "Ramp",
    "ResidualTarget",
    "SharedSpecific",
    "SteeredRamp",
    "TaskGatedRamp",
    "Term",
    "WeightSchedule",
    "bounded_loss",
    "concatenate",
    "deal_folds",
    "out_of_fold",
    "reverse_gradient",
]
