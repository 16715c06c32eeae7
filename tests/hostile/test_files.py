"""Bad input files, each through a command as a user runs it: one sentence and exit code 2.

No case may hang, end in a traceback or change what an earlier run has finished.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from acorl_sb.corpora import listing
from acorl_sb.data.embeddings import Embeddings, write_embeddings
from acorl_sb.data.manifest import write_manifest
from acorl_sb.data.scorefiles import write_scores
from acorl_sb.data.trials import TrialList, write_trials
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import shown
from tests.commands import ROOT, checksums, refused, run
from tests.hostile import damage
from tests.tiny import hums

# ------------------------------------------------------------------------------------------------
# Folders of recordings


@pytest.mark.parametrize("case", damage.AUDIO)
def test_a_bad_file_among_the_recordings_is_named_before_training(tmp_path, case):
    data = damage.speakers(tmp_path / "data")
    path = damage.AUDIO[case](data)
    done = run(
        ["train.py", "hparams/acorl_ecapa.yaml", "--corpus", "folder", "--data_folder", data]
        + ["--output_folder", tmp_path / "out", "--device", "cpu"],
    )
    assert shown(path) in refused(done)
    assert not (tmp_path / "out" / "members").exists()


def test_a_noise_folder_is_looked_through_before_training(tmp_path):
    noise = damage.speakers(tmp_path / "noise", 2)
    damage.AUDIO["silent"](noise)
    done = run(
        ["-m", "acorl_sb.cli.score", "hparams/score.yaml", "--output_folder", tmp_path / "out"]
        + [
            "--normalisations",
            f"{{n: !new:acorl_sb.training.augment.FolderNoise {{folder: {noise}}}}}",
        ]
    )
    assert "s1/bad.wav" in refused(done)


def test_a_folder_that_may_not_be_read_is_not_left_out(tmp_path, monkeypatch):
    data = damage.speakers(tmp_path / "data")
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("s4"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match="data/s4"):
        listing.audio_files(data)


def test_links_to_other_folders_are_followed(tmp_path):
    data = damage.speakers(tmp_path / "data", 2, 1)
    shutil.move(data / "s1", tmp_path / "elsewhere")
    (data / "s1").symlink_to(tmp_path / "elsewhere")
    (data / "s2").symlink_to(tmp_path / "elsewhere")
    found = [path.relative_to(data).as_posix() for path in listing.audio_files(data)]
    assert found == ["s0/u0.wav", "s1/u0.wav", "s2/u0.wav"]


# ------------------------------------------------------------------------------------------------
# Scoring: embeddings, trial lists, enrolment, speakers, manifests


IDS = [f"s{s}-u{u}" for s in range(6) for u in range(3)]
VECTORS = np.random.default_rng(0).standard_normal((len(IDS), 4)).astype(np.float32)


def all_trials() -> TrialList:
    enrol, test = np.triu_indices(len(IDS), 1)
    return TrialList(IDS, enrol, test, enrol // 3 == test // 3)


class Payload:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """A working folder with good input for ``acorl score`` and what came of it, in ``out``."""
    folder = tmp_path_factory.mktemp("score")
    write_embeddings(folder / "e", Embeddings(IDS, VECTORS))
    write_embeddings(folder / "e.npz", Embeddings(IDS, VECTORS))
    write_embeddings(folder / "e.ark", Embeddings(IDS, VECTORS))
    write_trials(folder / "trials.txt", all_trials())
    (folder / "speakers.txt").write_text("".join(f"{i} {i[:2]}\n" for i in IDS))
    (folder / "enrolment.txt").write_text("".join(f"{i} {i}\n" for i in IDS))
    write_manifest(folder / "speakers.csv", hums(folder / "speech", 6, 3, 0.3))
    done = run(scoring(), folder)
    assert done.code == 0, done.stderr
    return folder


def scoring(system: str = "e", **options: str) -> list[str]:
    options = {"trials": "trials.txt", "speakers": "speakers.txt", **options}
    given = [part for key, value in options.items() for part in (f"--{key}", value)]
    command = ["-m", "acorl_sb.cli.score", str(ROOT / "hparams/score.yaml"), "--replicates", "0"]
    return [*command, "--systems", f"{{mine: {system}}}", *given, "--output_folder", "out"]


OBJECTS = np.array([{"a": 1}], dtype=object)
ARK = b"s0-u0 \0BFV \x04\x04\0\0\0" + VECTORS[0].tobytes()

EMBEDDINGS = {
    "e/ids.txt": [
        b"", b"\xff\n" * 18, "\n".join(IDS[1:]).encode(), "\n".join(["a"] * 18).encode(),
        "\n".join(IDS).encode("utf-16"), b"\0" * 18,
    ],
    "e/embeddings.npy": [
        b"", b"\x93NUMPY", npy(VECTORS)[:-8], npy(VECTORS)[:60], npy(VECTORS[:, 0]),
        npy(VECTORS[1:]), npy(np.where(VECTORS[3, 2] == VECTORS, np.nan, VECTORS)), npy(OBJECTS),
        npy(VECTORS.astype(str)), npy(VECTORS.astype(complex)), npy(VECTORS * 1e300),
        npz(embeddings=VECTORS), npy(np.zeros((18, 0))), npy(np.zeros(18, "f4,f4")),
        npy(VECTORS).replace(b"(18, 4)", b"(9**9,)").ljust(400), b"text\n",
    ],
    "e.npz": [
        b"", b"PK\x03\x04", npz(ids=IDS, embeddings=VECTORS)[:-40], npy(VECTORS), npz(),
        npz(ids=IDS[1:], embeddings=VECTORS), npz(ids=IDS, embeddings=VECTORS[:, :, None]),
        npz(ids=np.array(IDS, object), embeddings=VECTORS), npz(ids=IDS, embeddings=OBJECTS),
        npz(ids=np.array(IDS)[:, None], embeddings=VECTORS), npz(ids=7, embeddings=VECTORS),
        npz(ids=np.array([b"\xff"] * 18), embeddings=VECTORS),
        npz(ids=np.full(18, 0x7FFFFFFF, "u4").view("U1"), embeddings=VECTORS),
        npz(ids=IDS, embeddings=VECTORS).replace(b"ids.npy", b"ids.\xff\xff\xff"),
        npz(**dict.fromkeys(IDS, VECTORS[:2])), npz(a=VECTORS[0], b=VECTORS[0, :2]),
    ],
    "e.ark": [
        b"", b"s0-u0", b"s0-u0 ", ARK[:-1], ARK[:-4], ARK[:12], ARK + ARK,
        ARK.replace(b"FV", b"FM"), ARK.replace(b"FV", b"CM"), b"s0-u0 [ 1 2 x ]\n", b"\xff\xff ",
        b"s0-u0  [ 1 2 3\n", b"s0-u0 RIFF", b"s0-u0 NPY\x01\x10", b"s0-u0 AUDIO", b"\0" * 99,
        ARK.replace(b"\x04\x04\0\0\0", b"\x04\xff\xff\xff\x7f"),
    ],
    "e.scp": [
        b"", b"s0-u0\n", b"s0-u0 gone.ark:6\n", b"s0-u0 e.ark:99999999\n", b"s0-u0 e.ark:1\n",
        b"s0-u0 e.ark:-6\n", b"s0-u0 -\n", b"s0-u0 /dev/zero:0\n", b"\xff e.ark:6\n", b"s0-u0 e\n",
        b"s0-u0 e.ark:" + b"9" * 5000, b"s0-u0 cat e.ark |\n",
    ],
}  # fmt: skip
LISTS = {
    "trials.txt": [
        b"", b"\n\n", b"1 s0-u0\n0 s0-u1 s1-u0 x\n", b"2 s0-u0 s1-u0\n", b"1 s0-u0 s0-u\xff\n",
        b"1 s0-u0 s0-u1\n1 s0-u0 s0-u1\n", b"1 s0-u0 s0-u1\n0 s0-u0 s0-u1\n",
        "1 s0-u0 s0-u1\n".encode("utf-16"), b"1 s0-u0 s0-u1\n\0",
        b"1 " * 3_000_000, b"1" * 70_000_000,
    ],
    "speakers.txt": [b"", b"s0-u0\n", b"s0-u0 a b\n", b"s0-u0 \xff\n", b"s0-u0 s0\ns0-u0 s1\n",
        b"\0", b"s0-u0 s0\n"],
}  # fmt: skip
ROW = b"ID,duration,wav,start,stop,spk_id\ns0-u0,"
OTHERS = {
    "enrolment.txt": [b"", b"\n", b"m\n", b"s0-u0 s0-u0\ns0-u0 s0-u1\n", b"s0-u0 \xff\n", b"m a\n"],
    "speakers.csv": [
        b"", b"ID\n", ROW, ROW + b"1,a.wav,0,1_6000,s0\n", ROW + b"1_0,a.wav,0,16000,s0\n",
        ROW + b"1,a\0.wav,0,16000,s0\n", ROW + b"1,a.wav,0," + b"9" * 5000 + b",s0\n",
        ROW + b'1,"' + b"a" * 200_000 + b'",0,16000,s0\n', ROW + b"inf,a.wav,0,16000,s0\n",
        (ROW + b"1,a.wav,0,16000,s0\n").decode().encode("utf-16"), b"\xff\xfe\xff",
        ROW + "1,a.wav,0,\u0661\u0662,s0\n".encode(), ROW + b'1,"a.wav,0,16000,s0\n',
    ],
}  # fmt: skip


def put(folder: Path, name: str, data: bytes) -> None:
    """Replace a file, and Kaldi's table beside it where that is meant."""
    (folder / name).write_bytes(data)


