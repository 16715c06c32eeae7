"""What a folder's YAML may name: built as HyperPyYAML builds it, and nothing else."""

from __future__ import annotations

import math
import random
import re

import pytest
import ruamel.yaml
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from speechbrain.inference.classifiers import EncoderClassifier
from torch import nn

from acorl_sb.encoders.member_folder import load_member, save_member
from acorl_sb.encoders.trusted import build_keys, find_class, read_yaml
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build
from tests import folders, tiny


def made(text, key="x"):
    return build_keys(ruamel.yaml.YAML().load(text), [key], "here")[key]


@torch.no_grad()
@pytest.mark.parametrize("kind", folders.MODELS)
def test_speechbrains_published_folders_load_without_trust(tmp_path, kind):
    folder = folders.published(tmp_path / kind, kind)
    waves = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    ours = load_member(folder)
    assert ours.embedding_dim == 16
    # SpeechBrain itself, which builds the whole of the YAML; the weights alone are fetched here.
    trusted = build(read_yaml(folder / "hyperparams.yaml"), "x")
    trusted["embedding_model"].load_state_dict(torch.load(folder / "embedding_model.ckpt"))
    theirs = EncoderClassifier(trusted["modules"], trusted)
    expected = theirs.encode_batch(waves).squeeze(1)
    # The pooling of its x-vectors adds noise of 1e-5.
    torch.testing.assert_close(ours(waves), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "text",
    [
        "x: [1, 2.5, true, null, text, 1e-4, .inf, 0x10, 2001-01-01]",
        "x: (1, 2.5, a)",
        "x: !tuple (1, 2)",
        "a: 3\nx: [!ref <a>, !ref <a> * 2, !ref <a> + 1 - 5 / 2, !ref <a> // 2, !ref <a>/b]",
        "a: {b: {c: 4}}\nx: !ref <a[b][c]>",
        "a: text\nb: !ref <a>/more\nx: !ref <b>.ckpt",
        "a: 3\nx: !copy <a>",
        "a: &a {b: 1}\nx: {<<: *a, c: 2}",
        "a: &a true\nx: [*a, *a]",
        "x: {}",
    ],
)
def test_plain_values_are_those_of_hyperpyyaml(text):
    expected = build(ruamel.yaml.YAML().load(text), "x")["x"]
    found = made(text)
    assert found == expected and type(found) is type(expected)
    if isinstance(found, list):
        assert [type(value) for value in found] == [type(value) for value in expected]


def test_a_reference_is_the_same_object_and_a_copy_another():
    text = "a: !new:torch.nn.Linear [2, 3]\nx: [!ref <a>, !ref <a>, !copy <a>]"
    first, second, copy = made(text)
    assert first is second and isinstance(copy, nn.Linear) and copy is not first


def test_a_name_gives_a_class_or_a_partial_of_it():
    assert made("x: !name:torch.nn.ReLU") is nn.ReLU
    leaky = made("x: !name:torch.nn.LeakyReLU\n  negative_slope: 0.5")()
    assert float(leaky(torch.tensor(-2.0))) == -1


@pytest.mark.parametrize(
    "text",
    [
        "x: !ref <x>",
        "x: !ref <y>\ny: [!ref <x>]",
        "x: !ref <nothing>",
        "x:\n    y: !ref <x[y][z]>",
        "a: 9\nx: !ref <a> / 0",
        "x: (1, [2)",
        "x: !!set {a, b}",
        "x: !!binary aGVsbG8=",
        "x: {[1, 2]: 3}",
        "x: !new:torch.nn.Linear {in_features: a}",
        "x: !new:torch.nn.Linear",
        "x: !new:torch.nn.",
        "x: !new:torch",
        "x: !new:torch.nn.modules",
        "x: !new:torch.nn.functional.relu",
        "x: !new:torch.nn.parallel.DistributedDataParallel [1]",
        "x: !name:torch.nn.init.uniform_",
        "x: !new:speechbrain.nnet.schedulers.NoamScheduler [1, 2]",
        "x: !new:acorl_sb.training.augment.FolderNoise {folder: /}",
        "x: !ref <<<>>>",
    ],
)
def test_what_makes_no_encoder_is_refused(text):
    with pytest.raises(UserError, match="here"):
        made(text)


