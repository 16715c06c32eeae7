"""Embeddings of whole utterances or their centres, the same whatever the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tqdm import tqdm

from acorl_sb.data.audio import SAMPLE_RATE, SHORTEST, read_audio
from acorl_sb.data.manifest import Utterance
from acorl_sb.data.waves import centre_of
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.utils.distributed import rank_and_world, sum_over_ranks
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import shown


@torch.no_grad()
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

    Utterances of the same length share a batch, so that nothing is padded and no embedding
    depends on its neighbours.

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
    for u in utterances:
        if u.stop - u.start < SHORTEST * SAMPLE_RATE:
            raise UserError(
                f"utterance {u.id}: {u.stop - u.start} samples of {shown(u.wav)} are too few to "
                f"tell a speaker by; {SHORTEST} s are the least, so take it out of the manifest"
            )
    encoder = encoder.to(device).eval()
    spans = [centre(u, seconds, encoder.sample_rate) for u in utterances]
    order = sorted(range(len(spans)), key=lambda i: spans[i][1] - spans[i][0])
    z = torch.zeros(len(spans), encoder.embedding_dim)
    rank, world = rank_and_world() if shared else (0, 1)
    # None: silent where no terminal watches
    quiet = True if progress is None or rank > 0 else None
    with tqdm(total=len(spans), desc=progress, disable=quiet, unit="utt") as bar:
        for number, rows in enumerate(_equal_lengths(order, spans, batch_size)):
            bar.update(len(rows))
            if number % world != rank:
                continue
            waves = [read_audio(utterances[i].wav, *spans[i], encoder.sample_rate) for i in rows]
            if hear is not None:
                waves = [hear(wave, utterances[i]) for wave, i in zip(waves, rows, strict=True)]
            z[rows] = encoder(torch.from_numpy(np.stack(waves)).to(device)).float().cpu()
    # Every row is one rank's and zero elsewhere, so that the sum is that row to the bit.
    return sum_over_ranks(z.to(device)).cpu() if world > 1 else z


def centre(utterance: Utterance, seconds: float | None, sample_rate: int) -> tuple[int, int]:
    """Start and stop, in samples of the file, of the utterance's centre of ``seconds``."""
    return centre_of(utterance.start, utterance.stop, seconds, sample_rate)


def _equal_lengths(order, spans, batch_size):
    batch: list[int] = []
    for i in order:
        length = spans[i][1] - spans[i][0]
        if batch and (
            len(batch) == batch_size or length != spans[batch[0]][1] - spans[batch[0]][0]
        ):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
