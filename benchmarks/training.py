"""Training's speed beside SpeechBrain's own VoxCeleb recipe, and what SIGKILL does to it.

    python benchmarks/training.py [--rounds N] [--kills N] [--json FILE] [...]

Throughput: the same ECAPA-TDNN, batch, crops, files and augmentation (the default recipe's), the
loader on. The loop
that ours is measured against is written here after SpeechBrain's recipe
(recipes/VoxCeleb/SpeakerRec/train_speaker_embeddings.py) from the same parts: a
DynamicItemDataset that reads random chunks, padded batches, AAM-softmax, Adam, a cyclic rate. The
two take turns, so that whatever else the machine does meets both, and the figures are medians.

Kills: a training of two members in a process of its own is killed at random moments and started
again, until it has been killed so often; its weights must be those of an undisturbed one.
"""

from __future__ import annotations

import argparse
import csv
import functools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.time_domain import DropChunk
from speechbrain.dataio import audio_io
from speechbrain.lobes.models.ECAPA_TDNN import Classifier
from speechbrain.nnet.losses import AdditiveAngularMargin, LogSoftmaxWrapper
from speechbrain.nnet.schedulers import CyclicLRScheduler, WarmCoolDecayLRSchedule
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.run_opts import RunOptions
from targets import Rows
from torch.utils.data import DataLoader

from acorl_sb.data.manifest import Utterance
from acorl_sb.encoders.member_folder import build_encoder
from acorl_sb.training.brain import SpeakerBrain
from acorl_sb.training.dataset import CropDataset, batch_of
from acorl_sb.training.graphs import replay_network
from acorl_sb.training.heads import AAMHead
from acorl_sb.training.loading import AugmentedBatches
from acorl_sb.training.members import train_members
from acorl_sb.training.samplers import StepSampler
from acorl_sb.training.speech import SpeechSettings, TrainingSet
from acorl_sb.utils.memory import keep_freed_memory

