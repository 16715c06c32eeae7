"""The YAMLs that this project brings, found from any working folder."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# Of an installed package, and of a checkout.
_FOLDERS = (_PACKAGE / "hparams", _PACKAGE.parent / "hparams")


def find_yaml(path: str | Path, folder: Path | None = None) -> Path:
    """A YAML of the user's; where there is none of that name, the one that the project brings.

    Arguments
    ---------
    path : the file; ``<name>`` and ``hparams/<name>`` will do for one that the project brings
    folder : that ``path`` is relative to; None: the working folder

    Returns
    -------
    Path
        The file; ``path`` in ``folder`` where it is nowhere.

    Example
    -------
    >>> find_yaml("acorl_ecapa.yaml", Path("/nowhere")).parent.name
    'hparams'
    """
    path = Path(path)
    own = path if folder is None else folder / path
    if own.exists() or path.is_absolute() or ".." in path.parts:
        return own
    name = path.relative_to("hparams") if path.parts[:1] == ("hparams",) else path
    return next((place / name for place in _FOLDERS if (place / name).is_file()), own)
