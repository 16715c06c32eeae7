"""A back end of your own: minus the squared Euclidean distance of two embeddings.

A score is <left, right> plus a bias of each side: -|e - t|^2 = <2 e, t> - |e|^2 - |t|^2.
"""

from acorl_sb.scoring.backends import Cosine, PreparedSides


class Euclidean(Cosine):
    """Averages the enrolment utterances of a model as ``Cosine`` does."""

    def prepare(self, vectors):  # (M, D)
        return vectors

    def sides(self, enrol, test, models=None):
        left = enrol if models is None else self.average(enrol, models)
        return PreparedSides(2 * left, test, -left.square().sum(1), -test.square().sum(1))