@pytest.fixture
def copied(scored, tmp_path) -> Path:
    return shutil.copytree(scored, tmp_path / "copy")


def refuses(folder: Path, command: list[str], name: str) -> None:
    """The command, run in the folder, names the file and changes nothing that is finished."""
    before = checksums(folder / "out")
    line = refused(run(command, folder, timeout=60))
    assert name in line, line
    after = checksums(folder / "out")
    # The log of the scoring command tells of this try too.
    assert {k: v for k, v in after.items() if not k.endswith("_log.txt")} == {
        k: v for k, v in before.items() if not k.endswith("_log.txt")
    }


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name, cases in EMBEDDINGS.items() for number in range(len(cases))],
)
def test_damaged_embeddings(copied, name, number):
    put(copied, name, EMBEDDINGS[name][number])
    system = name.partition("/")[0]
    refuses(copied, scoring(system), system)


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name, cases in {**LISTS, **OTHERS}.items() for number in range(len(cases))],
)
def test_damaged_lists(copied, name, number):
    put(copied, name, {**LISTS, **OTHERS}[name][number])
    key = name.partition(".")[0]
    refuses(copied, scoring(**{key: name}), name)


@pytest.mark.parametrize("name", ["trials.txt", "speakers.txt", "e.npz", "e.ark", "e/ids.txt"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "device"])
def test_what_is_no_regular_file(copied, name, kind):
    path = copied / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name if kind == "loop" else "/dev/zero")
    part = name.partition("/")[0]
    system = part if part.startswith("e") else "e"
    refuses(copied, scoring(system), part)


