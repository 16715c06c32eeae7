"""The encoder that the package brings: small, whole, and refused where it is not."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors import safe_open

from acorl_sb.encoders.named import load_named
from acorl_sb.encoders.shipped import SHIPPED, SHIPPED_WEIGHTS, load_shipped, read_shipped
from acorl_sb.utils.errors import UserError


@pytest.fixture()
def copied(tmp_path):
    return shutil.copytree(SHIPPED, tmp_path / "open")


def test_the_weights_are_half_precision_and_at_most_four_megabytes():
    path = SHIPPED / SHIPPED_WEIGHTS
    assert path.stat().st_size <= 4_000_000
    with safe_open(path, "pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    assert "F16" in kinds and kinds <= {"F16", "I64"}


def test_by_its_name_it_is_the_encoder_of_its_folder(copied):
    wave = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = load_named("open")(wave), load_shipped(copied)(wave)
    assert one.dtype == torch.float32
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_file_with_another_hash_is_refused(copied):
    path = copied / SHIPPED_WEIGHTS
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(UserError, match=SHIPPED_WEIGHTS):
        load_shipped(copied)
    path.unlink()
    with pytest.raises(UserError, match=SHIPPED_WEIGHTS):
        load_shipped(copied)


@pytest.mark.parametrize("text", ["", "[]", "{}", None])
def test_a_damaged_description_is_refused(copied, text):
    path = copied / "model.json"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(UserError, match=r"model\.json"):
        read_shipped(copied)


def test_every_key_of_the_description_is_needed(copied):
    model = json.loads((copied / "model.json").read_text())
    for key in ("sha256", "fusion", "score_seconds", "calibrated_on"):
        (copied / "model.json").write_text(json.dumps({k: v for k, v in model.items() if k != key}))
        with pytest.raises(UserError, match=key):
            read_shipped(copied)
