"""Export of a member to ONNX: waves in, embeddings out, any number and length of both.

The graph takes ``waves`` (B, T) float32 at the member's sample rate, full scale [-1, 1], all B of
one length, and gives ``embeddings`` (B, D). B and T vary and are named ``batch`` and ``samples``; D
is fixed, so that readers can allocate by it, and ``embedding`` is its denotation. Features and
their normalisation are part of the graph, so that no front end has to be rebuilt around it.
"""

from __future__ import annotations

import copy
import logging
import os
import re
import warnings
from pathlib import Path

import numpy as np
import torch
from speechbrain.processing.features import STFT
from torch import nn
from torch.nn import functional as F

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path, require_utf8
from acorl_sb.utils.reading import shown

TOLERANCE = 1e-4
CHECK_SECONDS = (0.6, 1.0, 3.3)


class ConvolutionSTFT(nn.Module):
    """SpeechBrain's ``STFT`` as a convolution with windowed cosines and sines.

    ONNX has no complex numbers. Calling it with waves (B, T) gives (B, F, n_fft // 2 + 1, 2).
    """

    def __init__(self, stft: STFT):
        super().__init__()
        if not stft.center or stft.pad_mode != "constant" or stft.normalized_stft:
            raise UserError("ONNX export knows SpeechBrain's STFT with its default settings only")
        self.hop, self.n_fft = stft.hop_length, stft.n_fft
        window = torch.zeros(stft.n_fft, dtype=torch.float64)
        left = (stft.n_fft - stft.win_length) // 2  # torch centres a shorter window
        window[left : left + stft.win_length] = stft.window.double()
        angle = torch.arange(stft.n_fft // 2 + 1, dtype=torch.float64).unsqueeze(1)
        angle = angle * torch.arange(stft.n_fft) * (2 * torch.pi / stft.n_fft)
        basis = torch.cat([angle.cos() * window, -angle.sin() * window])  # (2 bins, n_fft)
        self.register_buffer("basis", basis.float().unsqueeze(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.pad(x.unsqueeze(1), (self.n_fft // 2, self.n_fft // 2))  # (B, 1, T + n_fft)
        y = F.conv1d(x, self.basis, stride=self.hop)  # (B, 2 bins, F)
        real, imaginary = y.chunk(2, dim=1)
        return torch.stack([real, imaginary], dim=-1).transpose(1, 2)


class SentenceMean(nn.Module):
    """SpeechBrain's ``sentence`` normalisation where nothing is padded: minus the mean frame."""

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        return x - x.mean(1, keepdim=True)


class Graph(nn.Module):
    """An encoder's straight way from waves (B, T) to embeddings (B, D), nothing padded."""

    def __init__(self, encoder: SpeakerEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        return self.encoder(waves)


def exportable(encoder: SpeakerEncoder) -> Graph:
    """A copy in eval mode, computing the same by operations that ONNX has."""
    encoder = copy.deepcopy(encoder).cpu().eval()
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, STFT):
                setattr(module, name, ConvolutionSTFT(child))
    norm = encoder.mean_var_norm
    if getattr(norm, "norm_type", None) == "sentence" and not norm.std_norm:
        encoder.mean_var_norm = SentenceMean()
    return Graph(encoder)


def export_onnx(encoder: SpeakerEncoder, path: str | Path) -> float:
    """Write ``path`` and compare it in onnxruntime; returns the largest difference seen.

    Raises ``UserError`` without the packages of the extra ``onnx``, for a file at ``path`` that is
    no earlier export, for an encoder that cannot be exported, and where an embedding differs by
    more than 1e-4.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"ONNX export needs the package {error.name}: pip install 'acorl_sb[onnx]'"
        ) from None
    _require_replaceable(Path(path))
    model = exportable(encoder)
    with atomic_path(path) as temporary:
        _write(model, temporary)
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        worst = 0.0
        for number, seconds in enumerate(CHECK_SECONDS, 1):
            waves = 0.1 * torch.randn(
                number,
                int(seconds * encoder.sample_rate),
                generator=torch.Generator().manual_seed(number),
            )
            with torch.no_grad():
                expected = encoder.cpu().eval()(waves).numpy()
            (got,) = session.run(None, {"waves": waves.numpy()})
            worst = max(worst, float(np.abs(got - expected).max()))
        if not worst <= TOLERANCE:
            raise UserError(
                f"{path}: the exported graph differs from the encoder by {worst:.2g}, more than "
                f"{TOLERANCE:g}, and is not kept"
            )
    return worst


def _require_replaceable(path: Path) -> None:
    """``UserError`` for a file of any other kind than is written here, and for a name not UTF-8."""
    require_utf8(path)
    if os.path.lexists(path) and not (path.suffix == ".onnx" and _is_export(path)):
        raise UserError(f"{shown(path)}: there already and no earlier export; name another file")


def _is_export(path: Path) -> bool:
    import onnx

    if not path.is_file():
        return False
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception:  # of a parser, for a file of any content
        return False
    return [v.name for v in (*graph.input, *graph.output)] == ["waves", "embeddings"]


def _write(model: Graph, path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    dynamic = {"waves": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}}
    example = 0.1 * torch.randn(3, 16123, generator=torch.Generator().manual_seed(0))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                (example,),
                str(path),
                input_names=["waves"],
                output_names=["embeddings"],
                dynamic_shapes=dynamic,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"this encoder cannot be exported to ONNX ({reason})") from None
    _name_axes(path)


def _name_axes(path: Path) -> None:
    """Put ``batch`` and ``samples`` for the exporter's names of the axes, such as ``s77``."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    waves, embeddings = (
        value[0].type.tensor_type.shape.dim for value in (graph.input, graph.output)
    )
    names = dict(zip((dim.dim_param for dim in waves), ("batch", "samples"), strict=True))
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:  # in other values an expression of them
                dim.dim_param = re.sub(r"\w+", lambda m: names.get(m[0], m[0]), dim.dim_param)
    embeddings[1].denotation = "embedding"
    onnx.save(model, path)
