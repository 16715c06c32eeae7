"""What TensorBoard and W&B are told of training is what the training log holds."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace

import pytest
from speechbrain.utils.train_logger import TensorboardLogger, WandBLogger

from acorl_sb.training import train_loggers
from acorl_sb.training.train_loggers import EpochTeller
from acorl_sb.utils.errors import UserError
from tests import tiny
from tests.training.test_members import data, spec, train  # noqa: F401

LINES = [{"epoch": n, "step": 10 * n, "loss": 3.0 / n, "dev_eer": 0.5 / n} for n in (1, 2, 3)]


def events(folder):
    """Tag -> values in order, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return {tag: [e.value for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_has_the_epochs_of_each_members_log(data, tmp_path):  # noqa: F811
    train(tmp_path, data, [spec("a"), spec("b")], train_logger=TensorboardLogger)
    for name in ("a", "b"):
        log = (tmp_path / name / "train_log.jsonl").read_text().splitlines()
        lines = [json.loads(line) for line in log]
        found = events(tmp_path / name / "train_logs")
        assert len(lines) == 2 and found["epoch"] == [1, 2]
        for tag, key in (("loss/train", "loss"), ("dev_eer/valid", "dev_eer")):
            assert found[tag] == pytest.approx([line[key] for line in lines], rel=1e-6)


def test_an_interrupted_training_goes_on_in_a_log_that_is_whole(tmp_path):
    for upto in (2, 3):  # killed after the second epoch: nothing was closed
        teller = EpochTeller(TensorboardLogger, tmp_path / "logs", "dev_eer")
        teller.tell(LINES[:upto])
        teller.logger.writer.flush()  # or its thread, which a kill would end, writes into the next
    teller.close()
    assert events(tmp_path / "logs")["loss/train"] == pytest.approx([3.0, 1.5, 1.0])


def test_wandb_is_told_by_the_same_interface(tmp_path):
    told, ended = [], []

    def begin(project):
        log = lambda figures, step: told.append((project, step, figures))  # noqa: E731
        return SimpleNamespace(log=log, finish=lambda: ended.append(project))

    factory = functools.partial(WandBLogger, initializer=functools.partial(begin, "mine"))
    teller = EpochTeller(factory, tmp_path / "logs", "dev_eer")
    for upto in (1, 2, 3):
        teller.tell(LINES[:upto])
    teller.close()
    assert [step for _, step, _ in told] == [1, 2, 3] and ended == ["mine"]
    assert [figures["valid"]["dev_eer"] for *_, figures in told] == [0.5, 0.25, 0.5 / 3]
    assert not (tmp_path / "logs").exists()


def test_a_package_that_is_missing_is_said_before_any_work(monkeypatch):
    monkeypatch.setattr(train_loggers.importlib.util, "find_spec", lambda name: None)
    for factory in (TensorboardLogger, functools.partial(TensorboardLogger, save_dir="x")):
        with pytest.raises(UserError, match="tensorboard"):
            tiny.settings(train_logger=factory)
