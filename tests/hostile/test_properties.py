"""Whatever a file holds, its reader returns or raises ``UserError``: property-based tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from acorl_sb.data.audio import read_audio, read_header
from acorl_sb.data.embeddings import Embeddings, read_embeddings, write_embeddings
from acorl_sb.data.manifest import Utterance, read_manifest, write_manifest
from acorl_sb.data.scorefiles import read_scores, write_scores
from acorl_sb.data.speakers import read_speakers
from acorl_sb.data.trials import TrialList, read_enrolment, read_trials, write_trials
from acorl_sb.fusion.run_results import read_results
from acorl_sb.fusion.saved_model import read_model
from acorl_sb.report.curves import read_training
from acorl_sb.utils.errors import UserError
from tests.hostile.damage import noise
from tests.hostile.mutate import PIECES, Edit, spoil

IDS = ["s0-a", "s0-b", "s1-a", "s1-b"]
VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)
TRIALS = TrialList(IDS, np.array([0, 2, 0]), np.array([1, 3, 2]), np.array([True, True, False]))
LOGISTIC = {
    "kind": "logistic", "prior": 0.05, "l2": 0.0, "l2_used": 0.0, "separable": False,
    "n_systems": 2, "n_quality": 0, "weights": [1.0, 2.0], "bias": -1.0,
}  # fmt: skip
MODEL = {
    "systems": ["a", "b"], "quality": [], "quality_measures": [], "fusion": LOGISTIC,
    "calibration": {"kind": "pav", "knots": [0.0, 1.0], "levels": [-1.0, 1.0]},
    "decisions": [{"p_target": 0.05, "c_miss": 1.0, "c_fa": 1.0, "llr_threshold": 2.9}],
}  # fmt: skip


def scores(form: str) -> Callable[[Path], None]:
    return lambda path: write_scores(path, TRIALS, [0.5, -1.25, 3e-7], form)


def trials(form: str) -> Callable[[Path], None]:
    return lambda path: write_trials(path, TRIALS, form)


def lines(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text)


def manifest(path: Path) -> None:
    write_manifest(path, [Utterance(i, 1.0, f"/{i}.wav", 0, 16000, i[:2]) for i in IDS])


def vectors(path: Path) -> None:
    write_embeddings(path, Embeddings(IDS, VECTORS))


def sound(path: Path) -> None:
    soundfile.write(path, noise(0.3), 16000)


def hear(path: Path) -> None:
    read_header(path)
    read_audio(path)


def log(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"epoch": 1, "loss": 2.5, "dev_eer": 0.1}\n' * 2)


FIGURES = {"eer": 0.1, "min_dcf": {"0.05": 0.5}}
RUN = {
    "systems": [
        {
            **{"name": "first", "kind": "member", "dev": FIGURES, "test": FIGURES},
            **{"intervals": {"eer": [0.05, 0.2]}, "against_best": None},
        }
    ],
    "best_member": "first",
    "cost_points": [{"p_target": 0.05, "c_miss": 1, "c_fa": 1}],
    "intervals": {"level": 0.95, "replicates": 100, "method": "draws"},
}

READERS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], object]]] = {
    "scores, SpeechBrain": ("s.txt", scores("speechbrain"), read_scores),
    "scores, WeSpeaker": ("s.txt", scores("wespeaker"), read_scores),
    "scores, Kaldi": ("s.txt", scores("kaldi"), read_scores),
    "trials, VoxCeleb": ("t.txt", trials("voxceleb"), read_trials),
    "trials, Kaldi": ("t.txt", trials("kaldi"), read_trials),
    "enrolment": ("m.txt", lines("a s0-a s0-b\nb s1-a\n"), read_enrolment),
    "speakers": ("u.txt", lines("s0-a s0\ns1-a s1\n"), read_speakers),
    "manifest": ("m.csv", manifest, read_manifest),
    "numpy archive": ("e.npz", vectors, read_embeddings),
    "Kaldi archive": ("e.ark", vectors, read_embeddings),
    "Kaldi table": ("e.scp", vectors, read_embeddings),
    "results of a run": ("results.json", lines(json.dumps(RUN)), read_results),
    "fusion model": ("f.json", lines(json.dumps(MODEL)), read_model),
    "WAV": ("a.wav", sound, hear),
    "FLAC": ("a.flac", sound, hear),
    "Ogg": ("a.ogg", sound, hear),
    "MP4": ("a.m4a", lines("\0\0\0\x10moov\0\0\0\x08trak"), read_header),
    "training log": (
        "run/members/a/train_log.jsonl",
        log,
        lambda path: read_training(path.parents[2]),
    ),
}

EDITS = st.lists(
    st.builds(
        Edit,
        st.floats(0, 1),
        st.floats(0, 1),
        st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)),
        st.booleans(),
    ),
    max_size=4,
)
SETTINGS = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", READERS)
def test_a_spoiled_file_is_read_or_refused(tmp_path, name):
    file, write, read = READERS[name]
    path = tmp_path / file
    write(path)
    valid = path.read_bytes()
    if not name.startswith("MP4"):
        read(path)

    @SETTINGS
    @given(EDITS)
    @example([Edit(0, 0, b"", cut=True)])
    def spoiled(edits):
        path.write_bytes(spoil(valid, edits))
        only_user_errors(read, path)

    spoiled()


@pytest.mark.parametrize("name", READERS)
def test_random_bytes_are_read_or_refused(tmp_path, name):
    file, _, read = READERS[name]
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)

    @SETTINGS
    @given(st.binary(max_size=400))
    def random(data):
        path.write_bytes(data)
        only_user_errors(read, path)

    random()


def only_user_errors(read: Callable[[Path], object], path: Path) -> None:
    """Read the file; a ``UserError`` is one line of text that can be printed anywhere."""
    try:
        read(path)
    except UserError as error:
        assert "\n" not in str(error)
        str(error).encode()