RECIPE = Path(__file__).resolve().parents[1] / "hparams" / "acorl_ecapa.yaml"
ENCODERS = Path(__file__).resolve().parents[1] / "hparams" / "encoders"
SPEAKERS = 20
RATE = 16000


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each loop; 0: none")
    parser.add_argument("--steps", type=int, default=8, help="steps of an epoch")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a crop")
    parser.add_argument("--channels", type=int, default=128, help="of the ECAPA-TDNN")
    parser.add_argument("--workers", type=int, default=1, help="loader processes")
    parser.add_argument(
        "--augment", action=argparse.BooleanOptionalAction, default=True, help="both loops augment"
    )
    parser.add_argument("--cache_mb", type=float, default=1500, help="of ours, as the recipe's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--cuda_graphs", action="store_true", help="ours on a GPU")
    parser.add_argument("--kills", type=int, default=10, help="0: none")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of killing")
    parser.add_argument("--json", help="also write the rows here")
    parser.add_argument("--victim", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.victim:
        train_victim(Path(args.victim))
        return 0
    keep_freed_memory()
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        if args.rounds:
            ours, theirs = throughput(Path(folder), args)
            print(f"utterances per second: ours {ours:.1f}, SpeechBrain's recipe {theirs:.1f}")
            print(f"our step: {args.batch / ours:.3f} s for {args.batch} crops of {args.seconds} s")
            rows.at_least("training throughput / SpeechBrain's recipe", ours / theirs, 1.5)
        if args.kills:
            kills, differing = kill_and_compare(Path(folder), args.kills, args.seed)
            rows.at_least("SIGKILLs in training, each resumed", kills, args.kills)
            rows.at_most("tensors that differ from the undisturbed run's", differing, 0)
    return rows.finish(args.json)


# --- Throughput ------------------------------------------------------------------------------


def throughput(folder: Path, args: argparse.Namespace) -> tuple[float, float]:
    """Utterances per second of our loop and of SpeechBrain's recipe: medians over rounds."""
    utterances = make_files(folder / "speech", args.steps * args.batch, args.seconds + 1.0)
    loops = {
        "ours": our_loop(folder, utterances, args),
        "theirs": their_loop(folder, utterances, args),
    }
    taken: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(args.rounds + 1):
        for name in sorted(loops, reverse=number % 2 == 1):
            started = true_clock(args.device)
            loops[name]()
            if number:  # the first round warms up
                taken[name].append(true_clock(args.device) - started)
    count = args.steps * args.batch
    return tuple(count / float(np.median(taken[name])) for name in ("ours", "theirs"))


def true_clock(device: str) -> float:
    """True seconds, once a GPU has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def make_files(folder: Path, count: int, seconds: float) -> list[Utterance]:
    """WAV files of noise; what is in them costs nothing."""
    generator = np.random.default_rng(0)
    n = int(seconds * RATE)
    folder.mkdir()
    made = []
    for i in range(count):
        path = folder / f"{i}.wav"
        soundfile.write(path, 0.1 * generator.standard_normal(n), RATE, subtype="PCM_16")
        made.append(Utterance(f"u{i}", n / RATE, str(path), 0, n, f"s{i % SPEAKERS}"))
    return made


def make_encoder(channels: int, **keys):
    torch.manual_seed(0)
    with open(ENCODERS / "ecapa.yaml", encoding="utf-8") as file:
        text = resolve_references(file, {"channels": channels, **keys}).getvalue()
    return build_encoder(YAML().load(text), "ecapa.yaml")


def make_augmenter() -> Augmenter:
    """The default recipe's augmentation, no noise folder given."""
    text = RECIPE.read_text(encoding="utf-8").split("\naugment: ")[1].split("\n# ---")[0]
    return load_hyperpyyaml("augment: " + text.replace("!ref <noise_folder>", "null"))["augment"]


def run_options(args: argparse.Namespace) -> RunOptions:
    given = {"device": args.device, "precision": args.precision}
    return RunOptions(**given, overridden_args=set(given))


def our_loop(folder: Path, utterances: list[Utterance], args: argparse.Namespace):
    """An epoch of training as ``train.py`` does it."""
    encoder = make_encoder(args.channels)
    sampler = StepSampler(len(utterances), args.batch, args.steps, seed=0)
    labels = [int(u.spk_id[1:]) for u in utterances]
    dataset = CropDataset(utterances, labels, args.seconds, seed=0, cache_mb=args.cache_mb)
    augment = make_augmenter() if args.augment else None
    early = augment is not None and args.device != "cpu"  # as train_member has it
    loader = DataLoader(
        AugmentedBatches(dataset, augment, sampler, 0) if early else dataset,
        batch_sampler=sampler,
        collate_fn=batch_of,
        num_workers=args.workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=args.workers > 0,
    )
    hparams = {
        "name": "ours",
        "seed": 0,
        "total_steps": 10**6,
        "lr_schedule": WarmCoolDecayLRSchedule(0.001, 100, 100, 10**6),
        "augment": augment,
        "augmented": early,
        "dev_error": lambda encoder: 0.0,
        "sampler": sampler,
        "log_file": folder / "log.jsonl",
    }
    modules = {"encoder": encoder, "head": AAMHead(encoder.embedding_dim, SPEAKERS)}
    adam = functools.partial(torch.optim.Adam, lr=0.001, fused=True)  # as the default recipe's
    brain = SpeakerBrain(modules, adam, hparams, run_options(args))
    if args.cuda_graphs and brain.device != "cpu":
        waves = 0.1 * torch.randn(args.batch, int(args.seconds * RATE), device=brain.device)
        replay_network(brain.modules["encoder"], waves)
    counter = EpochCounter(10**6)

    def epoch():
        counter.limit = counter.current + 1
        brain.fit(counter, loader, progressbar=False)

    return epoch


class RecipeBrain(sb.Brain):
    """What SpeechBrain's recipe does with a batch."""

    def compute_forward(self, batch, stage):
        batch = batch.to(self.device)
        waves, lengths = batch.sig
        if self.hparams.wav_augment is not None:
            # In full precision: its resampler, on the CPU beside a GPU, fails on bf16.
            with torch.autocast(self.device_type, enabled=False):
                waves, lengths = self.hparams.wav_augment(waves, lengths)
        features = self.modules.compute_features(waves)
        features = self.modules.mean_var_norm(features, lengths)
        z = self.modules.embedding_model(features)
        return self.modules.classifier(z), lengths

    def compute_objectives(self, predictions, batch, stage):
        outputs, lengths = predictions
        labels, _ = batch.spk_id_encoded
        loss = self.hparams.compute_cost(outputs, labels, lengths)
        self.hparams.lr_annealing.on_batch_end(self.optimizer)
        return loss


def their_loop(folder: Path, utterances: list[Utterance], args: argparse.Namespace):
    """An epoch of training as SpeechBrain's recipe does it."""
    return their_brain(folder, utterances, args)[0]


def their_brain(folder: Path, utterances: list[Utterance], args: argparse.Namespace, **front_end):
    """An epoch of training as SpeechBrain's recipe does it, and the Brain that is trained."""
    speakers = len({u.spk_id for u in utterances})
    manifest = folder / "train.csv"
    with open(manifest, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "duration", "wav", "start", "stop", "spk_id"])
        writer.writerows([u.id, u.duration, u.wav, u.start, u.stop, u.spk_id] for u in utterances)
    data = sb.dataio.dataset.DynamicItemDataset.from_csv(manifest)
    labels = sb.dataio.encoder.CategoricalEncoder()
    labels.expect_len(speakers)
    length = int(args.seconds * RATE)

    @sb.utils.data_pipeline.takes("wav", "duration")
    @sb.utils.data_pipeline.provides("sig")
    def audio(wav, duration):
        start = random.randint(0, max(0, int(float(duration) * RATE) - length))
        wave, _ = audio_io.load(wav, num_frames=length, frame_offset=start)
        return wave.transpose(0, 1).squeeze(1)

    @sb.utils.data_pipeline.takes("spk_id")
    @sb.utils.data_pipeline.provides("spk_id_encoded")
    def label(spk_id):
        return labels.encode_sequence_torch([spk_id])

    data.add_dynamic_item(audio)
    data.add_dynamic_item(label)
    labels.update_from_didataset(data, output_key="spk_id")
    data.set_output_keys(["id", "sig", "spk_id_encoded"])
    encoder = make_encoder(args.channels, **front_end)
    modules = {
        "compute_features": encoder.compute_features,
        "mean_var_norm": encoder.mean_var_norm,
        # Built apart: our SpeakerEncoder tunes the network that it wraps.
        "embedding_model": their_network(args.channels, front_end.get("n_mels", 40)),
        "classifier": Classifier(input_size=encoder.embedding_dim, out_neurons=speakers),
    }
    hparams = {
        "wav_augment": make_augmenter() if args.augment else None,
        "compute_cost": LogSoftmaxWrapper(AdditiveAngularMargin(margin=0.2, scale=30)),
        "lr_annealing": CyclicLRScheduler(base_lr=1e-8, max_lr=0.001, step_size=65000),
    }
    adam = functools.partial(torch.optim.Adam, lr=0.001)
    brain = RecipeBrain(modules, adam, hparams, run_options(args))
    options = {"batch_size": args.batch, "shuffle": True, "num_workers": args.workers}
    # As long epochs have it: the processes start once, and what is read lies ready for a GPU.
    options |= {"persistent_workers": args.workers > 0, "pin_memory": torch.cuda.is_available()}
    loader = brain.make_dataloader(data, sb.Stage.TRAIN, **options)
    counter = EpochCounter(10**6)

    def epoch():
        counter.limit = counter.current + 1
        brain.fit(counter, loader, progressbar=False)

    return epoch, brain


