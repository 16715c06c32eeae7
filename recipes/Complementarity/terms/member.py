"""One member of the study: trained, then heard under all conditions. A process of its own.

    python -m terms.member FOLDER SEED NAME PART [figures] [--device cuda]

``FOLDER`` is the study's, with its ``study.yaml`` and data; ``NAME`` a member of it, or ``NAME@f``,
its copy that is trained without fold f and without objective. ``PART`` is ``train`` or a part to
embed, ``dev`` or ``test``; with ``figures`` NAME is a row, whose figures are computed. What is done
already is not done again; training goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import functools
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import ruamel.yaml
import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.nnet.schedulers import WarmCoolDecayLRSchedule
from speechbrain.utils.run_opts import RunOptions

from acorl_sb import complementarity
from acorl_sb.complementarity import deal_folds
from acorl_sb.corpora.splits import thin
from acorl_sb.data.manifest import Utterance, read_manifest
from acorl_sb.data.trial_set import TrialSet
from acorl_sb.data.trials import TrialList
from acorl_sb.encoders.ensemble import FrozenEnsemble, OutOfFoldReferences
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.member_folder import load_member, read_record
from acorl_sb.encoders.start import load_start
from acorl_sb.scoring.backends.cosine import cosine_eer
from acorl_sb.training.augment import FolderNoise, FolderReverb
from acorl_sb.training.heads import AAMHead
from acorl_sb.training.masking import AttributionMask
from acorl_sb.training.one_member import train_member
from acorl_sb.training.pair_loss import DLoss
from acorl_sb.training.speech import SpeechSettings, TrainingSet
from acorl_sb.training.term_settings import TermSettings
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.files import atomic_path, write_text
from terms import capacity, figures, sets

# Of the check after an epoch, which chooses a checkpoint: utterances of a speaker, by set.
CHECK = {"speechocean762": 5, "commonvoice_one": 2}
CHECKPOINT_STEPS = 60


def main() -> int:
    torch.set_num_threads(1)
    args = arguments()
    folder, seed, name, part = args.folder, args.seed, args.name, args.part
    logging.getLogger("acorl_sb").setLevel(logging.INFO)
    logging.basicConfig(format="%(asctime)s %(message)s")
    tree = ruamel.yaml.YAML().load((folder / "study.yaml").read_text(encoding="utf-8"))
    own = folder / f"seed{seed}" / name
    device = torch.device(args.device)
    if args.figures:
        figures.row_figures(folder, seed, name, tree["rows"][name]["members"], part)
    elif part == "train":
        if read_record(own) is None:
            train(tree, folder, seed, name, device)
    else:
        embed(folder, own, part, device)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("name")
    parser.add_argument("part", choices=("train", "dev", "test"))
    parser.add_argument("figures", nargs="?", choices=("figures",))
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def train(tree, folder: Path, seed: int, name: str, device: torch.device) -> None:
    data = folder / "data"
    plain_name, _, fold = name.partition("@")
    spec = tree["members"][plain_name]
    settings = {**tree["settings"], **({"steps": spec["steps"]} if "steps" in spec else {})}
    folds = settings["folds"]
    utterances = read_manifest(data / "train.csv")
    speakers = sorted({u.spk_id for u in utterances})
    if "speakers" in spec:
        speakers = capacity.some(speakers, spec["speakers"])
        utterances = [u for u in utterances if u.spk_id in set(speakers)]
    fold_of = dict(zip(speakers, deal_folds(len(speakers), folds).tolist(), strict=True))
    if fold:
        utterances = [u for u in utterances if fold_of[u.spk_id] != int(fold)]
    if "pair_loss" in spec:
        utterances = [replace(u, attributes={"corpus": corpus(u)}) for u in utterances]
    heard = TrainingSet(utterances, development_error(data, device), settings["speeds"])
    member = {
        "name": name,
        "encoder": tree["encoders"][spec["encoder"]],
        "seed": 1000 * seed + spec["seed"] + (10 * (1 + int(fold)) if fold else 0),
        "objective": None,
    }
    if "start" in spec and not fold:  # a copy without a fold begins anew
        member["start"] = str(folder / f"seed{seed}" / spec["start"])
        settings |= settings["continued"]
    references, term = FrozenEnsemble(), TermSettings()
    if not fold:
        for other in spec.get("references", []):
            references.add(other, load_member(folder / f"seed{seed}" / other))
        if "own" in spec:
            term = own_batches(heard, spec["own"], data, fold_of)
        if "mask" in spec:
            term.mask = mask(folder / f"seed{seed}" / spec["references"][0], heard, spec["mask"])
    if not fold and spec.get("objective"):
        member["objective"] = objective(tree, spec)
        if spec.get("honest"):
            repeats = len((term.data or heard).speeds)
            term.copies = OutOfFoldReferences(
                [copies(folder / f"seed{seed}", spec["references"], f) for f in range(folds)],
                deal_folds(len(speakers), folds, repeats),
            )
    train_member(
        member,
        spec["seed"],
        references,
        [0.0] * len(references),
        heard,
        how(settings, data, seed, spec),
        RunOptions(
            device=str(device),
            ckpt_interval_steps=CHECKPOINT_STEPS,
            overridden_args={"device", "ckpt_interval_steps"},
        ),
        device,
        folder / f"seed{seed}" / name,
        term,
    )


def objective(tree, spec):
    """The objective's YAML, wrapped where its gradient is bounded."""
    wanted = tree["objectives"][spec["objective"]]
    if "limit" not in spec:
        return wanted
    # In block style: a flow mapping would swallow the tags of what is put into it.
    yaml = f"!name:{complementarity.__name__}.Bounded\nlimit: {spec['limit']}\n"
    bounded = ruamel.yaml.YAML().load(yaml)
    bounded["part"] = wanted
    return bounded


