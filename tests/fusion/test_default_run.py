"""The package's own encoder as a run, and through the verifier and its commands."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
import soundfile

from acorl_sb.cli import embed, enrol, identify, verify
from acorl_sb.data.embeddings import read_embeddings
from acorl_sb.fusion.default_run import load_default
from acorl_sb.inference import Verifier
from acorl_sb.utils.errors import UserError
from tests import spoken


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two halves of one synthetic voice, and another voice."""
    folder = tmp_path_factory.mktemp("recordings")
    man, woman = spoken.sentence(), spoken.sentence("en-us+f3")
    half = len(man) // 2
    for name, wave in (("one", man[:half]), ("two", man[half:]), ("other", woman[:half])):
        soundfile.write(folder / f"{name}.wav", wave, 16000)
    return folder


def test_one_voice_is_nearer_than_two(recordings):
    verifier = Verifier.default()
    one, two, other = (recordings / f"{name}.wav" for name in ("one", "two", "other"))
    same, different = verifier.compare(one, two), verifier.compare(one, other)
    assert same.llr > different.llr
    model = load_default().model
    assert same.llr == pytest.approx(model.bias + model.weights[0] * same.cosines["open"])


def test_commands_take_it_where_no_run_is_named(recordings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    one, two, other = (str(recordings / f"{name}.wav") for name in ("one", "two", "other"))
    assert verify.main([one, two, "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["llr"] == pytest.approx(Verifier.default().compare(one, two).llr, abs=1e-4)
    assert enrol.main(["s.db", "ann", one]) == 0
    assert enrol.main(["s.db", "eve", other]) == 0
    capsys.readouterr()
    assert identify.main(["s.db", two, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["speakers"][0]["name"] == "ann"
    assert embed.main([one, two, "--output", "e.npz"]) == 0
    rows = np.asarray(read_embeddings("e.npz").vectors)
    assert rows.shape[0] == 2 and np.isfinite(rows).all()


def test_one_encoder_has_no_disagreement(recordings):
    with pytest.raises(UserError, match="run_folder"):
        verify.main(
            [*(str(recordings / f"{n}.wav") for n in ("one", "two")), "--uncertainty", "true"]
        )
