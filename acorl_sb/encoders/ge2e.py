"""The GE2E speaker encoder of the package resemblyzer, with the weights that it ships.

Architecture: Wan, Wang, Papir, Lopez Moreno, "Generalized End-to-End Loss for Speaker
Verification" (arXiv 1710.10467). Only the package's weights are used; its own code, which needs
webrtcvad and librosa, is not imported. Front-end and sliding windows are redone on tensors, so
that a batch of waves becomes a batch of embeddings on any device.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import torch
import torchaudio
from torch import nn
from torch.nn import functional as F

from acorl_sb.utils.errors import UserError

SAMPLE_RATE = 16000
WINDOW, HOP = 400, 160  # samples: 25 ms and 10 ms
N_MELS = 40
PARTIAL = 160  # frames of one window of the network, 1.6 s
LOUDNESS = 10 ** (-30 / 20)  # -30 dB of full scale, to which quieter waves are amplified


class GE2E(nn.Module):
    """Three LSTM layers over windows of 1.6 s; an utterance is the mean of its windows.

    Calling it with waves (B, T) at 16 kHz, full scale [-1, 1], gives (B, 256) of unit norm, all
    entries >= 0: what resemblyzer's ``embed_utterance`` gives for the same waves after its
    ``normalize_volume``. Its ``preprocess_wav`` also cuts out long pauses, which is left out
    here: the members of an ensemble must see the same samples.

    Arguments
    ---------
    weights : path or None
        A checkpoint of resemblyzer; None takes the one inside the installed package, "" leaves
        random ones, to be loaded from elsewhere.
    rate : float
        Windows per second.
    min_coverage : float
        The last window is used where the wave covers at least this part of it.

    Raises ``UserError`` where the package or the file is missing, or holds other weights.
    """

    embedding_dim = 256

    def __init__(
        self, weights: str | Path | None = None, rate: float = 1.3, min_coverage: float = 0.75
    ):
        super().__init__()
        self.lstm = nn.LSTM(N_MELS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        self.frame_step = round(SAMPLE_RATE / rate / HOP)
        self.min_coverage = min_coverage
        if not 0 < self.frame_step <= PARTIAL:
            raise UserError(f"GE2E: the rate {rate} leaves gaps between windows of 1.6 s")
        mels = torchaudio.functional.melscale_fbanks(
            WINDOW // 2 + 1, 0.0, SAMPLE_RATE / 2, N_MELS, SAMPLE_RATE, "slaney", "slaney"
        )  # (frequencies, N_MELS)
        self.register_buffer("mels", mels, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        if weights != "":
            self._load(Path(weights) if weights is not None else shipped_weights())

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        waves = amplified(waves)
        starts = self.window_starts(waves.shape[1])
        short = (starts[-1] + PARTIAL) * HOP - waves.shape[1]
        mel = self.mel(F.pad(waves, (0, max(0, short))))  # (B, frames, N_MELS)
        windows = torch.stack([mel[:, s : s + PARTIAL] for s in starts], 1)  # (B, W, PARTIAL, .)
        _, (hidden, _) = self.lstm(windows.flatten(0, 1))
        z = F.normalize(F.relu(self.linear(hidden[-1])), dim=-1)  # (B W, 256)
        return F.normalize(z.view(len(waves), len(starts), -1).mean(1), dim=-1)

    def mel(self, waves: torch.Tensor) -> torch.Tensor:
        """(B, T) -> power mel spectrogram (B, 1 + T // HOP, N_MELS), without a logarithm."""
        spectrum = torch.stft(
            waves, WINDOW, HOP, window=self.window, pad_mode="constant", return_complex=True
        )  # (B, frequencies, frames)
        return spectrum.abs().square().transpose(1, 2) @ self.mels

    def window_starts(self, samples: int) -> list[int]:
        """First frame of every window of an utterance of so many samples."""
        frames = math.ceil((samples + 1) / HOP)
        starts = list(range(0, max(1, frames - PARTIAL + self.frame_step + 1), self.frame_step))
        coverage = (samples - starts[-1] * HOP) / (PARTIAL * HOP)
        return starts[:-1] if coverage < self.min_coverage and len(starts) > 1 else starts

    def _load(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"GE2E weights {path}: no such file")
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
            self.load_state_dict({key: kept[key] for key in self.state_dict()})
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"GE2E weights {path}: not resemblyzer's ({reason})") from None


def amplified(waves: torch.Tensor) -> torch.Tensor:
    """Waves (B, T), each amplified to -30 dB of full scale; louder ones stay as they are."""
    loudness = waves.square().mean(1, keepdim=True).sqrt()  # (B, 1)
    return waves * (LOUDNESS / loudness.clamp(min=1e-8)).clamp(min=1)


def shipped_weights() -> Path:
    """The checkpoint inside the installed package, found without importing it."""
    found = importlib.util.find_spec("resemblyzer")
    if found is None or not found.submodule_search_locations:
        raise UserError(
            "the GE2E encoder needs the package resemblyzer for its weights: "
            "pip install 'acorl_sb[ge2e]', or name a checkpoint with the key 'weights'"
        )
    return Path(found.submodule_search_locations[0]) / "pretrained.pt"
