"""Back ends: from embeddings to scores."""

from acorl_sb.scoring.backends.backend import Backend, PreparedSides
from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.backends.plda import PLDA

__all__ = ["PLDA", "Backend", "Cosine", "PreparedSides"]
