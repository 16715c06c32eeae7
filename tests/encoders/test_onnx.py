"""ONNX export: the same embeddings in onnxruntime, whatever the batch and the length."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from speechbrain.processing.features import STFT

from acorl_sb.encoders import onnx as export
from acorl_sb.encoders.member_folder import build_encoder, load_member, save_member
from acorl_sb.encoders.onnx_encoder import load_onnx
from acorl_sb.training.heads import AAMHead
from acorl_sb.utils.errors import UserError
from tests import tiny

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module", params=["ecapa", "resnet"])
def exported(request, tmp_path_factory):
    """A member folder and its graph, exported as a user would."""
    folder = tmp_path_factory.mktemp(request.param)
    tree = tiny.encoder_tree(request.param)
    torch.manual_seed(1)
    encoder = build_encoder(tree, "x")
    encoder(0.1 * torch.randn(4, 8000))  # batch statistics of their own
    head = AAMHead(encoder.embedding_dim, 3)
    save_member(folder / "m", encoder, tree, head.classifier, ["a", "b", "c"], {})
    path = folder / "model.onnx"
    done = subprocess.run(
        [sys.executable, "-m", "acorl_sb", "export", folder / "m", "--onnx", path],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "equal to the encoder within" in done.stdout
    return load_member(folder / "m"), onnxruntime.InferenceSession(str(path)), path


@pytest.mark.parametrize(("batch", "samples"), [(1, 8000), (1, 30001), (5, 16000), (2, 50123)])
def test_onnx_gives_the_same_embeddings(exported, batch, samples):
    encoder, session, _ = exported
    waves = 0.05 * np.random.default_rng(samples).standard_normal((batch, samples))
    waves = waves.astype(np.float32)
    with torch.no_grad():
        expected = encoder(torch.from_numpy(waves)).numpy()
    (got,) = session.run(["embeddings"], {"waves": waves})
    assert got.shape == (batch, encoder.embedding_dim)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_axes_have_names_and_the_embedding_its_size(exported):
    encoder, _, path = exported
    graph = onnx.load(path).graph
    waves, embeddings = (v[0].type.tensor_type.shape.dim for v in (graph.input, graph.output))
    assert [dim.dim_param for dim in waves] == ["batch", "samples"]
    assert [dim.dim_param for dim in embeddings] == ["batch", ""]
    assert embeddings[1].dim_value == encoder.embedding_dim
    assert embeddings[1].denotation == "embedding"
    onnx.checker.check_model(str(path), full_check=True)


def test_the_graph_is_an_encoder_again(exported):
    encoder, _, path = exported
    again = load_onnx(path)
    assert again.embedding_dim == encoder.embedding_dim
    waves = 0.1 * torch.randn(3, 20000)
    with torch.no_grad():
        torch.testing.assert_close(again(waves), encoder(waves), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("n_fft", "window"), [(400, 25), (512, 25)])
def test_the_convolution_is_speechbrains_stft(n_fft, window):
    stft = STFT(16000, win_length=window, hop_length=10, n_fft=n_fft)
    x = torch.randn(2, 7777)
    torch.testing.assert_close(export.ConvolutionSTFT(stft)(x), stft(x), atol=1e-4, rtol=1e-4)


def test_a_graph_that_differs_is_not_kept(tmp_path, monkeypatch):
    encoder = build_encoder(tiny.encoder_tree(), "x")
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(UserError):
        export.export_onnx(encoder, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"'acorl_sb\[onnx\]'"):
        export.export_onnx(build_encoder(tiny.encoder_tree(), "x"), tmp_path / "m.onnx")


@pytest.mark.parametrize("name", ["embedding_model.ckpt", "notes.onnx", "folder.onnx"])
def test_what_is_no_earlier_export_is_not_replaced(tmp_path, name):
    path = tmp_path / name
    path.mkdir() if name.startswith("folder") else path.write_bytes(b"\x08\x01mine")
    with pytest.raises(UserError, match=name):
        export.export_onnx(build_encoder(tiny.encoder_tree(), "x"), path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.is_dir() or path.read_bytes() == b"\x08\x01mine"


def test_an_earlier_export_is_replaced(exported):
    encoder, _, path = exported
    before = path.stat().st_ino
    export.export_onnx(encoder, path)
    assert path.stat().st_ino != before


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"udcff"):
        export.export_onnx(build_encoder(tiny.encoder_tree(), "x"), tmp_path / "m\udcff.onnx")
    assert not list(tmp_path.iterdir())
