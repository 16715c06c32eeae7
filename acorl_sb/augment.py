"""Noise from a folder, for SpeechBrain's augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from speechbrain.augment.time_domain import AddNoise

from acorl_sb.audio import read_audio, read_header
from acorl_sb.errors import UserError


class FolderNoise(AddNoise):
    """SpeechBrain's ``AddNoise`` with noises taken from the audio files of a folder.

    SpeechBrain's own walks through a list, so what a step hears depends on how many steps came
    before it in this process, and a resumed run hears other noises. Here each step draws its
    noises anew from torch's random state, and reads only the stretch that it needs.

    Arguments
    ---------
    folder : str or None
        Searched with its subfolders; None adds no noise at all.
    snr_low, snr_high : float, dB
    sample_rate : int, Hz
    """

    def __init__(
        self,
        folder: str | None = None,
        snr_low: float = 0,
        snr_high: float = 15,
        sample_rate: int = 16000,
    ):
        super().__init__(snr_low=snr_low, snr_high=snr_high, clean_sample_rate=sample_rate)
        self.files: list[tuple[Path, int]] = []
        if folder is None:
            return
        if not Path(folder).is_dir():
            raise UserError(f"noise folder {folder}: no such folder; name one or leave it null")
        known = {f".{name.lower()}" for name in soundfile.available_formats()}
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix.lower() in known | {".opus", ".mp3"}:
                self.files.append((path, read_header(path).length(sample_rate)))
        if not self.files:
            raise UserError(f"noise folder {folder}: no audio files in it; name another")
        self.csv_file = folder  # makes AddNoise call _load_noise

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return super().forward(waveforms, lengths) if self.files else waveforms

    def _load_noise(self, lengths: torch.Tensor, max_length: int):
        noises = []
        for place, at in zip(
            torch.randint(len(self.files), (len(lengths),)).tolist(),
            torch.rand(len(lengths)).tolist(),
            strict=True,
        ):
            path, length = self.files[place]
            start = int(at * max(1, length - max_length + 1))
            stop = min(start + max_length, length)
            wave = read_audio(path, start, stop, self.clean_sample_rate)
            noises.append(np.resize(wave, max_length))
        noise = torch.from_numpy(np.stack(noises)).to(lengths.device)  # (B, T)
        return noise, lengths