def test_nothing_is_unpickled_and_no_command_is_started(copied):
    trace = copied / "trace"
    pickled = pickle.dumps(Payload(trace))
    held = np.array([Payload(trace)], dtype=object)
    put(copied, "e.ark", b"s0-u0 PKL" + pickled)
    refuses(copied, scoring("e.ark"), "e.ark")
    put(copied, "e.npz", npz(ids=IDS, embeddings=held))
    refuses(copied, scoring("e.npz"), "e.npz")
    put(copied, "e/embeddings.npy", npy(held))
    refuses(copied, scoring("e"), "e")
    put(copied, "e/embeddings.npy", pickled)
    refuses(copied, scoring("e"), "e")
    (copied / "e.scp").write_text(f"s0-u0 touch {trace} |\n")
    refuses(copied, scoring("e.scp"), "e.scp")
    assert not trace.exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff", b'{"score_seconds": "2"}', b"[" * 100_000, b"{}\0"]
)
def test_damaged_results_of_a_run(tmp_path, content):
    for name in ("members/one", "manifest"):
        (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "run" / "results.json").write_bytes(content)
    line = refused(run(["-m", "acorl_sb.cli.score", ROOT / "hparams/score.yaml"]
        + ["--run_folder", "run", "--output_folder", "out"], tmp_path))  # fmt: skip
    assert "results.json" in line


# ------------------------------------------------------------------------------------------------
# Fusion


@pytest.fixture(scope="module")
def fused(tmp_path_factory) -> Path:
    """A working folder with score files of two systems and what ``fuse.py`` made of them."""
    folder = tmp_path_factory.mktemp("fuse")
    rng = np.random.default_rng(0)
    trials = all_trials()
    for name in ("a", "b"):
        for part in ("dev", "test"):
            scores = trials.labels + rng.standard_normal(len(trials))
            write_scores(folder / name / f"{part}.txt", trials, scores)
    done = run(FUSE, folder)
    assert done.code == 0, done.stderr
    return folder


FUSE = ["fuse.py", "--dev", "a/dev.txt", "b/dev.txt", "--test", "a/test.txt", "b/test.txt"]
FUSE += ["--replicates", "0", "--no-report", "--output_folder", "out"]
APPLY = ["fuse.py", "--apply", "model.json", "--test", "a/test.txt", "b/test.txt"]
APPLY += ["--output_folder", "new"]

