"""Encoders that are ONNX graphs: what other toolkits, or ``acorl export``, have written.

A graph has one input, either waves (B, T) or features (B, F, n_mels), and its first output is the
embeddings (B, D). It is data: onnxruntime computes it, and nothing of it is run as code.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from acorl_sb.data.audio import SAMPLE_RATE
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.utils.errors import UserError

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""Where a graph is computed: the first that the installed onnxruntime has."""


class OnnxEncoder(nn.Module):
    """A frozen network in an ONNX file: waves (B, T) -> embeddings (B, D).

    It has no weights that torch knows of, so that it can be a frozen reference encoder and never
    a member to train. Its state is the file's SHA-256: a member's record tells one from another.

    Arguments
    ---------
    path : path
        The ``.onnx`` file, its weights inside.
    front_end : module or None
        Waves (B, T) -> features (B, F, n_mels) for a graph of three axes, such as
        ``acorl_sb.encoders.kaldi_fbank.KaldiFbank``; None for a graph that takes waves.
    sample_rate : int
        Hz.

    Raises ``UserError`` for a file that is missing or no ONNX, for a graph of other inputs, for a
    front end that is missing, too much or of other bands, and where one second of noise gives no
    embedding; and without the package onnxruntime.
    """

    def __init__(
        self,
        path: str | Path,
        front_end: nn.Module | None = None,
        sample_rate: int = SAMPLE_RATE,
    ):
        super().__init__()
        self.path, self.front_end = str(path), front_end
        self.session, self.digest = _session(Path(path))
        self._check_input()
        noise = 0.1 * torch.randn(2, sample_rate, generator=torch.Generator().manual_seed(0))
        z = self(noise)
        if z.dim() != 2 or len(z) != 2 or not bool(torch.isfinite(z).all()):
            raise UserError(
                f"{path}: noise of 2 x 1 s gives {tuple(z.shape)} figures, not (2, D) finite ones"
            )
        self.embedding_dim: int = z.shape[-1]

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        x = waves.detach().float().cpu()
        if self.front_end is not None:
            x = self.front_end(x)
        batches = x.split(1) if self.one_by_one else [x]
        z = [torch.as_tensor(self._run(batch.numpy())) for batch in batches]
        return (torch.cat(z) if self.one_by_one else z[0]).to(waves.device)

    def train(self, mode: bool = True) -> OnnxEncoder:
        return self

    def get_extra_state(self) -> dict[str, str]:
        return {"sha256": self.digest}

    def set_extra_state(self, state: Any) -> None:
        if state != self.get_extra_state():
            raise UserError(f"{self.path} is not the ONNX file that this was saved with")

    def _run(self, batch: np.ndarray) -> np.ndarray:
        try:
            return self.session.run(None, {self.input_name: batch})[0]
        except Exception as error:  # a kind of error for each of onnxruntime's faults
            raise UserError(
                f"{self.path}: the graph fails on an input {batch.shape} ({_reason(error)})"
            ) from None

    def _check_input(self) -> None:
        """Hold the front end against the axes of the graph's input."""
        inputs = self.session.get_inputs()
        shapes = [f"{i.name} {i.type} {i.shape}" for i in inputs]
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            raise UserError(
                f"{self.path}: one input of float32 is needed, waves (B, T) or features "
                f"(B, F, bands); the graph has {', '.join(shapes)}"
            )
        self.input_name, shape = inputs[0].name, inputs[0].shape
        self.one_by_one = shape[:1] == [1]  # exported without a batch
        if len(shape) not in (2, 3):
            raise UserError(f"{self.path}: an input of 2 or 3 axes is needed, it has {shapes[0]}")
        if len(shape) == 2 and self.front_end is not None:
            raise UserError(
                f"{self.path}: the graph takes waves ({shapes[0]}), so leave out the front end"
            )
        if len(shape) == 3 and self.front_end is None:
            raise UserError(
                f"{self.path}: the graph takes features ({shapes[0]}); say which front end makes "
                "them, see hparams/encoders/onnx_fbank.yaml"
            )
        bands = getattr(self.front_end, "n_mels", None)
        if len(shape) == 3 and isinstance(shape[2], int) and bands not in (None, shape[2]):
            raise UserError(f"{self.path}: it takes {shape[2]} bands, the front end has {bands}")
        if isinstance(shape[1], int):
            raise UserError(
                f"{self.path}: it takes inputs of length {shape[1]} only ({shapes[0]}); export it "
                "with an axis of time that varies"
            )


def load_onnx(
    path: str | Path, front_end: nn.Module | None = None, sample_rate: int = SAMPLE_RATE
) -> SpeakerEncoder:
    """An ONNX file as an encoder like any other, in eval mode; arguments as ``OnnxEncoder``'s.

    Raises ``UserError`` as that does.
    """
    network = OnnxEncoder(path, front_end, sample_rate)
    return SpeakerEncoder(network, network.embedding_dim, sample_rate=sample_rate).eval()


def _session(path: Path) -> tuple[Any, str]:
    """onnxruntime's session of a file, and the SHA-256 of what it has read."""
    if not path.is_file():
        raise UserError(f"ONNX encoder: {path} does not exist")
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            "an ONNX encoder needs the package onnxruntime: pip install 'acorl_sb[onnx]'"
        ) from None
    known = onnxruntime.get_available_providers()
    providers = [name for name in PROVIDERS if name in known]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # its warnings are of the graph's maker
    data = path.read_bytes()
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:
        raise UserError(f"{path}: not an ONNX graph to be run here ({_reason(error)})") from None
    return session, hashlib.sha256(data).hexdigest()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
