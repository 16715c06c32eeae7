"""The keys of ``fuse.py``: from a YAML, from the command line, or from both (the latter wins)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from acorl_sb.fusion.judging import Settings
from acorl_sb.fusion.models import CONCATENATIONS, LABELS
from acorl_sb.fusion.systems import System, from_run_folder, name_systems, refuse_twice
from acorl_sb.fusion.validation import Recipe
from acorl_sb.metrics.judging_keys import (
    CostPoints,
    FalseAlarmCost,
    Level,
    MissCost,
    Replicates,
    check_replicates,
)
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.options import Fraction, Options, Several, Text, read


class SystemKeys(Options):
    """An entry of ``systems``: dev and test, or scores."""

    dev: Text | None = Field(None, description="development score file")
    test: Text | None = Field(None, description="test score file")
    scores: Text | None = Field(None, description="or one score file, to be cross-validated")
    dev_embeddings: Text | None = Field(None, description="development embeddings")
    test_embeddings: Text | None = Field(None, description="test embeddings")
    embeddings: Text | None = Field(None, description="embeddings for the one set")
    train_embeddings: Text | None = Field(None, description="training embeddings, for a PLDA")
    cohort: Text | None = Field(None, description="cohort embeddings")


class FuseOptions(Options):
    """All keys of ``fuse.py``; docs/fusion.md says more."""

    yaml: ClassVar[Literal["allowed"]] = "allowed"
    positional: ClassVar[str] = "scores"

    output_folder: Text = Field("results/fusion", description="where everything is written")
    report: bool = Field(True, description="write report.html and its figures")
    run_folder: Text | None = Field(
        None, description="output folder of train.py: its ensemble, manifests and training curves"
    )
    systems: dict[Text, SystemKeys] | None = Field(
        None, description="{name: {dev: file, test: file}} or {name: {scores: file}}"
    )
    dev: Several[Text] | None = Field(None, description="development score files, one per system")
    test: Several[Text] | None = Field(None, description="test score files, in the same order")
    scores: Several[Text] | None = Field(
        None, description="score files of one set, which is cross-validated over speakers"
    )
    names: Several[Text] | None = Field(
        None, description="names of the systems; null: what tells the file names apart"
    )
    dev_trials: Text | None = Field(
        None, description="trial list with the labels of the development trials"
    )
    test_trials: Text | None = Field(
        None, description="trial list with the labels of the test trials"
    )
    trials: Text | None = Field(None, description="trial list with the labels of the one set")
    speakers: Several[Text] | None = Field(
        None, description="manifests (.csv) or 'utterance speaker' lists, for intervals and folds"
    )
    speaker_pattern: Text | None = Field(
        None, description="or a regular expression that finds the speaker in an utterance id"
    )
    apply: Text | None = Field(
        None, description="a fusion_model.json: fuse the test files with it, fit nothing"
    )
    fusion: Literal["logistic", "mean_znorm", "best_single"] = Field(
        "logistic", description="the system that is written, calibrated and shown"
    )
    calibration: Literal["linear", "pav"] = Field("linear", description="how scores become LLRs")
    prior: Fraction = Field(
        0.05, description="effective prior of a target trial in the logistic regression"
    )
    l2: float = Field(0.0, ge=0, description="strength of its L2 term, on standardised columns")
    criterion: Literal["eer", "min_dcf"] = Field(
        "eer", description="what best_single is chosen by (min_dcf: at the first point)"
    )
    quality: Several[Literal["duration", "magnitude", "cohort", "uncertainty"]] = Field(
        [], description="quality measures, as extra columns"
    )
    uncertainty: bool = Field(
        False, description="a standard deviation beside every LLR: how much the systems disagree"
    )
    dev_embeddings: Several[Text] | None = Field(
        None, description="development embeddings, one per system"
    )
    test_embeddings: Several[Text] | None = Field(
        None, description="test embeddings, one per system"
    )
    embeddings: Several[Text] | None = Field(
        None, description="embeddings for the one set, one per system"
    )
    train_embeddings: Several[Text] | None = Field(
        None, description="training embeddings, one per system, for a PLDA"
    )
    cohorts: Several[Text] | None = Field(None, description="cohort embeddings, one per system")
    cohort_top: int = Field(
        100, ge=1, description="nearest cohort members that a cohort mean is taken over"
    )
    points: CostPoints = Field([0.01, 0.05])
    c_miss: MissCost = 1.0
    c_fa: FalseAlarmCost = 1.0
    replicates: Replicates = 1000
    level: Level = 0.95
    folds: int = Field(5, ge=3, description="folds of speakers, where there is one set only")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of folds and bootstrap")
    exhaustive: int = Field(
        8, ge=1, le=20, description="up to this many members all subsets are fused, beyond greedily"
    )

    def check(self) -> None:
        check_replicates(self.replicates)
        for key in ("points", "quality"):
            if len(set(getattr(self, key))) < len(getattr(self, key)):
                raise UserError(f"the key {key!r} must list each once, not {getattr(self, key)}")


EMBEDDING_KEYS = {
    "dev": "dev_embeddings",
    "test": "test_embeddings",
    "scores": "embeddings",
    "train": "train_embeddings",
}


def read_options(argv: Sequence[str], description: str | None = None) -> dict[str, Any]:
    """Every key of ``FuseOptions``: default, overridden by the YAML, then by the command line.

    Arguments that stand alone are one YAML, or the score files of one set. Raises ``UserError``
    for an unknown key and a value of the wrong kind or out of range.
    """
    found = read(FuseOptions, argv, description).hparams
    return {key: found[key] for key in FuseOptions.model_fields}


def find_systems(options: dict[str, Any]) -> list[System]:
    """The systems that the options name; a run folder's manifests are added to ``speakers``.

    Their names differ from each other and from those of the fusions in the table. Raises
    ``UserError`` when there are none, when lists differ in length, when the lists of development
    and test files seem to be in different orders, or when two systems have the same score file.
    """
    systems = _find_systems(options)
    names = [system.name for system in systems]
    for name in names:
        if names.count(name) > 1 or name in (*LABELS.values(), *CONCATENATIONS.values()):
            raise UserError(f"the name '{name}' is taken; give other --names")
    for part in systems[0].scores:
        refuse_twice([system.scores[part] for system in systems])
    return systems


def _find_systems(options: dict[str, Any]) -> list[System]:
    ways = [key for key in ("run_folder", "systems", "scores") if options[key]] + (
        ["dev/test"] if options["dev"] or options["test"] else []
    )
    if len(ways) != 1:
        problem = f"{' and '.join(ways)} are both given" if ways else "no score files are given"
        raise UserError(
            f"{problem}; give either --dev and --test files, score files of one set, --run_folder, "
            "or systems in a YAML"
        )
    if options["run_folder"]:
        systems, manifests = from_run_folder(options["run_folder"], options["names"])
        if not options["speakers"] and not options["speaker_pattern"]:
            options["speakers"] = manifests
        return systems
    if options["systems"]:
        return _systems_of_yaml(options["systems"])
    lists = {key: options[key] for key in ("dev", "test", "scores") if options[key]}
    for part, other in (("dev", "test"), ("test", "dev")):
        if part in lists and other not in lists:
            raise UserError(f"--{part} files are given, but no --{other} files")
    count = len(next(iter(lists.values())))
    lists.update(
        {
            key: options[key]
            for key in ("names", *EMBEDDING_KEYS.values(), "cohorts")
            if options[key]
        }
    )
    for key, values in lists.items():
        if len(values) != count:
            first = next(iter(lists))
            raise UserError(
                f"--{key} has {len(values)} entries, but --{first} has {count}; "
                "one per system is needed, in the same order"
            )
    names = options["names"] or _names(lists)
    return [
        System(
            names[n],
            {part: lists[part][n] for part in ("dev", "test", "scores") if part in lists},
            {part: lists[key][n] for part, key in EMBEDDING_KEYS.items() if key in lists},
            lists["cohorts"][n] if "cohorts" in lists else None,
        )
        for n in range(count)
    ]


def find_settings(options: dict[str, Any]) -> Settings:
    """What is to be computed."""
    recipe = Recipe(
        options["fusion"],
        options["calibration"],
        options["prior"],
        options["l2"],
        options["criterion"],
        options["points"][0],
        options["c_miss"],
        options["c_fa"],
    )
    shared = ("c_miss", "c_fa", "replicates", "level", "seed", "folds", "exhaustive", "uncertainty")
    return Settings(recipe, tuple(options["points"]), **{key: options[key] for key in shared})


# ------------------------------------------------------------------------------------------------


def _systems_of_yaml(entries: dict[str, SystemKeys]) -> list[System]:
    systems: list[System] = []
    for name, keys in entries.items():
        entry = {key: value for key, value in keys if value is not None}
        scores: dict[str, str] = {
            part: entry[part] for part in ("dev", "test", "scores") if part in entry
        }
        if set(scores) not in ({"dev", "test"}, {"scores"}):
            raise UserError(f"systems.{name}: give dev and test, or scores")
        if systems and set(scores) != set(systems[0].scores):
            raise UserError(f"systems.{name}: has other parts than {systems[0].name}")
        embeddings = {part: entry[key] for part, key in EMBEDDING_KEYS.items() if key in entry}
        systems.append(System(name, scores, embeddings, entry.get("cohort")))
    return systems


def _names(lists: dict[str, list[str]]) -> list[str]:
    """Names from the file names; the two parts must not contradict each other."""
    given = [lists[part] for part in ("dev", "test", "scores") if part in lists]
    if len(given) == 2 and len(given[0]) == 1:
        # Nothing to tell apart: what both paths share, a folder of the system's, is the name.
        dev, test = (Path(paths[0]).with_suffix("").parts for paths in given)
        shared = [d for d, t in zip(dev, test, strict=False) if d == t and d not in ("/", "..")]
        return [shared[-1] if shared else dev[-1]]
    made = [name_systems(paths) for paths in given]
    if len(made) == 2 and made[0] != made[1] and sorted(made[0]) == sorted(made[1]):
        raise UserError(
            f"--dev names {', '.join(made[0])} but --test names {', '.join(made[1])}: "
            "give both in the same order"
        )
    return made[0]
