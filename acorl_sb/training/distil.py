"""From a finished run to the command line that distils it into one student."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import yaml

from acorl_sb.corpora.freshness import file_digest
from acorl_sb.corpora.registry import known_corpora
from acorl_sb.encoders.ensemble import standing
from acorl_sb.encoders.member_folder import read_record
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import read_tree
from acorl_sb.utils.names import check_name

YAML = "hparams/distil.yaml"
LISTS = {"trials": "test", "dev_trials": "dev"}  # the part of the corpus that each is of
# What the student has in common with its teachers, or their figures could not be compared.
SHARED = (
    *("corpus", "data_folder", "prepare_options", *LISTS),
    *("dev_seconds", "score_seconds", "seed"),
)


def teachers(run_folder: str | Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The members of a finished run as ``references`` of another, and the run's own settings.

    Arguments
    ---------
    run_folder : path
        Output folder of ``train.py``.

    Returns
    -------
    references : list of dict
        The run's own references, then ``{name, folder}`` of each member.
    settings : dict
        Those of ``SHARED`` that its ``hyperparams.yaml`` has.

    Raises
    ------
    UserError
        For a folder that is no run, a member that is not finished, a reference that is built from
        keys of the YAML or asks for trust, and values that are not plain.
    """
    root = Path(run_folder)
    path = root / "hyperparams.yaml"
    if not path.is_file():
        raise UserError(f"{root}: no output folder of train.py (it has no {path.name})")
    tree = read_tree(path)
    found = [dict(reference) for reference in _plain(tree.get("references") or [], path)]
    for reference in found:
        if reference.get("trust"):
            raise UserError(
                f"{path}: the reference {reference.get('name')!r} asks for trust, which a run "
                "cannot ask for (docs/trust.md); name all teachers yourself, in the references of "
                "acorl train"
            )
        if not {"folder", "source"} & reference.keys():
            raise UserError(
                f"{path}: the reference {reference.get('name')!r} is neither in a folder nor has a "
                "source; name all teachers yourself, in the references of acorl train"
            )
    members = tree.get("members")
    members = members if isinstance(members, list) else []
    for i, member in enumerate(members):
        check_name(member.get("name") if isinstance(member, dict) else None, f"{path} [{i}]")
    for name in standing(members):
        folder = root / "members" / name
        if read_record(folder, ()) is None:
            raise UserError(f"{folder}: the member is not finished; finish the run first")
        found.append({"name": name, "folder": str(folder.resolve())})
    if not found:
        raise UserError(f"{path}: the run has no members to learn from")
    return found, {key: _plain(tree[key], path) for key in SHARED if key in tree}


def _corpora(text: str) -> dict[str, str | None]:
    """Corpora and their folders, of a word of the command line."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not (
        isinstance(found, dict) and found and all(isinstance(x, str | None) for x in found.values())
    ):
        raise UserError(f"--more_unlabelled must be {{corpus: folder}}, not {text!r}")
    return found


def _plain(value: Any, path: Path) -> Any:
    """A value of a run's YAML, as it is; ``UserError`` for one that would run code once it is ours.

    HyperPyYAML takes a text in brackets for a tuple, and builds what stands in it.
    """
    tagged = getattr(getattr(value, "tag", None), "value", None)
    if tagged or (isinstance(value, str) and value.startswith("(") and "!" in value):
        raise UserError(f"{path}: {str(value)[:50]!r} is no plain value; a run has such ones only")
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    for part in parts if isinstance(value, dict | list) else ():
        _plain(part, path)
    return value


def _check_modules(root: Path, settings: dict[str, Any], said: Container[str]) -> None:
    """Refuse corpora of a run that are modules, which its preparation would import and call.

    ``said`` are the options of the preparation that the user says, not the run.
    """
    path, known = root / "hyperparams.yaml", known_corpora()
    options = settings.get("prepare_options", {})
    if not isinstance(options, dict):
        raise UserError(f"{path}: prepare_options must be keys and values, not {options!r}")
    named = [("corpus", settings["corpus"])] if "corpus" in settings else []
    for key in ("more_training", "more_unlabelled"):
        if key not in said and isinstance(options.get(key), dict):  # others are refused later
            named += [("prepare_options", name) for name in options[key]]
    for key, name in named:
        if name not in known:
            raise UserError(
                f"{path}: the corpus {name!r} is a module of its own, whose code a run cannot ask "
                f"for (docs/trust.md); say --{key} yourself"
            )


def _check_lists(root: Path, settings: dict[str, Any]) -> None:
    """Refuse trial lists of a run that are gone, or are not those that it was prepared with.

    Their names may be relative to the folder that the run was started in, which nobody knows.
    """
    try:
        record = json.loads((root / "manifest" / "prepared.json").read_text(encoding="utf-8"))
        digests = dict(record["settings"]["own_trials"])
    except (OSError, ValueError, KeyError, TypeError):
        digests = {}  # nothing to compare with
    for key, part in LISTS.items():
        if key not in settings:
            continue
        path = Path(str(settings[key]))
        if not path.is_file():
            wrong = "there is no such file from here"
        elif part in digests and digests[part] != file_digest(path):
            wrong = "that file is another one than the run was prepared with"
        else:
            continue
        raise UserError(
            f"{root / 'hyperparams.yaml'}: the run's {key} are {path}, and {wrong}; bring it back, "
            f"or say where it is with --{key}"
        )


def train_arguments(
    run_folder: str | Path, argv: Sequence[str], more_unlabelled: str | None = None
) -> list[str]:
    """The arguments of ``acorl train`` that distil a run; what ``argv`` says itself goes first.

    ``more_unlabelled`` is YAML, ``{corpus: folder}``, and joins the run's ``prepare_options``.

    Raises ``UserError`` as ``teachers``, for a corpus of the run's, a further one too, that is none
    of the package's, for a trial list of the run's that is gone or another one by now, and for a
    ``more_unlabelled`` that is of another form or beside ``prepare_options`` in ``argv``.
    """
    references, settings = teachers(run_folder)
    given = {word[2:].partition("=")[0] for word in argv if word.startswith("--")}
    settings = {key: v for key, v in settings.items() if key not in given and v is not None}
    if {"corpus", "data_folder"} & given:  # the run's lists are of the run's corpus
        settings = {key: value for key, value in settings.items() if key not in LISTS}
    said = {}
    if more_unlabelled is not None:
        if "prepare_options" in given:
            raise UserError("--more_unlabelled: put it into your --prepare_options")
        said["more_unlabelled"] = _corpora(more_unlabelled)
    _check_modules(Path(run_folder), settings, said)
    _check_lists(Path(run_folder), settings)
    if said:
        settings["prepare_options"] = {**settings.get("prepare_options", {}), **said}
    made = [] if argv and argv[0].endswith((".yaml", ".yml")) else [YAML]
    made += argv
    # JSON is YAML, and leaves no doubt of what is a number, a text or null.
    if "references" not in given:
        settings["references"] = references
    for key, value in settings.items():
        made.append(f"--{key}={json.dumps(value, ensure_ascii=False)}")
    if "output_folder" not in given:
        made.append(f"--output_folder={Path(run_folder) / 'distilled'}")
    return made
