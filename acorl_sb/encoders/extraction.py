"""Embeddings of whole utterances or their centres, the same whatever the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tqdm import tqdm

from acorl_sb.data.audio import SAMPLE_RATE, SHORTEST, read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.waves import centre_of
from acorl_sb.encoders.batching import batches, free_padding, together_padded
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.own_ends import centred_stft, embed_lengths
from acorl_sb.utils.distributed import rank_and_world, sum_over_ranks
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.precision import full_precision
from acorl_sb.utils.reading import shown


@torch.no_grad()
@full_precision()
def embed_utterances(
    encoder: SpeakerEncoder,
    utterances: Sequence[Utterance],
    seconds: float | None = None,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    progress: str | None = None,
    shared: bool = False,
    hear: Callable[[np.ndarray, Utterance], np.ndarray] | None = None,
) -> torch.Tensor:
    """Embed every utterance.

    Utterances of the same number of frames share a batch (of the same length, where the encoder
    takes waves), so that no embedding depends on its neighbours; see ``batching``.

    Arguments
    ---------
    encoder : SpeakerEncoder, is put in eval mode
    utterances : sequence of Utterance
    seconds : float or None
        Centre crop; a shorter utterance, and every utterance when None, is taken whole.
    batch_size : int
    device : torch device
    progress : str or None
        Title of a progress bar; None shows none.
    shared : bool
        Share the work among the ranks of a distributed run: all must call this, all get the
        whole result.
    hear : callable(wave, utterance) -> wave, or None
        What becomes of each wave (T,) on its way to the encoder, such as noise; waves of one
        length must stay of one length.

    Returns
    -------
    (N, D) float32 on the CPU, in the order of ``utterances``

    Raises
    ------
    UserError
        Before anything is embedded, for an utterance shorter than ``SHORTEST`` seconds; and for
        what ``read_audio`` refuses.
    """
    for utterance in utterances:
        require_length(utterance)
    encoder = encoder.to(device).eval()
    spans = [centre(u, seconds, encoder.sample_rate) for u in utterances]
    z = torch.zeros(len(spans), encoder.embedding_dim)
    rank, world = rank_and_world() if shared else (0, 1)
    quantum = 1 if hear else free_padding(encoder, device)
    parts = batches([stop - start for start, stop in spans], batch_size, quantum)

    def read(row: int) -> np.ndarray:
        wave = read_audio(utterances[row].wav, *spans[row], encoder.sample_rate)
        return wave if hear is None else hear(wave, utterances[row])

    # None: silent where no terminal watches
    quiet = True if progress is None or rank > 0 else None
    with tqdm(total=len(spans), desc=progress, disable=quiet, unit="utt") as bar:
        for number, rows in enumerate(parts):
            if number % world == rank:
                z[rows] = embed_waves(encoder, [read(row) for row in rows], device)
            bar.update(len(rows))
    # Every row is one rank's and zero elsewhere, so that the sum is that row to the bit.
    return sum_over_ranks(z.to(device)).cpu() if world > 1 else z


@full_precision()
def embed_waves(
    encoder: SpeakerEncoder, waves: Sequence[np.ndarray], device: torch.device | str
) -> torch.Tensor:
    """(B, D) float32 on the CPU of waves (T_i,) that ``batches`` has put together."""
    padded = together_padded([torch.from_numpy(wave) for wave in waves])
    return embed_padded(encoder, padded.to(device), [len(w) for w in waves]).float().cpu()


def embed_padded(
    encoder: SpeakerEncoder, padded: torch.Tensor, lengths: Sequence[int]
) -> torch.Tensor:
    """(B, D) of waves (B, T) that ``batches`` has put together, each of so many samples."""
    stft = centred_stft(encoder)
    if stft is not None and len({length // stft.hop_length for length in lengths}) > 1:
        return embed_lengths(encoder, padded, lengths)
    return encoder(padded)


def require_length(utterance: Utterance) -> None:
    """``UserError`` for an utterance shorter than ``SHORTEST`` seconds."""
    samples = utterance.stop - utterance.start
    if samples < SHORTEST * SAMPLE_RATE:
        raise UserError(
            f"utterance {utterance.id}: {samples} samples of {shown(utterance.wav)} are too few "
            f"to tell a speaker by; {SHORTEST} s are the least, so take it out of the manifest"
        )


def centre(utterance: Utterance, seconds: float | None, sample_rate: int) -> tuple[int, int]:
    """Start and stop, in samples of the file, of the utterance's centre of ``seconds``."""
    return centre_of(utterance.start, utterance.stop, seconds, sample_rate)
