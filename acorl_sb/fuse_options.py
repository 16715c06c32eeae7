"""The keys of ``fuse.py``: from a YAML, from the command line, or from both (the latter wins)."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from acorl_sb.errors import UserError
from acorl_sb.fuse_inputs import System, from_run_folder, name_systems
from acorl_sb.fuse_results import Settings
from acorl_sb.fuse_tables import LABELS
from acorl_sb.protocol import Recipe

# Key: (kind, default, help). A kind ending in "s" takes several values.
KEYS: dict[str, tuple[str, Any, str]] = {
    "systems": ("systems", None, ""),
    "run_folder": ("text", None, "output folder of train.py: fuse its members"),
    "apply": ("text", None, "a fusion_model.json to apply; nothing is fitted"),
    "dev": ("texts", None, "development score files, one per system"),
    "test": ("texts", None, "test score files, in the same order"),
    "scores": ("texts", None, "score files of one set, to be cross-validated"),
    "names": ("texts", None, "names of the systems, in the same order"),
    "dev_trials": ("text", None, "trial list with the labels of the development trials"),
    "test_trials": ("text", None, "trial list with the labels of the test trials"),
    "trials": ("text", None, "trial list with the labels of the one set"),
    "speakers": ("texts", None, "manifests (.csv) or 'utterance speaker' lists"),
    "speaker_pattern": ("text", None, "regular expression that finds the speaker in an id"),
    "fusion": ("text", "logistic", "logistic, mean_znorm or best_single"),
    "calibration": ("text", "linear", "linear or pav"),
    "prior": ("number", 0.05, "effective prior of the logistic regression"),
    "l2": ("number", 0.0, "strength of the L2 term, on standardised columns"),
    "criterion": ("text", "eer", "what best_single is chosen by: eer or min_dcf (first point)"),
    "points": ("numbers", [0.01, 0.05], "priors of the cost points"),
    "c_miss": ("number", 1.0, "cost of a miss"),
    "c_fa": ("number", 1.0, "cost of a false alarm"),
    "quality": ("texts", [], "quality measures: duration, magnitude, cohort"),
    "dev_embeddings": ("texts", None, "development embeddings, one per system"),
    "test_embeddings": ("texts", None, "test embeddings, one per system"),
    "embeddings": ("texts", None, "embeddings for the one set, one per system"),
    "train_embeddings": ("texts", None, "training embeddings, one per system, for a PLDA"),
    "cohorts": ("texts", None, "cohort embeddings, one per system"),
    "cohort_top": ("whole", 100, "nearest cohort members that a cohort mean is taken over"),
    "folds": ("whole", 5, "folds of speakers in cross-validation"),
    "replicates": ("whole", 1000, "bootstrap draws; 0 for no intervals"),
    "level": ("number", 0.95, "level of the intervals"),
    "seed": ("whole", 0, "seed of folds and bootstrap"),
    "exhaustive": ("whole", 8, "up to this many members all subsets are fused"),
    "report": ("switch", True, "write report.html and its figures"),
    "output_folder": ("text", "results/fusion", "where everything is written"),
}
EMBEDDING_KEYS = {
    "dev": "dev_embeddings",
    "test": "test_embeddings",
    "scores": "embeddings",
    "train": "train_embeddings",
}
SYSTEM_KEYS = ("dev", "test", "scores", *EMBEDDING_KEYS.values(), "cohort")
_FLAGS = [key for key in KEYS if key not in ("systems", "scores")]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; fuse.py --help lists what can be given")


def read_options(argv: Sequence[str], description: str | None = None) -> dict[str, Any]:
    """Every key of ``KEYS``: default, overridden by the YAML, overridden by the command line.

    Arguments that stand alone are one YAML, or the score files of one set. Raises ``UserError``
    for an unknown key and a value of the wrong kind.
    """
    parser = _Parser(
        "fuse.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="*", help="a YAML, or score files of one set")
    for key in _FLAGS:
        kind, default, text = KEYS[key]
        shown = "" if default in (None, []) else f" (default: {default})"
        more: dict[str, Any] = {"nargs": "+"} if kind.endswith("s") else {}
        if kind == "switch":
            more = {"action": argparse.BooleanOptionalAction}
        parser.add_argument(f"--{key}", help=text + shown, default=None, **more)
    given = vars(parser.parse_intermixed_args(list(argv)))
    files = given.pop("files")
    options = {key: default for key, (_, default, _) in KEYS.items()}
    if len(files) == 1 and files[0].endswith((".yaml", ".yml")):
        options.update(_read_yaml(files[0]))
    elif files:
        options["scores"] = files
    options.update({key: value for key, value in given.items() if value is not None})
    return {key: _value(key, value) for key, value in options.items()}


def find_systems(options: dict[str, Any]) -> list[System]:
    """The systems that the options name; a run folder's manifests are added to ``speakers``.

    Their names differ from each other and from those of the fusions in the table. Raises
    ``UserError`` when there are none, when lists differ in length, or when the lists of
    development and test files seem to be in different orders.
    """
    systems = _find_systems(options)
    names = [system.name for system in systems]
    for name in names:
        if names.count(name) > 1 or name in LABELS.values():
            raise UserError(f"the name '{name}' is taken; give other --names")
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
        systems, manifests = from_run_folder(options["run_folder"])
        if not options["speakers"] and not options["speaker_pattern"]:
            options["speakers"] = manifests
        if options["names"]:
            known = {system.name: system for system in systems}
            unknown = [name for name in options["names"] if name not in known]
            if unknown:
                raise UserError(
                    f"{options['run_folder']}: no member '{unknown[0]}'; it has {', '.join(known)}"
                )
            systems = [known[name] for name in options["names"]]
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
    """What is to be computed. Raises ``UserError`` for values that make no sense."""
    for prior in [*options["points"], options["prior"], options["level"]]:
        if not 0.0 < prior < 1.0:
            raise UserError(f"priors, cost points and level lie between 0 and 1, not {prior:g}")
    for key in ("c_miss", "c_fa"):
        if not 0.0 < options[key] < math.inf:
            raise UserError(f"{key} must be positive, not {options[key]:g}")
    for key, least in (("replicates", 0), ("exhaustive", 1), ("folds", 3), ("cohort_top", 1)):
        if options[key] < least:
            raise UserError(f"{key} must be at least {least}, not {options[key]}")
    if options["replicates"] and options["replicates"] < 20:
        raise UserError("an interval needs at least 20 replicates; 0 switches intervals off")
    if not options["points"]:
        raise UserError("points: at least one cost point is needed")
    _one_of("fusion", options["fusion"], ("logistic", "mean_znorm", "best_single"))
    _one_of("calibration", options["calibration"], ("linear", "pav"))
    _one_of("criterion", options["criterion"], ("eer", "min_dcf"))
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
    shared = ("c_miss", "c_fa", "replicates", "level", "seed", "folds", "exhaustive")
    return Settings(recipe, tuple(options["points"]), **{key: options[key] for key in shared})


# ------------------------------------------------------------------------------------------------


def _read_yaml(path: str) -> dict[str, Any]:
    import ruamel.yaml

    from acorl_sb.hparams import load_hparams, plain

    try:
        tree = ruamel.yaml.YAML().load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (ruamel.yaml.error.YAMLError, UnicodeDecodeError):
        tree = None  # load_hparams words what is wrong
    known = set(KEYS)
    if isinstance(tree, dict) and "inherit" not in tree:
        known &= set(tree)  # every key has a default, none must be given
        text = Path(path).read_text(encoding="utf-8")
        for key in tree:
            if key not in KEYS and f"<{key}" not in text:
                raise UserError(f"{path}: the key '{key}' is unknown{_hint(key, KEYS)}")
    loaded = load_hparams([path], known)
    return {key: plain(loaded.hparams[key]) for key in KEYS if key in loaded.hparams}


def _systems_of_yaml(tree: Any) -> list[System]:
    if not isinstance(tree, dict):
        raise UserError(
            "systems: a name and its files are needed for each, 'a: {dev: ..., test: ...}'"
        )
    systems = []
    for name, entry in tree.items():
        if not isinstance(entry, dict):
            raise UserError(f"systems, {name}: files are needed, '{name}: {{dev: ..., test: ...}}'")
        for key in entry:
            if key not in SYSTEM_KEYS:
                raise UserError(
                    f"systems, {name}: the key '{key}' is unknown{_hint(key, SYSTEM_KEYS)}"
                )
        scores = {part: str(entry[part]) for part in ("dev", "test", "scores") if entry.get(part)}
        if set(scores) not in ({"dev", "test"}, {"scores"}):
            raise UserError(f"systems, {name}: give dev and test, or scores")
        if systems and set(scores) != set(systems[0].scores):
            raise UserError(f"systems, {name}: has other parts than {systems[0].name}")
        embeddings = {
            part: str(entry[key]) for part, key in EMBEDDING_KEYS.items() if entry.get(key)
        }
        cohort = str(entry["cohort"]) if entry.get("cohort") else None
        systems.append(System(str(name), scores, embeddings, cohort))
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


def _value(key: str, value: Any) -> Any:
    """The value in its kind; ``UserError`` where it is of another."""
    kind = KEYS[key][0]
    if value is None or kind == "systems":
        return value
    if kind == "switch":
        if not isinstance(value, bool):
            raise UserError(f"{key} must be true or false, not {value!r}")
        return value
    if kind.endswith("s"):
        values = value if isinstance(value, list | tuple) else [value]
        return [_one(key, kind[:-1], item) for item in values]
    return _one(key, kind, value)


def _one(key: str, kind: str, value: Any) -> Any:
    if kind == "text":
        if isinstance(value, dict | list):
            raise UserError(f"{key} must be a text, not {value!r}")
        return str(value)
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if kind == "whole":
            if number != int(number):
                raise ValueError
            return int(number)
        return number
    except (TypeError, ValueError, OverflowError):
        what = "a whole number" if kind == "whole" else "a number"
        raise UserError(f"{key} must be {what}, not {value!r}") from None


def _one_of(key: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserError(
            f"{key} must be {' or '.join(allowed)}, not '{value}'{_hint(value, allowed)}"
        )


def _hint(word: str, known) -> str:
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
