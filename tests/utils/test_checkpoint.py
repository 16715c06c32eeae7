"""A checkpoint is whole or absent."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from acorl_sb.utils.checkpoint import AtomicCheckpointer
from acorl_sb.utils.errors import UserError


def test_a_save_that_breaks_in_the_middle_leaves_nothing_to_find(tmp_path):
    model = nn.Linear(2, 2)
    checkpointer = AtomicCheckpointer(tmp_path, {"model": model})
    checkpointer.save_checkpoint(meta={"n": 1})
    kept = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.zero_()

    class Broken(nn.Linear):
        def state_dict(self, *args, **kwargs):
            raise RuntimeError("killed")

    broken = AtomicCheckpointer(tmp_path, {"model": model, "other": Broken(1, 1)})
    with pytest.raises(RuntimeError, match="killed"):
        broken.save_checkpoint(meta={"n": 2})
    assert list(tmp_path.glob("partial/*")), "the half-written folder does not look like one"
    found = checkpointer.recover_if_possible()
    assert found.meta["n"] == 1 and torch.equal(model.weight, kept)
    checkpointer.save_checkpoint(meta={"n": 3})
    assert not list(tmp_path.glob("partial/*"))


def test_saved_files_are_where_the_checkpoint_says(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"model": nn.Linear(2, 2)})
    saved = [checkpointer.save_checkpoint(meta={"n": n}) for n in range(3)]
    assert len({s.path for s in saved}) == 3
    assert all(path.is_file() for s in saved for path in s.paramfiles.values())
    assert {c.path for c in checkpointer.list_checkpoints()} == {s.path for s in saved}
    state = torch.load(saved[0].paramfiles["model"], weights_only=True)
    assert set(state) == {"weight", "bias"}


def test_keeping_the_best_and_the_last(tmp_path):
    checkpointer = AtomicCheckpointer(tmp_path, {"model": nn.Linear(1, 1)})
    for error in (0.2, 0.1, 0.3):
        checkpointer.save_and_keep_only(meta={"dev_eer": error}, min_keys=["dev_eer"])
    assert sorted(c.meta["dev_eer"] for c in checkpointer.list_checkpoints()) == [0.1, 0.3]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.ckpt", lambda path: path.write_bytes(path.read_bytes()[:100])),
        ("model.ckpt", lambda path: path.write_bytes(b"")),
        ("model.ckpt", lambda path: path.unlink()),
        ("CKPT.yaml", lambda path: path.write_text("a: [")),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path, file, damage):
    checkpointer = AtomicCheckpointer(tmp_path / "save", {"model": nn.Linear(2, 2)})
    saved = checkpointer.save_checkpoint(meta={"n": 1})
    damage(saved.path / file)
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        checkpointer.recover_if_possible()