def own_batches(heard: TrainingSet, own, data: Path, fold_of: dict[str, int]) -> TermSettings:
    """Settings of a term with batches of its own, as a member's key ``own`` says."""
    of_term = TrainingSet(heard.utterances, heard.dev_error, own["speeds"])
    term = TermSettings(data=of_term, batch_size=own["size"], each=own["each"])
    if own.get("one_corpus"):
        groups = [corpus(u) for u in heard.utterances]
        if own.get("one_fold"):
            groups = [
                f"{g} {fold_of[u.spk_id]}" for g, u in zip(groups, heard.utterances, strict=True)
            ]
        term.groups = groups * len(own["speeds"])
    if own.get("views"):
        term.second_view = noise_and_rooms(data, 1)
    return term


def corpus(utterance: Utterance) -> str:
    """What ``sets.prepare`` puts before a speaker's name."""
    return utterance.spk_id.partition("-")[0]


def mask(reference: Path, heard: TrainingSet, spec) -> AttributionMask:
    """Of a finished member, its classifier's rows in the order of the training classes."""
    encoder = load_member(reference)
    head = AAMHead(encoder.embedding_dim, len(heard.classes))
    load_start(reference, encoder, head.classifier, heard.classes)
    return AttributionMask(encoder, head.classifier.weight, spec["share"], spec["of"])


def copies(folder: Path, references: list[str], fold: int) -> FrozenEnsemble:
    ensemble = FrozenEnsemble()
    for other in references:
        ensemble.add(other, load_member(folder / f"{other}@{fold}"))
    return ensemble


def how(settings, data: Path, seed: int, spec) -> SpeechSettings:
    """The same for every member: batch, steps, rate, noise and rooms.

    Its own are what a reference sees (``view``) and a loss on pairs (``pair_loss``).
    """
    steps, epochs = settings["steps"], settings["epochs"]
    rate = settings["lr"]
    return SpeechSettings(
        seed=seed,
        crop_seconds=settings["crop_seconds"],
        batch_size=settings["batch_size"],
        epochs=epochs,
        epoch_steps=steps // epochs,
        optimizer=functools.partial(torch.optim.Adam, lr=rate, weight_decay=2e-5),
        adversary_optimizer=functools.partial(torch.optim.Adam, lr=0.005),
        lr_schedule=WarmCoolDecayLRSchedule(rate, 30, steps // 2, steps),
        head=functools.partial(AAMHead, margin=0.2, scale=30.0),
        augment=noise_and_rooms(data, 0),
        view=spec.get("view", "crop"),
        pair_loss=DLoss(**spec["pair_loss"]) if "pair_loss" in spec else None,
        cache_mb=1500,
        workers=0,
        plain={},
        speeds=settings["speeds"],
        cuda_graphs=True,
    )


def noise_and_rooms(data: Path, fewest: int) -> Augmenter:
    """``fewest`` to 2 of reverberation and noise at 0 to 20 dB, for a whole batch."""
    augment = Augmenter(
        min_augmentations=fewest,
        max_augmentations=2,
        shuffle_augmentations=True,
        augmentations=[
            FolderReverb(str(data / "rooms" / "train")),
            FolderNoise(str(data / "noise" / "train"), 0, 20),
        ],
    )
    augment.on_device = True  # convolutions with rooms are a GPU's work
    return augment


def development_error(data: Path, device: torch.device):
    """Mean EER over the development sets of ``CHECK``, clean."""
    sides = [thinned(sets.read_set(data, "dev", name), each) for name, each in CHECK.items()]
    seconds = sets.CONDITIONS["clean"].seconds

    def error(encoder) -> float:
        embedded = [
            embed_utterances(encoder, s.utterances, seconds, device=device).numpy() for s in sides
        ]
        return float(np.mean([cosine_eer(s, z) for s, z in zip(sides, embedded, strict=True)]))

    return error


def thinned(side: TrialSet, each: int) -> TrialSet:
    """The side with at most ``each`` utterances of a speaker."""
    kept = thin(side.utterances, each, 0)
    names, t = [u.id for u in kept], side.trials
    place = {name: i for i, name in enumerate(names)}
    new = np.array([place.get(name, -1) for name in t.ids])
    both = (new[t.enrol] >= 0) & (new[t.test] >= 0)
    return TrialSet.of(
        kept, TrialList(names, new[t.enrol][both], new[t.test][both], t.labels[both])
    )


def embed(folder: Path, own: Path, part: str, device: torch.device) -> None:
    """Write ``embeddings/<part>/<set>, <condition>.npy`` (N, D) float16, and the cohort's."""
    encoder, data = load_member(own), folder / "data"
    made = functools.partial(embed_utterances, encoder, device=device)
    clean = sets.CONDITIONS["clean"].seconds
    cohort = own / "embeddings" / "cohort.npy"
    if not cohort.is_file():
        write(cohort, made(read_manifest(data / "cohort.csv"), clean))
    for condition in sets.SCREENED if part == "dev" else sets.CONDITIONS:
        hear = sets.hearing(data, part, sets.CONDITIONS[condition])
        for name in sets.SETS[part]:
            path = own / "embeddings" / part / f"{name}, {condition}.npy"
            if not path.is_file():
                utterances = sets.read_set(data, part, name).utterances
                seconds = sets.CONDITIONS[condition].seconds
                write(path, made(utterances, seconds, hear=hear))
    write_text(own / f"{part}.done", "")


def write(path: Path, z: torch.Tensor) -> None:
    with atomic_path(path) as temporary:
        np.save(temporary, torch.nn.functional.normalize(z, dim=1).numpy().astype(np.float16))


if __name__ == "__main__":
    run_cli(main)
