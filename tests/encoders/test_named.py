"""Encoders by name: folders, YAMLs of the package, and what is refused."""

from __future__ import annotations

import pytest
import torch

from acorl_sb.encoders.ge2e import GE2E
from acorl_sb.encoders.member_folder import WEIGHTS
from acorl_sb.encoders.named import load_named
from acorl_sb.utils.errors import UserError
from tests import folders, tiny


def test_a_folder_and_its_yaml_with_weights_are_the_same_encoder(tmp_path):
    folder = folders.published(tmp_path / "published")
    wave = 0.1 * torch.randn(1, 8000)
    weights = str(tmp_path / "w.ckpt")
    torch.save(torch.load(folder / WEIGHTS, weights_only=True), weights)
    yaml = tmp_path / "encoder.yaml"
    yaml.write_text((folder / "hyperparams.yaml").read_text() + "embedding_dim: 16\n")
    with torch.no_grad():
        one, other = (e(wave) for e in (load_named(str(folder)), load_named(str(yaml), weights)))
    assert one.shape == (1, 16)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_ge2e_brings_its_weights():
    pytest.importorskip("resemblyzer")
    assert isinstance(load_named("encoders/ge2e.yaml").embedding_model, GE2E)


def test_random_weights_and_weights_too_many_are_refused(tmp_path):
    with pytest.raises(UserError, match="--weights"):
        load_named(str(tiny.ENCODERS / "ecapa.yaml"))
    folder = folders.published(tmp_path / "published")
    with pytest.raises(UserError, match="published"):
        load_named(str(folder), weights=str(folder / WEIGHTS))
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_named("nowhere.yaml")
