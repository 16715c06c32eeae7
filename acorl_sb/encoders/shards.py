"""Embeddings of any number of utterances: shard by shard, so that a killed run can go on.

A shard is a run of utterances in the order given, embedded in batches of its own and written to a
file of its own. What has been decided does not depend on how many processes share the work, nor
on whether one was killed, and memory is that of one shard.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.embedding_files import check_output, write_blocks
from acorl_sb.data.lines import some
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.tar_audio import file_of
from acorl_sb.data.vad import centre_of_pieces, speech_of
from acorl_sb.encoders.batching import batches, free_padding
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import centre, embed_waves, require_length
from acorl_sb.encoders.parts import (
    PLAN,
    agree,
    begun,
    read_shard,
    remove_folder,
    remove_parts,
    require_own,
    shard_path,
    write_shard,
)
from acorl_sb.encoders.weights import encoder_hash
from acorl_sb.utils.distributed import rank_and_world, wait_for_ranks
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.locks import locked

_MOST_THREADS = 8  # each holds a batch


@dataclass(frozen=True)
class Settings:
    """How utterances are embedded.

    Arguments
    ---------
    seconds : the centre of that length; None: whole utterances
    batch_size : most utterances in a batch
    batch_seconds : most audio in a batch, s; a longer utterance is a batch of its own
    shard_size : utterances in a shard: what a killed run loses at most
    workers : threads that read audio and, on the CPU, embed it; None: as many as torch uses there,
        or as there are cores beside a GPU, at most 8
    vad : leave out what is no speech, see ``acorl_sb.data.vad``, before the centre is taken
    """

    seconds: float | None = None
    batch_size: int = 32
    batch_seconds: float = 120.0
    shard_size: int = 4096
    workers: int | None = None
    vad: bool = False


def embed_to_file(
    encoder: SpeakerEncoder,
    utterances: Sequence[Utterance],
    path: Path,
    settings: Settings,
    device: torch.device | str = "cpu",
) -> None:
    """Embed utterances into one file, or go on with what an earlier call of this kind has begun.

    In a distributed run every rank calls this and embeds its share of the shards; rank 0 puts them
    together. Finished shards wait in a folder beside ``path`` until then.

    Arguments
    ---------
    encoder : is put in eval mode
    utterances : sequence of Utterance; the order of the rows
    path : of the embeddings, in any form of ``write_embeddings``
    settings : Settings
    device : torch device

    Raises
    ------
    UserError
        For a ``path`` that is there already or of no such form, a folder in the shards' place that
        no earlier run has made, shards of another encoder, other utterances or settings, and an
        utterance that is too short, unreadable, or whose embedding is not finite; finished shards
        are kept.
    """
    check_output(path)
    for utterance in utterances:
        require_length(utterance)
    encoder = encoder.to(device).eval()
    shards = [
        utterances[start : start + settings.shard_size]
        for start in range(0, len(utterances), settings.shard_size)
    ]
    folder = path.with_name(f"{path.name}.parts")
    rank, world = rank_and_world()
    if rank == 0:
        require_own(folder)  # before a lock is put into it
    with locked(folder) if rank == 0 else contextlib.nullcontext():
        if rank == 0:
            agree(folder, plan(encoder, utterances, settings))
        try:
            wait_for_ranks()
            mine = [
                k for k in range(rank, len(shards), world) if not shard_path(folder, k).is_file()
            ]
            _embed_shards(encoder, {k: shards[k] for k in mine}, folder, settings, device)
            wait_for_ranks()
            if rank == 0:
                ids = [utterance.id for utterance in utterances]
                blocks = (
                    read_shard(shard_path(folder, k), (len(shard), encoder.embedding_dim))
                    for k, shard in enumerate(shards)
                )
                write_blocks(path, ids, encoder.embedding_dim, blocks)
                remove_parts(folder, len(shards))
        finally:
            if rank == 0 and not begun(folder):  # nothing came of it
                (folder / PLAN).unlink(missing_ok=True)
    if rank == 0:
        remove_folder(folder)


def plan(
    encoder: SpeakerEncoder, utterances: Iterable[Utterance], settings: Settings
) -> dict[str, Any]:
    """What decides the embeddings: two runs of the same plan can share shards."""
    digest = hashlib.sha256()
    for u in utterances:
        status = os.stat(file_of(u.wav))
        entry = [u.id, u.wav, u.start, u.stop, status.st_size, status.st_mtime_ns]
        digest.update(json.dumps(entry).encode())
    return {
        "encoder": encoder_hash(encoder),
        "utterances": digest.hexdigest(),
        "seconds": settings.seconds,
        "batch_size": settings.batch_size,
        "batch_seconds": settings.batch_seconds,
        "shard_size": settings.shard_size,
        "vad": settings.vad,
    }


def _embed_shards(
    encoder: SpeakerEncoder,
    shards: dict[int, Sequence[Utterance]],
    folder: Path,
    settings: Settings,
    device: torch.device | str,
) -> None:
    quantum = free_padding(encoder, device)
    rank, _ = rank_and_world()
    total = sum(map(len, shards.values()))
    with (
        _threads(settings.workers, device) as threads,
        tqdm(total=total, desc="embed", unit="utt", disable=True if rank else None) as bar,
    ):
        for number, shard in shards.items():
            z = np.zeros((len(shard), encoder.embedding_dim), np.float32)
            pieces = [_pieces(u, encoder, settings) for u in _listened(shard, settings)]
            parts = batches(
                [sum(stop - start for start, stop in of_one) for of_one in pieces],
                settings.batch_size,
                quantum,
                round(settings.batch_seconds * SAMPLE_RATE),
            )
            for rows, vectors in _embedded(encoder, shard, pieces, parts, threads, device):
                z[rows] = vectors
                bar.update(len(rows))
            bad = np.flatnonzero(~np.isfinite(z).all(axis=1))
            if bad.size:
                names = some(shard[row].id for row in bad)
                raise UserError(f"the encoder gives no finite embedding of {names}; leave them out")
            write_shard(shard_path(folder, number), z)


def _pieces(
    utterance: Utterance, encoder: SpeakerEncoder, settings: Settings
) -> list[tuple[int, int]]:
    """Start and stop, in samples of the file, of what is embedded of an utterance."""
    if settings.vad:
        return centre_of_pieces(speech_of(utterance), settings.seconds)
    return [centre(utterance, settings.seconds, encoder.sample_rate)]


def _listened(shard: Sequence[Utterance], settings: Settings) -> Iterable[Utterance]:
    """The utterances of a shard, under a progress bar where each is searched for speech."""
    quiet = True if rank_and_world()[0] or not settings.vad else None
    return tqdm(shard, desc="find speech", unit="utt", leave=False, disable=quiet)


@contextlib.contextmanager
def _threads(count: int | None, device: torch.device | str) -> Iterator[tuple[Executor, int]]:
    """Threads that read audio ahead and, on the CPU, embed it.

    On the CPU each of them takes batches of its own and computes on one core: the operations of one
    batch are too small to be shared among cores, and a core that waits for the others is lost.
    """
    before = torch.get_num_threads()
    on_cpu = torch.device(device).type == "cpu"
    if on_cpu:
        torch.set_num_threads(1)  # of this thread and those that begin now
    count = count or min(_MOST_THREADS, before if on_cpu else os.cpu_count() or 1)
    try:
        with ThreadPoolExecutor(count) as pool:
            yield pool, count
    finally:
        torch.set_num_threads(before)


def _embedded(
    encoder: SpeakerEncoder,
    utterances: Sequence[Utterance],
    pieces: Sequence[list[tuple[int, int]]],
    parts: Iterable[list[int]],
    threads: tuple[Executor, int],
    device: torch.device | str,
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Rows of a batch and their embeddings, batch after batch, while the next are under way."""

    def read(rows: list[int]) -> list[np.ndarray]:
        return [
            np.concatenate([read_audio(utterances[row].wav, *piece) for piece in pieces[row]])
            for row in rows
        ]

    @torch.inference_mode()
    def embed(waves: list[np.ndarray]) -> np.ndarray:
        return embed_waves(encoder, waves, device).numpy()

    on_cpu = torch.device(device).type == "cpu"
    pool, ahead = threads[0], threads[1] + 1
    waiting: deque[tuple[list[int], Any]] = deque()
    rest = iter(parts)
    try:
        while True:
            for rows in itertools.islice(rest, ahead - len(waiting)):
                task = (lambda part: embed(read(part))) if on_cpu else read
                waiting.append((rows, pool.submit(task, rows)))
            if not waiting:
                return
            rows, found = waiting.popleft()
            yield rows, found.result() if on_cpu else embed(found.result())
    finally:
        for _, found in waiting:
            found.cancel()