def their_network(channels: int, n_mels: int = 40):
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    torch.manual_seed(0)
    return ECAPA_TDNN(
        n_mels,
        channels=[channels] * 4 + [3 * channels],
        attention_channels=64,
        se_channels=64,
        lin_neurons=128,
    )


# --- Kills -----------------------------------------------------------------------------------

OBJECTIVE = """
!name:acorl_sb.complementarity.Adversarial
    adversary_steps: 2
    hidden: 16
"""


def kill_and_compare(folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """How often training was killed, and how many tensors then differ from the undisturbed run's.

    A training that ends before it has been killed often enough is compared and begun anew.
    """
    speech = folder / "victims"
    speech.mkdir()
    started = time.perf_counter()
    run_victim(speech / "whole")
    whole = weights(speech / "whole")
    # Of ten lives each shorter than a tenth of the training, the last begins before its end.
    longest = (time.perf_counter() - started) / max(kills, 2)
    moments = random.Random(seed)
    done, differing, attempt = 0, 0, 0
    while done < kills:
        killed = run_victim(speech / f"cut{attempt}", moments.uniform(0, longest))
        done += killed
        print(f"kill {done}" if killed else "ended before the kill", flush=True)
        if not killed:
            differing += differences(whole, weights(speech / f"cut{attempt}"))
            attempt += 1
    run_victim(speech / f"cut{attempt}")
    return done, differing + differences(whole, weights(speech / f"cut{attempt}"))


def run_victim(folder: Path, seconds: float | None = None) -> bool:
    """Train in a process of its own; SIGKILL it after so many seconds of training.

    Returns whether it was killed rather than done.
    """
    with subprocess.Popen(
        [sys.executable, __file__, "--victim", str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    ) as process:
        process.stdout.readline()  # it has begun
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()  # SIGKILL
            return process.wait() != 0
    if code:
        raise RuntimeError(f"the training ended with exit code {code}")
    return False


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of both members' encoders and classifiers."""
    files = [folder / m / f"{f}.ckpt" for m in MEMBERS for f in ("embedding_model", "classifier")]
    return {
        f"{path}:{key}".removeprefix(str(folder)): value
        for path in files
        for key, value in torch.load(path, weights_only=True).items()
    }


def differences(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> int:
    return len(a.keys() ^ b.keys()) + sum(not torch.equal(a[k], b[k]) for k in a.keys() & b.keys())


MEMBERS = ("first", "second")


def train_victim(folder: Path) -> None:
    """Two small members, the second against the first; a checkpoint after every other step."""
    torch.set_num_threads(1)
    speech = folder.parent / "speech"
    if not speech.exists():
        make_files(speech, 24, 0.8)
    n = int(0.8 * RATE)
    utterances = [
        Utterance(f"u{i}", 0.8, str(speech / f"{i}.wav"), 0, n, f"s{i % 6}") for i in range(24)
    ]
    with open(ENCODERS / "ecapa.yaml", encoding="utf-8") as file:
        text = resolve_references(file, {"channels": 8, "embedding_dim": 12, "n_mels": 24})
    encoder = YAML().load(text.getvalue())
    settings = SpeechSettings(
        seed=1,
        crop_seconds=0.5,
        batch_size=8,
        epochs=3,
        epoch_steps=8,
        optimizer=functools.partial(torch.optim.Adam, lr=0.01),
        adversary_optimizer=functools.partial(torch.optim.Adam, lr=0.02),
        lr_schedule=WarmCoolDecayLRSchedule(0.01, 4, 12, 24),
        head=AAMHead,
        augment=Augmenter(
            min_augmentations=0,
            max_augmentations=1,
            augmentations=[DropChunk(drop_length_low=100, drop_length_high=900)],
        ),
        view="crop",
        cache_mb=0,
        workers=0,
        plain={},
    )
    options = RunOptions(
        device="cpu", ckpt_interval_steps=2, overridden_args={"device", "ckpt_interval_steps"}
    )
    specs = [
        {"name": name, "encoder": encoder, "objective": objective}
        for name, objective in zip(MEMBERS, (None, YAML().load(OBJECTIVE)), strict=True)
    ]
    data = TrainingSet(utterances, made_up_error)
    print("training", flush=True)
    train_members(specs, [], data, settings, options, torch.device("cpu"), folder)


@torch.no_grad()
def made_up_error(encoder) -> float:
    """A development error that follows from the weights, so that it chooses a checkpoint."""
    return 0.2 + 0.1 * float(encoder(torch.ones(1, 8000)).tanh().mean())


if __name__ == "__main__":
    sys.exit(main())
