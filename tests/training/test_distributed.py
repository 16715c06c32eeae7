"""Two ranks on the CPU: the same parameters on both, the same training as one process's."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from acorl_sb.training.batchnorm import SharedBatchNorm, share_batch_statistics
from acorl_sb.utils import distributed
from acorl_sb.utils.errors import UserError
from tests import tiny

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def launch(*args, ranks: bool):
    done = subprocess.run(
        [sys.executable, *(TORCHRUN if ranks else ()), *map(str, args)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folders = {}
    for name in ("one", "two"):
        folders[name] = tmp_path_factory.mktemp(name)
        launch("tests/ranks.py", folders[name], ranks=name == "two")
    return folders


def states(folder: Path, rank: int) -> dict[str, dict[str, torch.Tensor]]:
    """Per member its modules' tensors, under the names that they have without wrappers."""
    kept = torch.load(folder / f"rank{rank}.pt", weights_only=True)
    return {
        member: {key.replace(".module.", ".", 1): value for key, value in state.items()}
        for member, state in kept.items()
    }


def test_both_ranks_end_with_the_same_bits(runs):
    first, second = states(runs["two"], 0), states(runs["two"], 1)
    assert first.keys() == second.keys() == {"plain", "adversarial", "joint"}
    for member, state in first.items():
        assert len(state) > 50
        for key, value in state.items():
            assert torch.equal(value, second[member][key]), (member, key)


def test_two_ranks_train_as_one_process_on_the_same_global_batch(runs):
    for member in ("plain", "adversarial", "joint"):
        logs = [
            [json.loads(line) for line in path.read_text().splitlines()]
            for path in (runs[n] / "members" / member / "train_log.jsonl" for n in ("one", "two"))
        ]
        assert len(logs[0]) == len(logs[1]) == 2
        for alone, shared in zip(*logs, strict=True):
            assert alone.keys() == shared.keys() >= {"loss", "task_loss", "dev_eer"}
            for key, value in alone.items():
                assert shared[key] == pytest.approx(value, rel=2e-4), (member, key)
        one, two = (states(runs[n], 0)[member] for n in ("one", "two"))
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(value, two[key], rtol=1e-3, atol=1e-4, msg=f"{member} {key}")


def test_one_rank_writes_and_says_how_it_was_run(runs):
    for name, ranks in (("one", 1), ("two", 2)):
        record = json.loads((runs[name] / "members" / "joint" / "member.json").read_text())
        assert record["run"]["ranks"] == ranks
        assert not (runs[name] / "members" / "joint" / "save").exists()


def test_ranks_may_differ_in_what_a_term_can_use(tmp_path):
    """No rank waits for another's gradients, and a figure is the mean of where there is one."""
    launch("tests/uneven_ranks.py", tmp_path, ranks=True)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    lacking = {
        "first batches": {"posterior_loss"},  # no class has been seen
        "pairs on one rank": {"log_ratio", "adversary_loss"},
        "no labels on one rank": {"task_loss", "posterior_loss"},
        "a fold on one rank": set(),
        "augmented on one rank": {"adversary_loss", "weight"},
    }
    assert ranks[0].keys() == lacking.keys()
    for name, figures in lacking.items():
        one, two = (rank[name] for rank in ranks)
        assert torch.equal(one["weights"], two["weights"]), name
        assert torch.isfinite(one["weights"]).all() and one["means"] == two["means"], name
        told = list(zip(one["told"], two["told"], strict=True))
        absent = set()
        for key in one["told"][0]:
            steps = [[v[key] for v in both if not math.isnan(v[key])] for both in told]
            absent |= {key for values in steps if len(values) < 2}
            wanted = [sum(values) / len(values) for values in steps if values]
            assert one["means"][key] == pytest.approx(sum(wanted) / len(wanted), rel=1e-6), name
        assert absent == figures


def test_the_front_door_on_two_ranks(tmp_path):
    options = "{n_voices: 12, sessions: 2, utterances_per_session: 3}"
    done = launch(
        "train.py",
        "hparams/acorl_ecapa.yaml",
        *("--channels", "8", "--embedding_dim", "16", "--crop_seconds", "0.5"),
        *("--batch_size", "8", "--epochs", "1", "--epoch_steps", "4", "--dev_seconds", "0.5"),
        *("--score_seconds", "0.5", "--device", "cpu", "--precision", "bf16"),
        *("--grad_accumulation_factor", "2", "--data_folder", tmp_path / "voices"),
        *("--prepare_options", options, "--output_folder", tmp_path / "out"),
        ranks=True,
    )
    assert done.stdout.count("| score-logistic |") == 1
    log = (tmp_path / "out" / "train_log.txt").read_text()
    assert log.count("second-tuned: epoch 1") == 1
    record = json.loads((tmp_path / "out" / "members" / "second-tuned" / "member.json").read_text())
    assert record["run"] == {"ranks": 2, "precision": "bf16", "grad_accumulation_factor": 2}


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(3), nn.BatchNorm2d(3, momentum=None)])
def test_batch_norm_of_a_process_alone_is_torchs(norm):
    torch.manual_seed(0)
    nn.init.normal_(norm.weight)
    shape = (4, 3, 5) if isinstance(norm, nn.BatchNorm1d) else (4, 3, 5, 2)
    plain = nn.Sequential(type(norm)(3, momentum=norm.momentum))
    plain[0].load_state_dict(norm.state_dict())
    shared = share_batch_statistics(nn.Sequential(norm))
    assert isinstance(shared[0], SharedBatchNorm)
    for mode in (True, True, False):
        outputs = []
        x = torch.randn(shape) + 3
        for module in (plain, shared):
            module.train(mode)
            mine = x.clone().requires_grad_()
            y = module(mine)
            (y * torch.arange(y.numel()).view(shape)).sum().backward()
            outputs.append((y.detach(), mine.grad))
        for a, b in zip(*outputs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert plain.state_dict().keys() == shared.state_dict().keys()
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(value, shared.state_dict()[key])


def test_alone_the_helpers_change_nothing():
    options, device = distributed.start(tiny.CPU)
    assert device == torch.device("cpu") and options.distributed_backend == "gloo"
    assert distributed.rank_and_world() == (0, 1)
    assert distributed.mean_over_ranks({"b": torch.tensor(2.0), "a": 1}) == {"a": 1.0, "b": 2.0}
    assert distributed.mean_over_ranks({}) == {}


def test_more_ranks_than_gpus_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    options = tiny.RunOptions(
        device="cpu",
        distributed_backend="nccl",
        overridden_args={"device", "distributed_backend"},
    )
    with pytest.raises(UserError):
        distributed.start(options)
