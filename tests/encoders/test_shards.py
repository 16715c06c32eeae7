"""Embedding into shards: order, what is kept of a killed run, what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from acorl_sb.data.embeddings import read_embeddings
from acorl_sb.encoders import shards
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.encoders.parts import PLAN
from acorl_sb.encoders.shards import Settings, embed_to_file
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.locks import locked
from tests import tiny

SMALL = Settings(batch_size=2, shard_size=5)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return tiny.hums(tmp_path_factory.mktemp("speech"), speakers=4, each=3, seconds=0.3)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return build_encoder(tiny.encoder_tree(), "ecapa")


def count(monkeypatch, stop_after: int | None = None) -> list[int]:
    """The sizes of the batches that are embedded; the process is stopped after some of them."""
    sizes: list[int] = []
    embed = shards.embed_waves

    def counted(encoder, waves, device):
        if len(sizes) == stop_after:
            raise KeyboardInterrupt
        sizes.append(len(waves))
        return embed(encoder, waves, device)

    monkeypatch.setattr(shards, "embed_waves", counted)
    return sizes


@pytest.mark.parametrize("seconds", [None, 0.2])
def test_rows_are_in_the_order_given_whatever_the_shards(
    tmp_path, speech, encoder, seconds, device
):
    expected = embed_utterances(encoder, speech, seconds, 1, device).numpy()
    for size in (1, 5, 100):
        path = tmp_path / f"{size}.npz"
        settings = Settings(seconds=seconds, batch_size=4, shard_size=size)
        embed_to_file(encoder, speech, path, settings, device)
        found = read_embeddings(path)
        assert found.ids == [u.id for u in speech]
        np.testing.assert_allclose(found.vectors, expected, rtol=1e-5, atol=1e-5)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".npz"] * 3


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, speech, encoder, monkeypatch):
    sizes = count(monkeypatch)
    embed_to_file(encoder, speech, tmp_path / "whole.npz", SMALL)
    in_all = list(sizes)
    sizes.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        count(patch, stop_after=len(in_all) - 1)
        embed_to_file(encoder, speech, tmp_path / "e.npz", SMALL)
    assert not (tmp_path / "e.npz").exists()
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "e.npz.parts").glob("*.npy")}
    assert sorted(kept) == ["000000.npy", "000001.npy"]
    sizes.clear()
    embed_to_file(encoder, speech, tmp_path / "e.npz", SMALL)
    assert sum(sizes) == len(speech) - 10
    one, other = (read_embeddings(tmp_path / name) for name in ("whole.npz", "e.npz"))
    assert one.ids == other.ids and np.array_equal(one.vectors, other.vectors)
    assert not (tmp_path / "e.npz.parts").exists()


def test_shards_of_another_run_are_not_mixed_in(tmp_path, speech, encoder, monkeypatch):
    path = tmp_path / "e.npz"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        count(patch, stop_after=4)
        embed_to_file(encoder, speech, path, SMALL)
    torch.manual_seed(1)
    stranger = build_encoder(tiny.encoder_tree(), "ecapa")
    torch.manual_seed(0)  # the same weights
    other_bands = build_encoder(tiny.encoder_tree(f_min=40.0), "ecapa")
    others = [dataclasses.replace(speech[0], id="new"), *speech[1:]]
    for arguments, named in (
        ((stranger, speech, path, SMALL), "encoder"),
        ((other_bands, speech, path, SMALL), "encoder"),
        ((encoder, others, path, SMALL), "utterances"),
        ((encoder, speech, path, dataclasses.replace(SMALL, seconds=0.2)), "seconds"),
    ):
        with pytest.raises(UserError, match=named):
            embed_to_file(*arguments)
    assert len(list((tmp_path / "e.npz.parts").glob("*.npy"))) == 1
    embed_to_file(encoder, speech, path, SMALL)
    with pytest.raises(UserError, match=r"e\.npz"):
        embed_to_file(encoder, speech, path, SMALL)


@pytest.mark.parametrize("plan", [b"[1, 2]", b'{"encoder": ', b"\xff\x00"])
def test_a_damaged_plan_is_said_and_the_shards_are_kept(
    tmp_path, speech, encoder, monkeypatch, plan
):
    path, folder = tmp_path / "e.npz", tmp_path / "e.npz.parts"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        count(patch, stop_after=4)
        embed_to_file(encoder, speech, path, SMALL)
    whole = (folder / PLAN).read_bytes()
    (folder / PLAN).write_bytes(plan)
    with pytest.raises(UserError, match=PLAN):
        embed_to_file(encoder, speech, path, SMALL)
    (folder / PLAN).write_bytes(whole)
    (folder / "000000.npy").write_bytes((folder / "000000.npy").read_bytes()[:-4])
    with pytest.raises(UserError, match=r"000000\.npy"):
        embed_to_file(encoder, speech, path, SMALL)
    assert not path.exists() and len(list(folder.glob("*.npy"))) > 1
    (folder / "000000.npy").unlink()
    embed_to_file(encoder, speech, path, SMALL)
    assert path.exists() and not folder.exists()


def test_a_run_is_not_disturbed_by_a_second_one(tmp_path, speech, encoder):
    with locked(tmp_path / "e.npz.parts") as folder:
        (folder / PLAN).write_text("{}")
        with pytest.raises(UserError, match=r"e\.npz\.parts"):
            embed_to_file(encoder, speech, tmp_path / "e.npz", SMALL)
        assert (folder / PLAN).exists()


def test_where_nothing_came_of_it_nothing_is_left(tmp_path, speech, encoder):
    short = dataclasses.replace(speech[2], stop=100)
    beyond = dataclasses.replace(speech[2], stop=10**6)
    broken = build_encoder(tiny.encoder_tree(), "ecapa")
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    for arguments in ((encoder, [short]), (encoder, [beyond]), (broken, speech[2:3])):
        with pytest.raises(UserError, match="s0"):
            embed_to_file(*arguments, tmp_path / "e.npz", SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "files",
    [
        {"precious.txt": b"x"},
        {"000000.npy": b"x"},
        {"plan.json": b'{"mine": 1}'},
        {"plan.json": b'{"mine": 1}', "000000.npy": b"x"},
        {".hidden": b"x"},
    ],
)
def test_a_folder_of_somebody_else_stays_as_it_was(tmp_path, speech, encoder, files):
    folder = tmp_path / "e.npz.parts"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=r"e\.npz\.parts"):
        embed_to_file(encoder, speech, tmp_path / "e.npz", SMALL)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files
    assert not (tmp_path / "e.npz").exists()


def test_shards_without_a_plan_are_not_taken_as_finished(tmp_path, speech, encoder, monkeypatch):
    path, folder = tmp_path / "e.npz", tmp_path / "e.npz.parts"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        count(patch, stop_after=4)
        embed_to_file(encoder, speech, path, SMALL)
    (folder / PLAN).unlink()
    shards_before = sorted(folder.glob("*.npy"))
    with pytest.raises(UserError, match=r"e\.npz\.parts"):
        embed_to_file(encoder, speech, path, SMALL)
    assert sorted(folder.glob("*.npy")) == shards_before and not path.exists()


def test_only_its_own_files_are_removed_from_the_folder_of_the_shards(
    tmp_path, speech, encoder, monkeypatch
):
    path, folder = tmp_path / "e.npz", tmp_path / "e.npz.parts"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        count(patch, stop_after=4)
        embed_to_file(encoder, speech, path, SMALL)
    (folder / "notes.txt").write_text("mine")
    (folder / ".000001.0123abcd.npy").write_text("half")
    embed_to_file(encoder, speech, path, SMALL)
    names = {p.name for p in folder.iterdir()} - {".lock"}
    assert path.exists() and names == {"notes.txt"}