@pytest.mark.parametrize(
    "text",
    [
        "a0: [1, 1]\n"
        + "".join(f"a{i}: [!copy <a{i - 1}>, !copy <a{i - 1}>]\n" for i in range(1, 60)),
        "a0: ab\n" + "".join(f"a{i}: !ref <a{i - 1}><a{i - 1}>\n" for i in range(1, 60)),
        "".join(f"b{i}: [!ref <b{i + 1}>]\n" for i in range(2000)) + "b2000: 1\na59: !ref <b0>",
    ],
)
def test_nothing_grows_without_bound(text):
    with pytest.raises(UserError):
        made(text, "a59")


def test_powers_and_repeated_text_are_not_worked_out():
    assert made("a: 9\nx: !ref <a> ** <a> ** <a> ** <a>") == "9 ** 9 ** 9 ** 9"
    assert made("a: \"'x'\"\nb: 9999999999\nx: !ref <a> * <b>") == "'x' * 9999999999"


def test_aliases_of_aliases_are_made_once():
    text = "a0: &a0 [1]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40)
    )
    found = made(text, "a39")
    assert found[0] is found[8]


def test_code_beside_the_program_is_not_imported(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    (tmp_path / "payload_net.py").write_text(
        f"import pathlib, torch\npathlib.Path({str(marker)!r}).touch()\n"
        "class Net(torch.nn.Linear): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = "x: !new:payload_net.Net [2, 3]\n"
    with pytest.raises(UserError, match="trust"):
        made(text)
    with pytest.raises(UserError, match="trust"):
        made(text + "y: 3\n", "y")
    assert not marker.exists()
    tree = ruamel.yaml.YAML().load(text)
    assert build_keys(tree, ["x"], "here", trust=True)["x"].in_features == 2
    assert marker.exists()


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    from speechbrain.lobes.models.ECAPA_TDNN import Classifier

    from acorl_sb.encoders.member_folder import build_encoder

    folder, tree = tmp_path_factory.mktemp("member"), tiny.encoder_tree()
    encoder = build_encoder(tree, "x").eval()
    save_member(folder, encoder, tree, Classifier(input_size=12, out_neurons=2), ["a", "b"], {})
    return folder, (folder / "hyperparams.yaml").read_text()


TOKENS = [
    *"[]{}:,-&*#?|>%@`\"'!\n\t <>",
    *("!ref ", "!new:", "!name:", "!copy ", "!apply:", "!include:", "!!python/name:", "&a ", "*a"),
    *("<n_mels>", "torch.nn.ReLU", "null", ".nan", "-1", "0", "1.5", "[1, 2]", "{a: 1}", "(1, 2)"),
    *("embedding_model: 3\n", "sample_rate: 8\n", "embedding_dim: x\n", "\x00", "\u2028", "é"),
]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_changed_yaml_loads_or_is_refused(member, seed, changes):
    folder, text = member
    draw = random.Random(seed)
    lines = text.splitlines(keepends=True)
    for _ in range(changes):
        at = draw.randrange(len(lines))
        line, kind = lines[at], draw.randrange(4)
        cut = draw.randrange(len(line))
        if kind == 0:
            lines[at] = line[:cut] + draw.choice(TOKENS) + line[cut:]
        elif kind == 1:
            lines[at] = line[:cut] + draw.choice(TOKENS) + line[cut + 1 :]
        elif kind == 2:
            lines[at] = ""
            lines = [line for line in lines if line] or ["a: 1\n"]
        else:
            lines.insert(draw.randrange(len(lines)), line)
    (folder / "hyperparams.yaml").write_text("".join(lines), encoding="utf-8")
    try:
        encoder = load_member(folder)
        with torch.no_grad():
            z = encoder(torch.randn(1, 8000))
        assert z.shape == (1, encoder.embedding_dim) and math.isfinite(float(z.sum()))
    except UserError:
        pass


@pytest.mark.parametrize("yaml", sorted(tiny.ENCODERS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_encoder_that_comes_with_the_project_needs_no_trust(yaml):
    """Its members, and runs that have it as a reference, would not load elsewhere otherwise."""
    named = re.findall(r"!(?:new|name):(\S+)", yaml.read_text())
    assert named
    for name in named:
        assert find_class(name, yaml.name).__name__ == name.rpartition(".")[2]
