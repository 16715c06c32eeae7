"""Members trained one after another: what a YAML lists becomes finished member folders."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.run_opts import RunOptions

from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.member_folder import (
    WEIGHTS,
    build_encoder,
    load_reference,
    load_weights,
    read_record,
    rebuild_member,
)
from acorl_sb.training import provenance
from acorl_sb.training.one_member import train_member
from acorl_sb.training.provenance import member_settings, reference_weights, refuse_changes
from acorl_sb.training.settings import (
    Settings,
    TrainingSet,
    own_settings,
    with_own_training,
)
from acorl_sb.training.train_options import check_specs

logger = logging.getLogger(__name__)


def train_members(
    specs: Sequence[Any],
    reference_specs: Sequence[Any],
    data: TrainingSet,
    settings: Settings,
    run_opts: RunOptions,
    device: torch.device,
    folder: Path,
) -> FrozenEnsemble:
    """Train, or load where finished, every member in order; return the whole ensemble.

    Arguments
    ---------
    specs : resolved ``members`` of the YAML, each with name, encoder, objective, seed, start (a
        finished member's folder whose weights training goes on from) and training (settings that
        are this member's own, of ``OWN_TRAINING``); the last four may lack
    reference_specs : resolved ``references``, external encoders, see
        ``acorl_sb.encoders.member_folder.load_reference``
    data : TrainingSet
    settings : Settings
    run_opts : SpeechBrain's run options (precision, ...)
    device : where the brains run and embeddings are computed
    folder : path that holds a folder per member
    """
    check_specs(specs, reference_specs)
    # All at once, so that a mistake in the last one costs no training of the others.
    own = [with_own_training(s, f"members[{i}]", settings, data) for i, s in enumerate(specs)]
    ensemble = load_references(reference_specs)
    errors = []
    for reference in ensemble.members:
        errors.append(data.dev_error(reference.encoder))
        logger.info("%s: loaded as a reference, dev_eer %.4g", reference.name, errors[-1])
    for index, spec in enumerate(specs):
        name = str(spec["name"])
        record = read_record(folder / name)
        if record is None:
            chosen, heard = own[index]
            train_member(
                spec, index, ensemble, errors, heard, chosen, run_opts, device, folder / name
            )
            record = read_record(folder / name)
        else:
            wanted = member_settings(spec, index, settings.plain, reference_weights(ensemble))
            refuse_changes(folder / name, record["settings"], wanted)
            logger.info("%s: already trained, not trained again", name)
        errors.append(record["dev_eer"])
        ensemble.add(
            name, rebuild_member(folder / name, spec["encoder"], f"members[{index}].encoder")
        )
    return ensemble


def check_members(
    specs: Sequence[Any],
    reference_specs: Sequence[Any],
    settings: Settings,
    run_opts: RunOptions,
    folder: Path,
) -> list[str]:
    """All that ``train_members`` can refuse before there are data; nothing is written.

    Returns the names of the members that are finished or interrupted. Raises ``UserError`` for
    those of other settings or other reference encoders, and for weights to start from that cannot
    be had. Whether a member can be trained at all is what a rehearsal finds out.
    """
    check_specs(specs, reference_specs)
    begun: list[str] = []
    weights: dict[str, str | None] = dict(reference_weights(load_references(reference_specs)))
    run = provenance.run_settings(run_opts)
    for index, spec in enumerate(specs):
        name, where = str(spec["name"]), f"members[{index}]"
        own_settings(spec, where, settings)
        wanted = member_settings(spec, index, settings.plain, weights)
        record = read_record(folder / name)
        if record is not None:
            refuse_changes(folder / name, record["settings"], wanted)
            encoder = rebuild_member(folder / name, spec["encoder"], f"{where}.encoder")
            weights[name] = provenance.weights_hash(encoder)
        else:
            provenance.refuse_other_start(folder / name, {**wanted, "run": run})
            if spec.get("start") is not None:
                encoder = build_encoder(spec["encoder"], f"{where}.encoder")
                load_weights(encoder.embedding_model, Path(spec["start"]) / WEIGHTS)
            weights[name] = None
        if record is not None or provenance.has_started(folder / name):
            begun.append(name)
    return begun


def load_references(reference_specs: Sequence[Any]) -> FrozenEnsemble:
    """The encoders of the YAML's ``references``, frozen."""
    ensemble = FrozenEnsemble()
    for i, spec in enumerate(reference_specs or []):
        ensemble.add(str(spec["name"]), load_reference(spec, f"references[{i}]"))
    return ensemble
