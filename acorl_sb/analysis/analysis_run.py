"""All that an analysis computes: members compared pair by pair, and their scores attributed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from acorl_sb.analysis import attributed_trials as trials
from acorl_sb.analysis.compare import (
    compare_embeddings,
    compare_scores,
    read_out_attributes,
)
from acorl_sb.analysis.crop_trials import CropTrials, choose_trials
from acorl_sb.analysis.map_summaries import compare_maps, less_alike, summarise_member
from acorl_sb.analysis.run_inputs import Inputs
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.scoring.backends.cosine import cosine_trial_scores


def compare_members(
    inputs: Inputs, extra: dict[str, list[str]], options: dict[str, Any]
) -> dict[str, Any]:
    """``pairs`` and ``members`` of the results: everything but attribution."""
    folds, seed = options["folds"], options["seed"]
    chosen = np.arange(len(inputs.side.utterances))
    if len(chosen) > options["max_utterances"]:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(len(chosen), options["max_utterances"], replace=False))
    rows = torch.from_numpy(chosen)
    vectors = {name: member.vectors[rows].double() for name, member in inputs.members.items()}
    scores = {
        name: cosine_trial_scores(inputs.side, m.vectors.numpy())
        for name, m in inputs.members.items()
    }
    speakers, labels = inputs.speakers[chosen], inputs.side.trials.labels
    utterances = [inputs.side.utterances[i] for i in chosen]
    extra = {name: [texts[i] for i in chosen] for name, texts in extra.items()}
    pairs, members = [], {}
    with tqdm(total=4 * len(inputs.pairs) + len(vectors), desc="probes", disable=None) as bar:
        for pair in inputs.pairs:
            first, second = pair.first, pair.second
            pairs.append(
                {
                    "name": pair.name,
                    "first": first,
                    "second": second,
                    "role": pair.role,
                    "embeddings": compare_embeddings(
                        vectors[first],
                        vectors[second],
                        speakers,
                        folds,
                        options["probe_steps"],
                        seed,
                        tick=bar.update,
                    ),
                    "scores": compare_scores(scores[first], scores[second], labels),
                }
            )
        for name in inputs.members:
            readings = read_out_attributes(vectors[name], utterances, extra, folds, seed)
            members[name] = {"attributes": readings}
            bar.update()
    return {"pairs": pairs, "members": members}


@dataclass(frozen=True)
class Attributed:
    """``results`` is plain, for JSON; ``maps`` by member are of the crops of ``sides``."""

    results: dict[str, Any]
    maps: dict[str, trials.MemberMaps]
    sides: CropTrials


def attribute_members(
    inputs: Inputs,
    encoders: dict[str, SpeakerEncoder],
    options: dict[str, Any],
    device: torch.device,
) -> Attributed:
    """Attribute the scores of the chosen trials, member by member; compare the maps."""
    seed, seconds = options["seed"], options["crop_seconds"]
    neighbourhood = tuple(options["neighbourhood"])
    sides = choose_trials(inputs.side, options["trials"], seconds, seed)
    count = (options["deletion_trials"], options["occlusion_trials"])
    made, skipped = {}, {}
    total = len(inputs.members) * trials.sides_to_do(sides, *count)
    with tqdm(total=total, desc="attribution", unit="side", disable=None) as bar:
        for name, encoder in encoders.items():
            bar.set_description(f"attribution {name}")
            try:
                made[name] = trials.attribute_member(
                    encoder,
                    inputs.side.utterances,
                    sides,
                    seconds,
                    options["steps"],
                    *count,
                    seed=seed,
                    device=device,
                    tick=bar.update,
                )
            except trials.NoMelInput as reason:
                skipped[name] = str(reason)
    summaries = {name: summarise_member(maps, sides, seed) for name, maps in made.items()}
    pairs, values = {}, {}
    for pair in inputs.pairs:
        if pair.first in made and pair.second in made:
            pairs[pair.name], values[pair.name] = compare_maps(
                made[pair.first], made[pair.second], sides, neighbourhood, seed
            )
    reference = next((p.name for p in inputs.pairs if p.role == "reference"), None)
    against = {
        pair.name: less_alike(values[pair.name], values[reference], sides, seed)
        for pair in inputs.pairs
        if reference in values and pair.name in values and pair.role == "examined"
    }
    results = {
        "trials": len(sides.labels) // 2,
        "crop_seconds": seconds,
        "members": summaries,
        "skipped": skipped,
        "pairs": pairs,
        "against_reference": against,
    }
    return Attributed(results, made, sides)


def telling_trial(made: dict[str, trials.MemberMaps], sides: CropTrials, target: bool) -> int:
    """The enrolment row of the trial whose mean score over members is the median of its class."""
    rows = np.flatnonzero(sides.labels[: len(sides.labels) // 2] == target)
    score = np.mean([maps.found.score.numpy()[rows] for maps in made.values()], axis=0)
    return int(rows[np.argsort(score)[len(rows) // 2]])
