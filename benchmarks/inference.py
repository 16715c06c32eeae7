"""How fast embeddings are made in bulk, against loops over SpeechBrain's own, in one run.

    python benchmarks/inference.py [--json FILE] [--data FOLDER] [--files N] [--device cuda]

Recordings of mixed length: speechocean762 where it lies at ``../shared/data``, or any folder, else
noise of 1.5 to 12 s. Encoders are an ECAPA-TDNN of the recipe's size (0.5 M parameters) and one of
the published size (15 M), with random weights; all ways read audio by the same function. Seconds
are true ones, torch's threads as many as it takes by itself: the machine must be idle otherwise.
With ``OMP_NUM_THREADS=1`` they are those that the process gets, which others disturb least.
The loop that takes an utterance at a time is timed on every eighth. About five minutes on two
cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from targets import Rows

from acorl_sb.corpora.audio_inputs import read_inputs
from acorl_sb.data.audio import SAMPLE_RATE, read_audio
from acorl_sb.data.embeddings import read_embeddings
from acorl_sb.data.manifest import Utterance
from acorl_sb.encoders.batching import batches, free_padding, together_padded
from acorl_sb.encoders.extraction import embed_padded
from acorl_sb.encoders.member_folder import build_encoder, load_member, save_member
from acorl_sb.encoders.shards import Settings, embed_to_file
from acorl_sb.encoders.trusted import read_yaml
from acorl_sb.utils.memory import keep_freed_memory
from acorl_sb.utils.packaged import find_yaml

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "speechocean762" / "WAVE"
PUBLISHED = {"channels": 1024, "n_mels": 80, "embedding_dim": 192}
# The kernel's own figure: what getrusage gives a child begins with the parent's memory.
EMBED = """
import sys
from acorl_sb.cli.embed import main
main(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
TINY = {"channels": 8, "n_mels": 24, "embedding_dim": 16}


def member(folder: Path, **sizes: int) -> Path:
    """A member's folder with random weights; ``sizes`` in place of those of the recipe."""
    from speechbrain.lobes.models.ECAPA_TDNN import Classifier

    tree = read_yaml(find_yaml("encoders/ecapa.yaml"))
    tree.update(sizes)
    torch.manual_seed(0)
    encoder = build_encoder(tree, "ecapa").eval()
    head = Classifier(input_size=encoder.embedding_dim, out_neurons=2)
    save_member(folder, encoder, tree, head, ["a", "b"], {})
    return folder


def noise_files(root: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    root.mkdir()
    for number in range(count):
        wave = 0.1 * rng.standard_normal(int(16000 * np.exp(rng.uniform(np.log(1.5), np.log(12)))))
        soundfile.write(root / f"{number}.wav", wave, 16000)
    return root


def clock(device: str) -> float:
    """True seconds, once a GPU has done what it was given; on one thread, this process's own."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def rate(work: Callable[[], np.ndarray], device: str) -> tuple[float, np.ndarray]:
    """Utterances per second, and the embeddings (M, D)."""
    started = clock(device)
    made = work()
    return len(made) / (clock(device) - started), made


def one_by_one(classifier, utterances: Sequence[Utterance]) -> np.ndarray:
    """The loop of SpeechBrain's documentation."""
    made = []
    for utterance in utterances:
        wave = torch.from_numpy(read_audio(utterance.wav)).unsqueeze(0)
        made.append(classifier.encode_batch(wave)[:, 0].cpu())
    return torch.cat(made).numpy()


def padded(classifier, utterances: Sequence[Utterance], size: int = 32) -> np.ndarray:
    """The longest last, 32 at a time, padded, relative lengths told."""
    order = np.argsort([u.stop for u in utterances], kind="stable")
    made = np.zeros((len(order), 0), np.float32)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        waves = [torch.from_numpy(read_audio(utterances[row].wav)) for row in rows]
        lengths = torch.tensor([len(wave) for wave in waves])
        batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        z = classifier.encode_batch(batch, lengths / lengths.max())[:, 0].cpu().numpy()
        made = made if made.size else np.zeros((len(order), z.shape[1]), np.float32)
        made[rows] = z
    return made


def in_bulk(encoder, utterances: Sequence[Utterance], path: Path, device: str) -> np.ndarray:
    """What ``acorl embed`` does once it has looked through its inputs and loaded its encoder."""
    embed_to_file(encoder, utterances, path, Settings(), device)
    return read_embeddings(path).vectors


def ready(folder: Path, utterances: Sequence[Utterance], device: str) -> Callable[[], np.ndarray]:
    """The encoder alone on the batches that ``in_bulk`` makes, read and on the device before."""
    encoder = load_member(folder).to(device).eval()
    settings = Settings()
    parts = list(
        batches(
            [u.stop for u in utterances],
            settings.batch_size,
            free_padding(encoder, device),
            round(settings.batch_seconds * SAMPLE_RATE),
        )
    )
    made = []
    for rows in parts:
        waves = [torch.from_numpy(read_audio(utterances[row].wav)) for row in rows]
        made.append((together_padded(waves).to(device), [len(wave) for wave in waves]))
    return lambda: torch.cat([embed_padded(encoder, *batch) for batch in made]).cpu().numpy()


def speed(
    rows: Rows, name: str, folder: Path, utterances: Sequence[Utterance], device: str,
) -> None:  # fmt: skip
    """Rows of one encoder: how fast against either loop, and how far apart the embeddings are."""
    from speechbrain.inference.speaker import EncoderClassifier

    with torch.inference_mode(), tempfile.TemporaryDirectory() as work:
        options = {"source": str(folder), "savedir": f"{work}/sb", "run_opts": {"device": device}}
        classifier, encoder = EncoderClassifier.from_hparams(**options), load_member(folder)
        sample = utterances[::8]
        before, alone = rate(lambda: one_by_one(classifier, sample), device)
        ours, made = rate(lambda: in_bulk(encoder, utterances, Path(work, "e.npz"), device), device)
        after, _ = rate(lambda: one_by_one(classifier, sample), device)
        loop, together = rate(lambda: padded(classifier, utterances), device)
        again, _ = rate(lambda: in_bulk(encoder, utterances, Path(work, "f.npz"), device), device)
        alone_on = ready(folder, utterances, device)
        bare = max(rate(alone_on, device)[0] for _ in range(2))
        loop = max(loop, rate(lambda: padded(classifier, utterances), device)[0])
        ours = max(ours, again)
    print(
        f"{name}: utterances/s: {ours:.1f} embed, {before:.1f} and {after:.1f} one by one,", end=""
    )
    print(f" {loop:.1f} padded, {bare:.1f} by the encoder alone on ready batches")
    apart = np.abs(together[::8] - alone).max()
    print(f"  encode_batch, padded and alone, are up to {apart:.2g} apart")
    rows.at_least(
        f"{name}: embed / encode_batch one by one, utterances per second",
        ours / max(before, after),
        1.5,
    )
    rows.at_least(
        f"{name}: embed / encode_batch sorted and padded, utterances per second",
        ours / loop,
        1.5,
    )
    rows.at_most(f"{name}: embed / the encoder alone on ready batches, time", bare / ours, 1.1)
    worst = float(np.abs(made[::8] - alone).max())
    rows.at_most(f"{name}: largest difference from encode_batch one by one", worst, 1e-5)


def speeds(rows: Rows, work: Path, arguments: argparse.Namespace) -> None:
    """Rows of both encoders."""
    keep_freed_memory()  # as acorl embed does; the loops gain by it as well
    data = arguments.data or (REAL if REAL.is_dir() else None)
    data = data or noise_files(work / "noise", min(arguments.files, 1000))
    utterances = read_inputs([str(data)])
    utterances = utterances[:: max(1, len(utterances) // arguments.files)]
    seconds = sum(u.duration for u in utterances)
    print(f"{len(utterances)} recordings, {seconds / len(utterances):.2f} s on average,", end="")
    print(f" {torch.get_num_threads()} threads")
    small, large = member(work / "small"), member(work / "large", **PUBLISHED)
    speed(rows, "recipe's", small, utterances, arguments.device)
    part = utterances[:: max(1, len(utterances) // 240)]
    speed(rows, "published", large, part, arguments.device)


def peak(folder: Path, inputs: Path, count: int, work: Path) -> float:
    """Peak memory (MB) of the command on the first ``count`` of some files, in a fresh process."""
    listed = work / f"{count}.txt"
    listed.write_text("".join(f"{inputs}/{k}.wav\n" for k in range(count)))
    call = [sys.executable, "-c", EMBED, listed, "--encoder", folder]
    call += ["--output", work / f"{count}.npz", "--device", "cpu", "--shard_size", "500"]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        list(map(str, call)), cwd=root, stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout.split()[-2]) / 1024


def memory(rows: Rows, work: Path, count: int) -> None:
    """Peak memory on ten times the files, which are one file with many names."""
    folder = member(work / "tiny", **TINY)
    inputs = work / "links"
    inputs.mkdir()
    soundfile.write(work / "short.wav", 0.1 * np.random.default_rng(0).standard_normal(4000), 16000)
    for number in range(10 * count):
        os.link(work / "short.wav", inputs / f"{number}.wav")
    few, many = (peak(folder, inputs, n, work) for n in (count, 10 * count))
    print(f"memory: {few:.0f} MB for {count} files, {many:.0f} MB for {10 * count}")
    rows.at_most(f"embed: peak memory of {10 * count} files / of {count}", many / few, 1.05)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", help="also write the rows to this file")
    parser.add_argument("--data", help="folder of recordings")
    parser.add_argument("--files", type=int, default=3760)
    parser.add_argument("--links", type=int, default=1000, help="files of the first memory figure")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=("speed", "memory"), help="leave out the other")
    arguments = parser.parse_args()
    rows = Rows()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if arguments.only != "memory":
            speeds(rows, work, arguments)
        if arguments.only != "speed":
            memory(rows, work, arguments.links)
    return rows.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
