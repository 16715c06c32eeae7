"""Which members an output folder of ``train.py`` is of, for the commands that read one."""

from __future__ import annotations

from pathlib import Path

from acorl_sb.encoders.ensemble import standing
from acorl_sb.encoders.trusted import read_yaml
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.reading import read_json


def ensemble_of(run: Path) -> list[str] | None:
    """Names of a run's ensemble, in order, references too where it is finished.

    Members whose place others took, and those of an interrupted training, are none of it.

    Returns
    -------
    list of str or None
        As ``results.json`` says, else as ``hyperparams.yaml`` says; None where neither names any.

    Raises
    ------
    UserError
        For a ``results.json`` that is not one of ``train.py``.
    """
    results, yaml = run / "results.json", run / "hyperparams.yaml"
    if results.is_file():
        try:
            systems = read_json(results, "result of a finished run").get("systems") or []
            if named := [row["name"] for row in systems if row["kind"] == "member"]:
                return named
        except (KeyError, TypeError):
            raise UserError(f"{results}: not the results of train.py; run it again") from None
    listed = read_yaml(yaml).get("members") if yaml.is_file() else None
    if not isinstance(listed, list):
        return None
    return standing([spec for spec in listed if isinstance(spec, dict) and "name" in spec]) or None


def trained_members(run: Path) -> list[str]:
    """Of a run's ensemble those that it trained; all in its ``members/`` if it does not say."""
    folders = sorted(path.name for path in (run / "members").glob("*") if path.is_dir())
    named = ensemble_of(run)
    return folders if named is None else [name for name in named if name in folders]
