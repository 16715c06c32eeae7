"""ONNX graphs as encoders: waves or features in, against the same sums in NumPy."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import ruamel.yaml
import torch
from hyperpyyaml import resolve_references

from acorl_sb.encoders.kaldi_fbank import KaldiFbank
from acorl_sb.encoders.member_folder import load_reference
from acorl_sb.encoders.named import load_named
from acorl_sb.encoders.onnx_encoder import OnnxEncoder, load_onnx
from acorl_sb.encoders.weights import load_weights
from acorl_sb.training.members import train_members
from acorl_sb.training.provenance import weights_hash
from acorl_sb.training.speech import TrainingSet
from acorl_sb.training.train_options import TrainOptions
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.options import read
from tests import tiny

onnx = pytest.importorskip("onnx")

HPARAMS = Path(__file__).resolve().parents[2] / "hparams"
WAVES = """
    size = Mul(x, x)
    mean = ReduceMean<axes=[1], keepdims=1>(size)
    wide = MatMul(mean, row)
    z = Add(wide, row)
"""
FEATURES = """
    mean = ReduceMean<axes=[1], keepdims=0>(x)
    z = MatMul(mean, matrix)
"""
MATRIX = np.random.default_rng(0).standard_normal((80, 5)).astype(np.float32)
ROW = np.array([[1, 2, 3, 4]], np.float32)


def graph(path, axes="batch, samples", body=WAVES, output="z", kind="float", more=""):
    """Write a graph of a few sums."""
    text = f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g ({kind}[{axes}] x{more}) => (float[batch, d] {output})
        <float[80, 5] matrix, float[1, 4] row> {{ {body} }}
    """
    model = onnx.parser.parse_model(text)
    del model.graph.initializer[:]
    for name, values in (("matrix", MATRIX), ("row", ROW)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, path)
    return path


def resolved(name, **overrides):
    """Keys of an encoder's YAML as a run's YAML includes them."""
    text = (HPARAMS / "encoders" / f"{name}.yaml").read_text()
    return ruamel.yaml.YAML().load(resolve_references(io.StringIO(text), overrides))


@pytest.mark.parametrize("batch", ["batch", "1"])
def test_waves_in(tmp_path, batch, device):
    encoder = load_onnx(graph(tmp_path / "a.onnx", f"{batch}, samples")).to(device)
    assert encoder.embedding_dim == 4
    waves = torch.randn(3, 5000, device=device)
    expected = waves.square().mean(1, keepdim=True).cpu() @ torch.from_numpy(ROW) + ROW
    assert encoder(waves).device == waves.device
    torch.testing.assert_close(encoder(waves).cpu(), expected)


@pytest.mark.parametrize("mean_subtraction", [True, False])
def test_features_in(tmp_path, mean_subtraction):
    path = graph(tmp_path / "a.onnx", "batch, frames, 80", FEATURES)
    front_end = KaldiFbank(mean_subtraction=mean_subtraction)
    encoder = load_onnx(path, front_end)
    waves = 0.1 * torch.randn(3, 9000)
    expected = front_end(waves).mean(1) @ torch.from_numpy(MATRIX)
    torch.testing.assert_close(encoder(waves), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("made", "front_end"),
    [
        ({}, KaldiFbank()),
        ({"axes": "batch, frames, 80", "body": FEATURES}, None),
        ({"axes": "batch, frames, 80", "body": FEATURES}, KaldiFbank(40)),
        ({"axes": "batch, 16000"}, None),
        ({"axes": "batch, 1, a, b"}, None),
        ({"kind": "int64"}, None),
        ({"more": ", float[batch] lengths"}, None),
        ({"body": "z = ReduceSum<keepdims=0>(x)"}, None),
        ({"body": f"{WAVES} zero = Sub(z, z) \n nan = Div(zero, zero)", "output": "nan"}, None),
    ],
    ids=["no features", "no front end", "bands", "length", "axes", "kind", "inputs", "sum", "NaN"],
)  # fmt: skip
def test_what_does_not_fit_is_refused_at_once(tmp_path, made, front_end):
    with pytest.raises(UserError, match=r"a\.onnx"):
        OnnxEncoder(graph(tmp_path / "a.onnx", **made), front_end)


def test_files_that_are_no_graph_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    for name in ("a.onnx", "gone.onnx"):
        with pytest.raises(UserError, match=name):
            OnnxEncoder(tmp_path / name)
    path = graph(tmp_path / "b.onnx")
    onnx.save(
        onnx.load(path), tmp_path / "c.onnx", save_as_external_data=True, size_threshold=0
    )  # its weights in another file, which no hash would cover
    with pytest.raises(UserError, match=r"c\.onnx"):
        OnnxEncoder(tmp_path / "c.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="onnxruntime"):
        OnnxEncoder(path)


def test_its_state_tells_one_file_from_another(tmp_path):
    one = OnnxEncoder(graph(tmp_path / "a.onnx"))
    same = OnnxEncoder(graph(tmp_path / "b.onnx"))
    other = OnnxEncoder(graph(tmp_path / "c.onnx", body=WAVES.replace("Add", "Sub")))
    assert weights_hash(one) == weights_hash(same) != weights_hash(other)
    torch.save(one.state_dict(), tmp_path / "a.ckpt")
    load_weights(same, tmp_path / "a.ckpt")
    with pytest.raises(UserError):
        load_weights(other, tmp_path / "a.ckpt")


@pytest.mark.parametrize("trust", [None, False])
def test_its_yaml_describes_the_front_end(tmp_path, trust):
    path = graph(tmp_path / "a.onnx", "batch, frames, 80", FEATURES)
    keys = resolved("onnx_fbank", path=str(path), window="povey", scale=1)
    encoder = load_reference({"name": "theirs", "encoder": keys}, "references[0]", trust)
    waves = 0.1 * torch.randn(2, 9000)
    expected = load_onnx(path, KaldiFbank(window="povey", scale=1))(waves)
    assert torch.equal(encoder(waves), expected) and encoder.embedding_dim == 5


def test_a_copy_of_its_yaml_names_it_on_a_command_line(tmp_path):
    path = graph(tmp_path / "a.onnx", "batch, frames, 80", FEATURES)
    text = (HPARAMS / "encoders" / "onnx_fbank.yaml").read_text()
    (tmp_path / "theirs.yaml").write_text(text.replace("encoder.onnx", str(path)))
    waves = 0.1 * torch.randn(2, 9000)
    expected = load_onnx(path, KaldiFbank())(waves)
    assert torch.equal(load_named(str(tmp_path / "theirs.yaml"))(waves), expected)


def test_a_member_is_trained_against_a_graph(tmp_path):
    lists = read(TrainOptions, [str(HPARAMS / "acorl_ge2e.yaml")]).lazy
    keys = resolved("onnx_waves", path=str(graph(tmp_path / "a.onnx")))
    lists["references"][0]["encoder"] = keys
    lists["members"][0]["encoder"] = tiny.encoder_tree()
    ensemble = train_members(
        lists["members"],
        lists["references"],
        TrainingSet(tiny.hums(tmp_path / "hums"), lambda encoder: 0.1),
        tiny.settings(epochs=1),
        tiny.CPU,
        torch.device("cpu"),
        tmp_path / "members",
    )
    assert ensemble.dims == [4, 12]
    record = json.loads((tmp_path / "members" / "complement" / "member.json").read_text())
    assert record["settings"]["reference_weights"]["ge2e"] == weights_hash(
        ensemble.members[0].encoder
    )
