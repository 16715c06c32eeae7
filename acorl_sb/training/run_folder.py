"""The output folder of a run: its name, and what is in it before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from acorl_sb import corpora
from acorl_sb.training.members import check_members
from acorl_sb.training.speech import TrainingSet
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.files import output_path, write_text
from acorl_sb.utils.logs import log_to


def named(output_folder: str | Path, corpus: str, data_folder: str | Path | None) -> Path:
    """The output folder, ``{data}`` in its name replaced by what tells data apart.

    That is the name of the data folder for the corpus ``folder``, which can be anybody's
    recordings, and nothing for the others. Raises ``UserError`` for a folder that cannot be one.
    """
    data = ""
    if corpus == "folder" and data_folder is not None:
        data = "_" + re.sub(r"[^\w.+-]+", "-", Path(data_folder).resolve().name)
    return output_path(str(output_folder).replace("{data}", data))


def check_and_prepare(
    folder: Path,
    corpus,
    data_folder,
    prepare_options,
    members,
    references,
    settings,
    run_opts,
    own_trials=None,
) -> corpora.Splits:
    """Refuse what can be refused, then prepare the corpus; see ``acorl_sb.cli.train``."""
    if (folder / "results.json").exists() and not (folder / "manifest").exists():
        raise UserError(f"{folder}: holds results of another command; name another output_folder")
    for key in ("corpus", "data_folder", "save_folder", "trained_on_it", "own_trials"):
        if key in prepare_options:
            raise UserError(f"prepare_options: {key!r} is not an option of it")
    begun = check_members(
        members, references, TrainingSet.kind, settings, run_opts, folder / "members"
    )
    return corpora.prepare(
        corpus,
        data_folder,
        folder / "manifest",
        trained_on_it=begun[0] if begun else None,
        own_trials=own_trials,
        **prepare_options,
    )


def begin(folder: Path, text: str) -> None:
    """Start a run's log and keep its YAML, ``text``, once nothing refuses it any more.

    A finished run has a YAML of its own, which stays until the new results are there.
    """
    log_to(folder / "train_log.txt")
    if if_main_process() and not (folder / "results.json").is_file():
        write_text(folder / "hyperparams.yaml", text)
