"""Embedding files, in every format, and what is wrong with them."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from acorl_sb.data import embedding_files, embeddings
from acorl_sb.data.embeddings import Embeddings, read_embeddings, write_embeddings
from acorl_sb.utils.errors import UserError

RNG = np.random.default_rng(0)
EXAMPLE = Embeddings(["b/2", "a/1", "ü"], RNG.normal(size=(3, 5)).astype(np.float32))


@pytest.mark.parametrize("name", ["folder", "e.npz", "e.safetensors", "e.scp", "e.ark"])
def test_what_is_written_is_read_back(tmp_path, name):
    path = tmp_path / name
    embeddings.write_embeddings(path, EXAMPLE)
    found = embeddings.read_embeddings(path)
    assert found.ids == EXAMPLE.ids
    assert found.vectors.dtype == np.float32
    assert (found.vectors == EXAMPLE.vectors).all()
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_safetensors_reads_what_is_written_and_the_other_way_round(tmp_path):
    embeddings.write_embeddings(tmp_path / "e.safetensors", EXAMPLE)
    assert (load_file(tmp_path / "e.safetensors")["embeddings"] == EXAMPLE.vectors).all()
    save_file({"u1": np.ones(3, np.float32), "u2": np.zeros(3)}, tmp_path / "o.safetensors")
    found = embeddings.read_embeddings(tmp_path / "o.safetensors")
    assert dict(zip(found.ids, found.vectors[:, 0].tolist(), strict=True)) == {"u1": 1, "u2": 0}
    data = (tmp_path / "e.safetensors").read_bytes()
    others = [b"", data[:-4], data[:20], data.replace(b"ids", b"sdi"), data.replace(b"[\\", b"{\\")]
    for number, content in enumerate(others):
        (path := tmp_path / f"{number}.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=path.name):
            embeddings.read_embeddings(path)


@pytest.mark.parametrize("name", ["folder", "e.npz", "e.safetensors", "e.scp", "e.ark"])
def test_written_in_blocks_it_is_the_same_file(tmp_path, name):
    for part in ("whole", "blocks"):
        (tmp_path / part).mkdir()
    embeddings.write_embeddings(tmp_path / "whole" / name, EXAMPLE)
    blocks = (EXAMPLE.vectors[row : row + 2] for row in (0, 2))
    embedding_files.write_blocks(tmp_path / "blocks" / name, EXAMPLE.ids, 5, blocks)
    whole, made = (read_embeddings(tmp_path / part / name) for part in ("whole", "blocks"))
    assert whole.ids == made.ids and (whole.vectors == made.vectors).all()


def test_blocks_that_are_too_few_write_nothing(tmp_path):
    for name in ("e.npz", "e.safetensors", "e.ark"):
        with pytest.raises(ValueError):
            embedding_files.write_blocks(tmp_path / name, ["a", "b"], 5, [EXAMPLE.vectors[:1]])
    assert list(tmp_path.iterdir()) == []


# Of the very sizes of the example, so that nothing but the write can keep the two apart.
OTHER = Embeddings(["c/4", "d/3", "ö"], RNG.normal(size=(3, 5)).astype(np.float32))


@pytest.mark.parametrize("name", ["folder", "e.npz", "e.safetensors", "e.ark", "e.scp"])
def test_an_interrupted_write_never_pairs_vectors_with_the_ids_of_others(
    tmp_path, monkeypatch, name
):
    """Stopped before any one of its changes to the disk: the old is there or the new, whole."""
    real = {change: getattr(os, change) for change in ("replace", "rmdir", "unlink")}
    seen = []
    for stop in range(20):
        path, done = tmp_path / str(stop) / name, []
        write_embeddings(path, EXAMPLE)

        def change(*args, kind, stop=stop, done=done, **options):
            done.append(kind)
            if len(done) > stop:  # nothing is tidied up, as after a kill
                raise KeyboardInterrupt
            return real[kind](*args, **options)

        with monkeypatch.context() as patch:
            for kind in real:
                patch.setattr(os, kind, functools.partial(change, kind=kind))
            with contextlib.suppress(KeyboardInterrupt):
                write_embeddings(path, OTHER)
        if len(done) <= stop:
            break
        try:
            found = read_embeddings(path)
        except UserError:
            assert name == "e.scp"  # whose table is gone while its archive is replaced
        else:
            seen.append(found.ids)
            whole = {tuple(made.ids): made.vectors for made in (EXAMPLE, OTHER)}
            assert np.array_equal(found.vectors, whole[tuple(found.ids)])
        write_embeddings(path, EXAMPLE)  # goes on as if nothing had been
        found = read_embeddings(path)
        assert found.ids == EXAMPLE.ids and np.array_equal(found.vectors, EXAMPLE.vectors)
    assert EXAMPLE.ids in seen and stop > 0
    assert name != "folder" or OTHER.ids in seen


def test_a_folder_is_there_already_once_it_has_been_written(tmp_path, monkeypatch):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedding_files, "_move_up", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_embeddings(tmp_path / "folder", EXAMPLE)
    embedding_files.check_output(tmp_path / "folder")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_embeddings(tmp_path / "folder", EXAMPLE)
    with pytest.raises(UserError, match=r"ids\.txt"):
        embedding_files.check_output(tmp_path / "folder")


def test_kaldiio_reads_what_is_written_and_the_other_way_round(tmp_path):
    kaldiio = pytest.importorskip("kaldiio")
    embeddings.write_embeddings(tmp_path / "x.scp", EXAMPLE)
    theirs = kaldiio.load_scp(str(tmp_path / "x.scp"))
    assert list(theirs) == EXAMPLE.ids
    assert (theirs["a/1"] == EXAMPLE.vectors[1]).all()
    vectors = dict(zip(EXAMPLE.ids, EXAMPLE.vectors, strict=True))
    for text in (False, True):
        ark, scp = str(tmp_path / f"y{text}.ark"), str(tmp_path / f"y{text}.scp")
        kaldiio.save_ark(ark, vectors, scp=scp, text=text)
        for path in (ark, scp):
            found = embeddings.read_embeddings(path)
            assert found.ids == EXAMPLE.ids
            np.testing.assert_allclose(found.vectors, EXAMPLE.vectors, rtol=1e-5)


def test_an_npz_of_one_vector_per_id(tmp_path):
    np.savez(tmp_path / "e.npz", **{"u1": np.arange(3.0), "u2": np.ones(3)})
    found = embeddings.read_embeddings(tmp_path / "e.npz")
    assert found.ids == ["u1", "u2"]
    assert found.vectors.tolist() == [[0, 1, 2], [1, 1, 1]]


def test_ids_are_looked_up_with_and_without_the_audio_suffix():
    found = Embeddings(["a/1", "a/2"], np.zeros((2, 3), np.float32))
    assert found.index(["a/2.wav", "a/1"]).tolist() == [1, 0]
    named = Embeddings(["a/1.wav", "a/2.flac"], np.zeros((2, 3), np.float32))
    assert named.index(["a/2", "a/1.wav"]).tolist() == [1, 0]
    # No guessing where two utterances differ by the suffix alone.
    twins = Embeddings(["a.wav", "a.flac"], np.zeros((2, 3), np.float32))
    assert twins.index(["a.flac"]).tolist() == [1]
    with pytest.raises(UserError, match="'a'"):
        twins.index(["a"])


def test_unknown_ids_are_named():
    with pytest.raises(UserError, match=r"'x0'.*'x1'.*'x2'"):
        EXAMPLE.index([f"x{k}" for k in range(5)], "set")


def test_damaged_files_are_refused(tmp_path):
    def refused(path, where=None):
        with pytest.raises(UserError, match=where or path.name):
            embeddings.read_embeddings(path)

    refused(tmp_path / "none")
    refused(tmp_path, r"embeddings\.npy")
    (tmp_path / "e.txt").write_text("x")
    refused(tmp_path / "e.txt")
    folder = tmp_path / "folder"
    embeddings.write_embeddings(folder, EXAMPLE)
    (folder / "ids.txt").write_text("a\nb\n")
    refused(folder)
    (folder / "ids.txt").write_text("a\nb\na\n")
    refused(folder, "'a'")
    (folder / "ids.txt").write_text("a\nb\nc\n")
    np.save(folder / "embeddings.npy", np.array([[1.0], [np.nan], [np.inf]]))
    refused(folder, "'b', 'c'")
    np.save(folder / "embeddings.npy", np.zeros(3))
    refused(folder)
    (folder / "embeddings.npy").write_bytes(b"junk")
    refused(folder)
    np.savez(tmp_path / "e.npz", a=np.zeros(3), b=np.zeros(4))
    refused(tmp_path / "e.npz", "'b'")
    np.savez(tmp_path / "o.npz", ids=np.array(["a"], object), embeddings=np.zeros((1, 2)))
    refused(tmp_path / "o.npz")
    pytest.importorskip("kaldiio")
    (tmp_path / "e.scp").write_text("a /nowhere.ark:5\n")
    refused(tmp_path / "e.scp", "nowhere.ark")


def test_kaldi_files_without_kaldiio_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "kaldiio", None)
    (tmp_path / "e.scp").write_text("a x:1\n")
    with pytest.raises(UserError):
        embeddings.read_embeddings(tmp_path / "e.scp")


def test_a_failed_write_leaves_nothing(tmp_path):
    bad = Embeddings(["a", "a"], np.zeros((2, 3), np.float32))
    for name in ("folder", "e.npz", "e.scp"):
        with pytest.raises(UserError):
            embeddings.write_embeddings(tmp_path / name, bad)
    assert list(tmp_path.iterdir()) == []


def test_concatenation_is_of_unit_vectors_in_one_order():
    other = Embeddings(["ü", "b/2", "a/1"], RNG.normal(size=(3, 4)).astype(np.float32))
    joined = embeddings.concatenate([EXAMPLE, other])
    assert joined.ids == EXAMPLE.ids
    assert joined.vectors.shape == (3, 9)
    assert np.linalg.norm(joined.vectors[:, :5], axis=1) == pytest.approx(np.full(3, 0.5**0.5))
    expected = other.vectors[2] / np.linalg.norm(other.vectors[2])
    assert joined.vectors[1, 5:] == pytest.approx(expected * 0.5**0.5)
    with pytest.raises(UserError):
        embeddings.concatenate([EXAMPLE, Embeddings(["ü", "b/2"], other.vectors[:2])])


def test_the_cosine_of_concatenations_is_the_mean_of_the_members():
    ids = [f"u{k}" for k in range(6)]
    parts = [RNG.normal(size=(6, 4)), 100 * RNG.normal(size=(6, 16))]
    members = [Embeddings(ids, part.astype(np.float32)) for part in parts]
    joined = embeddings.concatenate(members).vectors
    assert joined.shape == (6, 20)
    units = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    wanted = np.mean([unit @ unit.T for unit in units], axis=0)
    np.testing.assert_allclose(joined @ joined.T, wanted, atol=1e-6)


def test_kaldi_files_run_nothing(tmp_path):
    """A script's commands are not run, and an archive's pickles are not loaded."""
    pytest.importorskip("kaldiio")
    marker = tmp_path / "marker"
    script = tmp_path / "a.scp"
    for line in (f"a touch {marker}; cat x.ark |", f"a | touch {marker}", "a -", "a"):
        script.write_text(f"{line}\n")
        with pytest.raises(UserError, match=r"a.scp line 1"):
            read_embeddings(script)

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    archive = tmp_path / "a.ark"
    archive.write_bytes(b"a PKL" + pickle.dumps(Evil()))
    script.write_text(f"a {archive}:2\n")
    for path in (archive, script):
        with pytest.raises(UserError, match=path.name):
            read_embeddings(path)
    assert not marker.exists()


@pytest.mark.parametrize("line", ["a nowhere.ark:3", "a a.ark:999999", "a a.ark:1"])
def test_kaldi_scripts_that_lead_nowhere_are_named(tmp_path, line, monkeypatch):
    pytest.importorskip("kaldiio")
    monkeypatch.chdir(tmp_path)
    write_embeddings("a.ark", Embeddings(["a"], np.ones((1, 3), np.float32)))
    Path("a.scp").write_text(f"{line}\n")
    with pytest.raises(UserError, match=r"a.scp"):
        read_embeddings("a.scp")
