"""Kaldi's data folder as a corpus: tables, segments, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from acorl_sb.corpora import kaldi_folder, known_corpora, prepare, read_manifest
from acorl_sb.data.audio import read_audio
from acorl_sb.utils.errors import UserError


@pytest.fixture
def data(audio_tree):
    """A data folder of eight speakers, three recordings of 0.1 s each, at 8 kHz."""
    names = [f"{s}{u}" for s in "abcdefgh" for u in range(3)]
    root = audio_tree("data", [f"wav/{name}.wav" for name in names], rate=8000)
    (root / "wav.scp").write_text("".join(f"{n}\twav/{n}.wav\n" for n in names))
    (root / "utt2spk").write_text("".join(f"{n} {n[0]}\n" for n in [*names, "new"]))
    (root / "spk2gender").write_text("a f\nb m\n")
    return root


def test_files_speakers_and_genders(data):
    found = kaldi_folder.collect(data).train
    assert [u.id for u in found][:4] == ["a0", "a1", "a2", "b0"]
    first = found[0]
    assert (first.spk_id, first.gender, found[-1].gender) == ("a", "f", "")
    assert (first.start, first.stop, first.wav) == (0, 1600, str(data / "wav/a0.wav"))


def test_segments_are_the_stretches_that_are_read(data):
    (data / "utt2spk").write_text("x a\ny a\nz b\n")
    (data / "segments").write_text("x a0 0.00 0.0625\ny a0 0.03 -1\nz b1 0 0.3\n")
    with pytest.raises(UserError, match="line 1"):  # 62.5 ms
        kaldi_folder.collect(data)
    (data / "segments").write_text("x a0 0.00 0.1\nz b1 0 0.3\n")
    x, z = kaldi_folder.collect(data).train
    assert (x.start, x.stop, z.stop, z.spk_id) == (0, 1600, 1600, "b")  # cut at the file's end


def test_a_stretch_inside_of_a_recording_is_what_is_read(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 16000)
    soundfile.write(tmp_path / "long.wav", samples, 16000)
    for table, line in (("wav.scp", "r long.wav"), ("utt2spk", "u s"), ("segments", "u r .25 .5")):
        (tmp_path / table).write_text(f"{line}\n")
    (u,) = kaldi_folder.collect(tmp_path).train
    assert (u.start, u.stop, u.duration) == (4000, 8000, 0.25)
    assert read_audio(u.wav, u.start, u.stop) == pytest.approx(samples[4000:8000], abs=1e-4)


def test_it_is_prepared_by_its_name_and_official_splits_are_kept(data, tmp_path):
    assert {"kaldi", "manifest"} <= set(known_corpora())
    made = prepare("kaldi", data, tmp_path / "out", dev_speakers=2, test_speakers=2)
    parts = [read_manifest(path) for path in made[:3]]
    assert [len({u.spk_id for u in part}) for part in parts] == [4, 2, 2]
    for name, speakers in (("train", "abcd"), ("test", "efgh")):
        (tmp_path / "split" / name).mkdir(parents=True)
        for table in ("wav.scp", "utt2spk"):
            lines = (data / table).read_text().splitlines()
            kept = [line.replace("wav/", f"{data}/wav/") for line in lines if line[0] in speakers]
            (tmp_path / "split" / name / table).write_text("\n".join(kept) + "\n")
    found = kaldi_folder.collect(tmp_path / "split")
    assert {u.spk_id for u in found.train} == set("abcd")
    assert {u.spk_id for u in found.test} == set("efgh") and found.dev == []


@pytest.mark.parametrize(
    ("table", "line", "place"),
    [
        ("wav.scp", "x touch MARKER |", "wav.scp line 25"),
        ("wav.scp", "x | touch MARKER", "wav.scp line 25"),
        ("wav.scp", "x -", "wav.scp line 25"),
        ("wav.scp", "x", "wav.scp line 25"),
        ("wav.scp", "a0 wav/a1.wav", "wav.scp line 25"),
        ("wav.scp", "new wav/gone.wav", "gone.wav"),
        ("wav.scp", "new wav.ark:25", "wav.ark:25"),
        ("wav.scp", "x wav/a0.wav", "utt2spk"),
        ("segments", "a0 a0 0 1", "segments line 1"),
        ("segments", "a0 a0 0.3 0.2", "segments line 1"),
        ("segments", "a0 a0 -2 0.1", "segments line 1"),
        ("segments", "a0 a0 0 nan", "segments line 1"),
        ("segments", "a0 nobody 0 0.1", "segments line 1"),
        ("segments", "a0 a0 0", "segments line 1"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_runs(data, tmp_path, table, line, place):
    with open(data / table, "a") as file:
        file.write(line.replace("MARKER", str(tmp_path / "marker")) + "\n")
    with pytest.raises(UserError, match=place):
        kaldi_folder.collect(data)
    assert not (tmp_path / "marker").exists()


def test_a_folder_without_tables_is_refused(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(UserError, match=r"wav\.scp"):
        kaldi_folder.collect(tmp_path)