SCORES = [
    b"", b"\n\n", b"s0-u0 s0-u1 1 1_0\n", b"s0-u0 s0-u1 1 nan\n", b"s0-u0 s0-u1 1 Infinity\n",
    b"s0-u0 s0-u1 1 1e999\n", b"s0-u0 s0-u1 1 0x1p3\n", b"s0-u0 s0-u1 2 0.5\n", b"s0-u0 s0-u1\n",
    b"s0-u0 s0-u1 1 0.5\ns0-u0 s0-u1 1 0.5\n", b"s0-u0 s0-u\xff 1 0.5\n", b"a b 1 0.5\0\n",
    "s0-u0 s0-u1 1 0.5\n".encode("utf-16"), b"s0-u0 s0-u1 1 0.5 0.5 0.5\n", b"a b 1 0.5\n",
    b"s0-u0 s0-u1 1 0.5 -1\n", b"s0-u0 s0-u1 1 0.5 1\ns0-u0 s1-u0 - 0.5 1\n",
    b"s0-u0 s0-u1 1 \xd9\xa1\n", b"x" * 70_000_000, b"\xff\xfe\xfd" * 99, b"a\rb\rc\rd\r",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SCORES)))
def test_damaged_score_files(fused, tmp_path, number):
    folder = shutil.copytree(fused, tmp_path / "copy")
    put(folder, "b/test.txt", SCORES[number])
    refuses(folder, [*FUSE[:-1], "new"], "b/test.txt")


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(fused, tmp_path):
    folder = shutil.copytree(fused, tmp_path / "copy")
    data = (folder / "b/test.txt").read_bytes()
    put(folder, "b/test.txt", b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))
    before = (folder / "out/fused_test.txt").read_bytes()
    assert run([*FUSE[:-1], "new"], folder).code == 0
    assert (folder / "new/fused_test.txt").read_bytes() == before


def without(key: str):
    def change(model: dict) -> None:
        del model[key]

    return change


def setting(value, *keys):
    def change(model: dict) -> None:
        for key in keys[:-1]:
            model = model[key]
        model[keys[-1]] = value

    return change


MODELS = {
    **{f"no {key}": without(key) for key in ("systems", "quality", "quality_measures", "fusion")},
    "no calibration": without("calibration"),
    "no decisions": without("decisions"),
    "systems a number": setting(2, "systems"),
    "one system": setting(["a"], "systems"),
    "fusion a text": setting("logistic", "fusion"),
    "unknown fusion": setting("magic", "fusion", "kind"),
    "unknown calibration": setting({"kind": "magic"}, "calibration"),
    "weights of NaN": setting([float("nan"), 1.0], "fusion", "weights"),
    "weights of infinity": setting([float("inf"), 1.0], "fusion", "weights"),
    "a text for a weight": setting(["1", 1.0], "fusion", "weights"),
    "weights a number": setting(1.0, "fusion", "weights"),
    "a weight too few": setting([1.0], "fusion", "weights"),
    "a weight too many": setting([1.0, 1.0, 1.0], "fusion", "weights"),
    "bias of null": setting(None, "fusion", "bias"),
    "prior of 2": setting(2.0, "fusion", "prior"),
    "unknown quality": setting(["magic"], "quality_measures"),
    "more quality columns": setting(["x"], "quality"),
    "decisions a text": setting("none", "decisions"),
    "decisions without thresholds": setting([{}], "decisions"),
    "threshold a text": setting("low", "decisions", 0, "llr_threshold"),
    "falling levels": setting(
        {"kind": "pav", "knots": [0.0, 1.0], "levels": [1.0, 0.0]}, "calibration"
    ),
    "no such system": setting(
        {
            "kind": "best_single", "criterion": "eer", "p_target": 0.05, "c_miss": 1, "c_fa": 1,
            "index": 2, "errors": [0.1, 0.2],
        },
        "fusion",
    ),
    "no deviation": setting(
        {"kind": "mean_znorm", "mean": [0.0, 0.0], "std": [0.0, 1.0]}, "fusion"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_damaged_fusion_models(fused, tmp_path, case):
    folder = shutil.copytree(fused, tmp_path / "copy")
    model = json.loads((folder / "out/fusion_model.json").read_text())
    MODELS[case](model)
    (folder / "model.json").write_text(json.dumps(model))
    refuses(folder, APPLY, "model.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000, b"{}"])
def test_fusion_models_that_are_none(fused, tmp_path, content):
    folder = shutil.copytree(fused, tmp_path / "copy")
    put(folder, "model.json", content)
    refuses(folder, APPLY, "model.json")


def test_a_run_folder_without_its_manifest(fused, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "run/members" / name).mkdir(parents=True)
        shutil.copytree(fused / name, tmp_path / "run/scores" / name)
    shutil.copytree(fused / "out", tmp_path / "out")
    command = ["fuse.py", "--run_folder", "run", "--output_folder", "new"]
    refuses(tmp_path, command, "manifest/dev.csv")
