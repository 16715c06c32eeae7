"""``acorl embed``: what comes out is what the encoder gives; killed, shared, scored."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from acorl_sb.cli import embed, score
from acorl_sb.data.embeddings import read_embeddings
from acorl_sb.data.scorefiles import read_scores
from acorl_sb.data.vad import keep_speech
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import load_member
from acorl_sb.scoring.backends.cosine import cosine_scores
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.packaged import find_yaml
from tests import spoken
from tests.analysis import runs
from tests.commands import started


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embed")
    speech = runs.utterances(folder / "speech", speakers=4, each=3, seconds=0.3)
    return runs.finished(folder / "run", speech, {"one": 1}), speech


def command(run_folder, *arguments) -> list[str]:
    encoder = ["--encoder", run_folder / "members/one", "--device", "cpu"]
    return [str(part) for part in (*arguments, *encoder)]


@pytest.mark.parametrize("name", ["e.npz", "e.safetensors", "e.scp", "e.ark", "e"])
def test_every_form_holds_the_encoders_embeddings(run_folder, tmp_path, name, capsys):
    folder, speech = run_folder
    inputs = folder / "manifest/test.csv"
    assert embed.main(command(folder, inputs, "--output", tmp_path / name)) == 0
    found = read_embeddings(tmp_path / name)
    expected = embed_utterances(load_member(folder / "members/one"), speech).numpy()
    assert found.ids == [u.id for u in speech]
    np.testing.assert_allclose(found.vectors, expected, rtol=1e-5, atol=1e-5)
    assert "12 embeddings" in capsys.readouterr().out


def test_with_vad_the_centre_of_the_speech_alone_is_embedded(run_folder, tmp_path):
    folder, _ = run_folder
    wave = np.concatenate([spoken.noise(1), spoken.sentence(), spoken.noise(2)])
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    speech, output = keep_speech(wave), tmp_path / "e.npz"
    middle = len(speech) // 2
    for seconds, part in ((None, speech), (1.0, speech[middle - 8000 : middle + 8000])):
        output.unlink(missing_ok=True)
        given = [] if seconds is None else ["--seconds", seconds]
        words = [tmp_path / "a.wav", "--vad", "true", "--output", output, *given]
        assert embed.main(command(folder, *words)) == 0
        encoder = load_member(folder / "members/one").eval()
        with torch.no_grad():
            expected = encoder(torch.from_numpy(part)[None]).numpy()
        np.testing.assert_allclose(read_embeddings(output).vectors, expected, rtol=1e-4, atol=1e-4)


def test_with_vad_a_recording_without_speech_is_named(run_folder, tmp_path):
    folder, _ = run_folder
    soundfile.write(tmp_path / "hiss.wav", spoken.noise(1), 16000)
    words = [tmp_path / "hiss.wav", "--vad", "true", "--output", tmp_path / "e.npz"]
    with pytest.raises(UserError, match="hiss"):
        embed.main(command(folder, *words))
    assert not (tmp_path / "e.npz").exists()


def test_what_is_written_is_scored(run_folder, tmp_path):
    folder, _ = run_folder
    embed.main(command(folder, folder / "manifest/test.csv", "--output", tmp_path / "e.npz"))
    trials = folder / "manifest/test_trials.txt"
    score.main(
        [str(find_yaml("score.yaml")), "--systems", f"{{mine: {tmp_path / 'e.npz'}}}"]
        + ["--trials", str(trials), "--output_folder", str(tmp_path / "out"), "--replicates", "0"]
    )
    found = read_scores(tmp_path / "out/scores/mine/cosine-none.txt")
    made = read_embeddings(tmp_path / "e.npz")
    rows = made.index(found.trials.ids)
    sides = rows[found.trials.enrol], rows[found.trials.test]
    assert found.scores == pytest.approx(cosine_scores(made.vectors, *sides), abs=1e-6)


def test_a_killed_run_goes_on_to_the_same_embeddings(run_folder, tmp_path):
    folder, _ = run_folder
    arguments = command(folder, folder / "manifest/test.csv", "--shard_size", 1)
    first = tmp_path / "e.npz.parts/000000.npy"
    with started(["-m", "acorl_sb", "embed", *arguments, "--output", tmp_path / "e.npz"]) as child:
        while child.is_alive() and not first.exists():
            time.sleep(0.01)
        child.kill()
        child.join()
    if not (tmp_path / "e.npz").exists():  # a very fast machine
        embed.main([*arguments, "--output", str(tmp_path / "e.npz")])
    embed.main([*arguments, "--output", str(tmp_path / "whole.npz")])
    one, other = (read_embeddings(tmp_path / name) for name in ("e.npz", "whole.npz"))
    assert one.ids == other.ids and np.array_equal(one.vectors, other.vectors)


def test_two_ranks_write_what_one_does(run_folder, tmp_path):
    folder, _ = run_folder
    arguments = command(folder, folder / "manifest/test.csv", "--shard_size", 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    call = ["-m", "acorl_sb", "embed", *arguments, "--output", tmp_path / "two.npz"]
    with contextlib.ExitStack() as stack:
        ranks = [
            stack.enter_context(started(call, env={**shared, "RANK": str(r), "LOCAL_RANK": str(r)}))
            for r in range(2)
        ]
        for rank in ranks:
            rank.join(120)
        errors = [Path(rank.stderr).read_text()[-2000:] for rank in ranks]
        assert [rank.exitcode for rank in ranks] == [0, 0], errors
    embed.main([*arguments, "--output", str(tmp_path / "one.npz")])
    one, two = (read_embeddings(tmp_path / name) for name in ("one.npz", "two.npz"))
    assert one.ids == two.ids
    np.testing.assert_allclose(one.vectors, two.vectors, rtol=1e-6, atol=1e-6)
