"""Bad input to ``acorl embed``: one sentence, exit code 2, no file left and nothing run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from acorl_sb.data.manifest import write_manifest
from tests.analysis import runs
from tests.commands import checksums, refused, run
from tests.hostile import damage


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A working folder with a finished member, recordings, tables, and every kind of damage."""
    root = tmp_path_factory.mktemp("embed")
    speech = runs.utterances(root / "speech", speakers=3, each=2, seconds=0.3)
    runs.finished(root / "run", speech, {"one": 1})
    write_manifest(root / "ok.csv", speech[:1])
    (root / "held.npz").touch()
    (root / "command.scp").write_text(f"x touch {root}/marker |\n")
    (root / "archive.scp").write_text("x wav.ark:3\n")
    (root / "twice.csv").write_text("wav,id\nspeech/s0/u0.wav,x\nspeech/s0/u1.wav,x\n")
    (root / "late.csv").write_text("wav,start,end\nspeech/s0/u0.wav,7,8\n")
    noise = np.random.default_rng(0).integers(-9000, 9000, 16000).astype(np.int16)
    soundfile.write(root / "cancels.wav", np.stack([noise, -noise], axis=1), 16000)
    (root / "taken.npz.parts").mkdir()
    (root / "taken.npz.parts/precious.txt").write_text("mine")
    (root / "other.json").write_text('{"a": 3}')
    damage.AUDIO["half a WAV"](damage.speakers(root / "damaged", 2, 1))
    return root


CASES = {
    "output of no form": ("ok.csv", "e.txt", "e.txt"),
    "output that is there": ("ok.csv", "held.npz", "held.npz"),
    "output through a file": ("ok.csv", "ok.csv/e.npz", "ok.csv"),
    "a command in wav.scp": ("command.scp", "e.npz", "command.scp line 1"),
    "an archive in wav.scp": ("archive.scp", "e.npz", "wav.ark:3"),
    "nothing there": ("nowhere", "e.npz", "nowhere"),
    "an id twice": ("twice.csv", "e.npz", "twice.csv line 3"),
    "a stretch beyond the file": ("late.csv", "e.npz", "late.csv line 2"),
    "no table": ("other.json", "e.npz", "other.json"),
    "a damaged recording": ("damaged", "e.npz", "damaged/s1/bad.wav"),
    "channels that cancel": ("cancels.wav", "e.npz", "cancels.wav"),
    "a folder in the parts' place": ("ok.csv", "taken.npz", "taken.npz.parts"),
    "neither audio nor table": ("run/members/one/embedding_model.ckpt", "e.npz", "model.ckpt"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence(folder, case):
    given, output, named = CASES[case]
    before = checksums(folder)
    call = ["-m", "acorl_sb", "embed", given, "--encoder", "run/members/one", "--device", "cpu"]
    assert named in refused(run([*call, "--output", output], folder))
    assert checksums(folder) == before
    assert not (folder / "marker").exists()


@pytest.mark.parametrize(
    ("encoder", "named"),
    [("speech", "hyperparams.yaml"), ("encoders/ecapa.yaml", "weights"), ("gone.yaml", "gone")],
)
def test_an_encoder_that_is_none_is_one_sentence(folder, encoder, named):
    call = ["-m", "acorl_sb", "embed", "ok.csv", "--encoder", encoder, "--output", "e.npz"]
    assert named in refused(run(call, folder))


@pytest.mark.parametrize("seconds", ["1e-9", "0.05", "0"])
def test_less_than_an_utterance_may_last_is_one_sentence(folder, seconds):
    call = ["-m", "acorl_sb", "embed", "ok.csv", "--encoder", "run/members/one"]
    call += ["--output", "e.npz", "--seconds", seconds]
    assert "'seconds'" in refused(run(call, folder))
    assert not (folder / "e.npz").exists()
