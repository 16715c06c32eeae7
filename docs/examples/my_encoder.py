"""An encoder of your own: any module from features (B, F, n_mels) to embeddings (B, D)."""

from torch import nn


class MeanPooling(nn.Module):
    """Two layers on each frame, and the mean over frames."""

    def __init__(self, n_mels: int, embedding_dim: int):
        super().__init__()
        layers = nn.Linear(n_mels, 128), nn.ReLU(), nn.Linear(128, embedding_dim)
        self.frames = nn.Sequential(*layers)

    def forward(self, features):  # (B, F, n_mels) -> (B, D)
        return self.frames(features).mean(dim=1)
