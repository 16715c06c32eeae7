"""Members trained one after another: what a YAML lists becomes finished member folders."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.run_opts import RunOptions

from acorl_sb.encoders.ensemble import FrozenEnsemble, goes_on_from, standing
from acorl_sb.encoders.member_folder import read_record
from acorl_sb.training import provenance
from acorl_sb.training.loading import pair_groups
from acorl_sb.training.member_options import check_specs
from acorl_sb.training.one_member import train_member
from acorl_sb.training.provenance import (
    Start,
    member_settings,
    reference_weights,
    refuse_changes,
)
from acorl_sb.training.settings import Settings, own_settings
from acorl_sb.training.term_settings import TermSettings
from acorl_sb.training.training_data import MemberKind, TrainingData
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import output_path

logger = logging.getLogger(__name__)


def train_members(
    specs: Sequence[Any],
    reference_specs: Sequence[Any],
    data: TrainingData,
    settings: Settings,
    run_opts: RunOptions,
    device: torch.device,
    folder: Path,
    own: Sequence[tuple[Settings, TrainingData]] | None = None,
) -> FrozenEnsemble:
    """Train every member in order, or load it where it is finished.

    Arguments
    ---------
    specs : list
        Resolved ``members`` of the YAML, each with name, encoder, objective, seed, start (an
        earlier member, or a finished member's folder, whose weights training goes on from) and
        training (settings that are this member's own); the last four may lack.
    reference_specs : list
        Resolved ``references``: encoders that a user owns.
    data : TrainingData
    settings : Settings
    run_opts : RunOptions
        SpeechBrain's run options (precision, ...).
    device : torch.device
        Where members are trained and embeddings computed.
    folder : Path
        Holds a folder for each member.
    own : list or None
        What ``check_against_data`` returned, where it has been called.

    Returns
    -------
    FrozenEnsemble
        References and members, in order; one that goes on from an earlier one has its place.

    Raises
    ------
    UserError
        For what ``check_against_data`` refuses, and for a member on disk that has other settings.
    """
    check_specs(specs, reference_specs)
    if own is None:
        own = check_against_data(specs, data, settings, folder)
    ensemble = load_references(reference_specs, data.kind)
    errors: dict[str, float] = {}
    for reference in ensemble.members:
        error = data.check(reference.encoder, None)
        shown = "" if error is None else f", {data.dev_figure} {error:.4g}"
        logger.info("%s: loaded as a frozen reference encoder%s", reference.name, shown)
        if error is not None:
            errors[reference.name] = error
    for index, (spec, (of_member, of_data)) in enumerate(zip(specs, own, strict=True)):
        name, member = str(spec["name"]), folder / str(spec["name"])
        old, figures = goes_on_from(specs, index), (data.dev_figure, "seconds")
        references, start = ensemble.without(old), None
        if old is not None:
            start = Start(old, folder / old, reference_weights(ensemble)[old])
        elif spec.get("start") is not None:
            start = start_folder(spec, index, data.kind)
        record = read_record(member, figures)
        if record is None:
            known = [errors[n] for n in references.names if n in errors]
            rest = of_data, of_member, run_opts, device, member
            train_member(spec, index, references, known, *rest, start=start)
            record = read_record(member, figures)
        else:
            weights = reference_weights(references)
            refuse_changes(
                member,
                record["settings"],
                member_settings(spec, index, settings.plain, weights, start),
            )
            logger.info("%s: already trained, not trained again", name)
        errors[name] = record[data.dev_figure]
        encoder = data.kind.rebuild(member, spec["encoder"], f"members[{index}].encoder")
        ensemble.add(name, encoder, replaces=old)
    return ensemble


def check_against_data(
    specs: Sequence[Any], data: TrainingData, settings: Settings, folder: Path
) -> list[tuple[Settings, TrainingData]]:
    """All that ``train_members`` can refuse once there are data; nothing is written.

    A mistake in the last member so costs no training of those before. Arguments are those of
    ``train_members``.

    Returns
    -------
    list of (Settings, TrainingData)
        Each member's own.

    Raises
    ------
    UserError
        For speeds that are new to the member that one goes on from, batches that the data do not
        give, and finished members to go on from that do not fit or know other classes.
    """
    own = [own_settings(s, f"members[{i}]", settings) for i, s in enumerate(specs)]
    heard = [data.adapted(of_member) for of_member in own]
    check_speeds(specs, own)
    for index, (spec, of_member, of_data) in enumerate(zip(specs, own, heard, strict=True)):
        pair_groups(of_data, of_member)
        if spec.get("objective") is not None:
            TermSettings().with_batches(of_data, of_member)
        old = goes_on_from(specs, index)
        start = spec.get("start") if old is None else folder / old
        finished = read_record(folder / str(spec["name"]), ()) is not None
        if start is None or finished or (old is not None and read_record(start, ()) is None):
            continue  # nothing to go on from, or not yet
        encoder = data.kind.build(spec["encoder"], f"members[{index}].encoder")
        head = of_member.head(dim=encoder.embedding_dim, n_classes=len(of_data.classes))
        data.kind.load_start(start, encoder, head, of_data.classes)
    return [*zip(own, heard, strict=True)]


def check_speeds(specs: Sequence[Any], own: Sequence[Settings]) -> None:
    """UserError for a member at speeds, so of classes, that are new to the one it goes on from."""
    of = {spec["name"]: set(getattr(s, "speeds", ())) for spec, s in zip(specs, own, strict=True)}
    for index, spec in enumerate(specs):
        old = goes_on_from(specs, index)
        if old is not None and not of[spec["name"]] <= of[old]:
            raise UserError(
                f"members[{index}]: {old!r}, which it goes on from, has the speeds "
                f"{sorted(of[old])}, it has {sorted(of[spec['name']])}; give both the same speeds"
            )


def start_folder(spec: Any, index: int, kind: MemberKind) -> Start:
    """The finished member's folder that a member goes on from, with the hash of its weights.

    The hash is None where the folder is not there any more, as it may be for a finished member.
    """
    folder = Path(str(spec["start"]))
    if not folder.is_dir():
        return Start(str(folder), folder, None)
    encoder = kind.build(spec["encoder"], f"members[{index}].encoder")
    kind.check_start(folder, encoder)
    return Start(str(folder), folder, provenance.weights_hash(encoder))


def check_members(
    specs: Sequence[Any],
    reference_specs: Sequence[Any],
    kind: MemberKind,
    settings: Settings,
    run_opts: RunOptions,
    folder: Path,
) -> list[str]:
    """All that ``train_members`` can refuse before there are data; nothing is written.

    Arguments are those of ``train_members``, and the ``kind`` of its data. Whether a member can be
    trained at all is what a rehearsal finds out.

    Returns
    -------
    list of str
        Names of the members that are finished or interrupted.

    Raises
    ------
    UserError
        For members on disk that have other settings or other reference encoders, and for weights
        to start from that cannot be had.
    """
    check_specs(specs, reference_specs)
    begun: list[str] = []
    references = load_references(reference_specs, kind)
    weights: dict[str, str | None] = dict(reference_weights(references))
    run = provenance.run_settings(run_opts)
    own = [own_settings(s, f"members[{i}]", settings) for i, s in enumerate(specs)]
    check_speeds(specs, own)
    for index, spec in enumerate(specs):
        name, where = str(spec["name"]), f"members[{index}]"
        old, start = goes_on_from(specs, index), None
        joined = [*references.names, *standing(specs[:index])]
        complemented = {n: weights[n] for n in joined if n != old}
        if old is not None:
            start = Start(old, folder / old, weights[old])
        elif spec.get("start") is not None:
            start = start_folder(spec, index, kind)
        wanted = member_settings(spec, index, settings.plain, complemented, start)
        output_path(folder / name)
        record = read_record(folder / name, ())
        if record is not None:
            refuse_changes(folder / name, record["settings"], wanted)
            encoder = kind.rebuild(folder / name, spec["encoder"], f"{where}.encoder")
            weights[name] = provenance.weights_hash(encoder)
        else:
            provenance.refuse_other_start(folder / name, {**wanted, "run": run})
            # Not one that start_folder has looked at, nor one that is yet to be trained.
            if start is not None and (start.weights is None) == (old is None):
                kind.check_start(start.folder, kind.build(spec["encoder"], f"{where}.encoder"))
            weights[name] = None
        if record is not None or provenance.has_started(folder / name):
            begun.append(name)
    return begun


def load_references(reference_specs: Sequence[Any], kind: MemberKind) -> FrozenEnsemble:
    """The encoders of the YAML's ``references``, frozen."""
    ensemble = FrozenEnsemble()
    for i, spec in enumerate(reference_specs or []):
        ensemble.add(str(spec["name"]), kind.load_reference(spec, f"references[{i}]"))
    return ensemble
