"""What ships: branches of half precision as one encoder, its calibration, figures, and the card."""

from __future__ import annotations

import hashlib
import json
import shutil
import textwrap
from pathlib import Path

import numpy as np
import torch
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from safetensors.torch import save_file

from acorl_sb.data.recording_range import RecordingRange
from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.extraction import embed_utterances
from acorl_sb.encoders.ge2e import GE2E
from acorl_sb.encoders.joined import Joined
from acorl_sb.encoders.shipped import SHIPPED_WEIGHTS, load_shipped
from acorl_sb.fusion.logistic import LogisticFusion
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import atomic_path, write_json, write_text
from acorl_sb.utils.yaml_dump import dump
from open_speech import card, sets
from open_speech.evaluation import BASE, CALIBRATED_ON, MAIN, Systems

LARGEST = 4_000_000  # bytes of the weights
PRIOR = 0.05  # at which shares and calibration are fitted
CHECKED = 40  # development utterances that the shipped file embeds
PARTS = ("embedding_dim", "compute_features", "mean_var_norm", "embedding_model")


def development(systems: Systems, names, conditions) -> tuple[np.ndarray, np.ndarray]:
    """Cosines (K, N) of development trials under all of the conditions, and labels (N,)."""
    side = systems.side("dev", sets.DEV)
    scores = [[systems.scores(n, "dev", sets.DEV, c) for c in conditions] for n in names]
    return (
        np.stack([np.concatenate(of_system) for of_system in scores]),
        np.tile(side.trials.labels, len(conditions)),
    )


def fitted_shares(systems: Systems, names) -> dict[str, float]:
    """The branches' shares in the cosine, which sum to 1: their weights in a logistic fusion."""
    weights = LogisticFusion(PRIOR).fit(*development(systems, names, MAIN)).weights
    if not min(weights) > 0:
        raise UserError(f"the branches {', '.join(names)} weigh {weights}: leave one out")
    return dict(zip(names, (weights / weights.sum()).round(4).tolist(), strict=True))


def write_encoder(systems: Systems, shares: dict[str, float], place: Path) -> None:
    """The branches as one encoder: weights in float16, and the YAML that builds it."""
    encoders = [systems.load(name) for name in shares]
    joined = Joined(
        [
            e.embedding_model if name == BASE else e
            for name, e in zip(shares, encoders, strict=True)
        ],
        list(shares.values()),
    )
    half = {k: v.half() if v.is_floating_point() else v for k, v in joined.state_dict().items()}
    with atomic_path(place / SHIPPED_WEIGHTS) as temporary:
        save_file({key: value.contiguous() for key, value in half.items()}, temporary)
    size = (place / SHIPPED_WEIGHTS).stat().st_size
    if size > LARGEST:
        raise UserError(f"{place / SHIPPED_WEIGHTS}: {size} bytes are more than {LARGEST}")
    branches = "".join(branch(systems.folder / "members" / name, name) for name in shares)
    write_text(
        place / "hyperparams.yaml",
        "sample_rate: 16000\n"
        f"embedding_dim: {sum(e.embedding_dim for e in encoders)}\n"
        f"embedding_model: !new:{Joined.__module__}.{Joined.__name__}\n"
        f"  shares: {list(shares.values())}\n  branches:\n{branches}",
    )


def branch(member: Path, name: str) -> str:
    """A branch as an entry of the YAML's list."""
    if name == BASE:
        return f'    - !new:{GE2E.__module__}.{GE2E.__name__}\n      weights: ""\n'
    tree = YAML().load((member / "hyperparams.yaml").read_text(encoding="utf-8"))
    keys = dump(CommentedMap({key: tree[key] for key in PARTS}))
    lines = "\n".join(line for line in keys.splitlines() if line.strip())
    head = f"    - !new:{SpeakerEncoder.__module__}.{SpeakerEncoder.__name__}\n"
    return head + textwrap.indent(lines, "      ") + "\n"


def calibrate(systems: Systems, name: str, place: Path) -> LogisticFusion:
    """Fit LLRs on the development speakers across sessions, under all conditions together."""
    fusion = LogisticFusion(PRIOR).fit(*development(systems, [name], CALIBRATED_ON))
    seen = RecordingRange.of(systems.side("dev", sets.DEV).utterances, None)
    digest = hashlib.sha256((place / SHIPPED_WEIGHTS).read_bytes()).hexdigest()
    model = {"sha256": digest, "fusion": fusion.state(), "score_seconds": None}
    write_json(place / "model.json", model | {"calibrated_on": seen._asdict()})
    return fusion


def rounding(systems: Systems, name: str, place: Path) -> float:
    """The largest difference that half precision makes to cosines of development utterances."""
    utterances = systems.side("dev", sets.DEV).utterances[:CHECKED]
    z = torch.nn.functional.normalize(embed_utterances(load_shipped(place), utterances), dim=1)
    whole = torch.from_numpy(systems.embedded(name, "dev", sets.DEV, "clean")[:CHECKED])
    return float((z @ z.T - whole @ whole.T).abs().max())


def ship(place: Path, package: Path, recipe: Path) -> None:
    """Copy what was judged into the package, and its tables into the model card and the README."""
    made = card.tables(read_figures(place), package.name)
    for name in (SHIPPED_WEIGHTS, "hyperparams.yaml", "model.json", "figures.json"):
        with atomic_path(package / name) as temporary:
            shutil.copyfile(place / name, temporary)
    for page in (package / "README.md", recipe / "README.md"):
        write_text(page, card.put_in(page.read_text(encoding="utf-8"), made))


def read_figures(place: Path) -> dict:
    """The figures that were shipped with the weights."""
    return json.loads((place / "figures.json").read_text(encoding="utf-8"))
