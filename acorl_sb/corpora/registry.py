"""The corpora by name.

A corpus is one module, of this package or of the user's own, with one function,

    collect(data_folder, **its own options) -> Corpus

that checks the folder's layout and lists the utterances of the corpus's own splits. ``collect`` may
also take ``save_folder``, where it may keep what it needs again. A corpus that can do without a
data folder also has ``default_folder(**its own options) -> Path``. The corpus is called as its
module, or as the module's ``NAME`` says.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from acorl_sb.corpora.corpus_type import Corpus
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.option_kinds import hint


def known_corpora() -> list[str]:
    """Names of the corpora: the modules of this package that define ``collect``."""
    return sorted(_corpora())


def corpus_module(name: str) -> ModuleType:
    """The module of a corpus: one of this package, else one of the user's own.

    Arguments
    ---------
    name : one of :func:`known_corpora`; any other is the dotted name of a module that Python can
        import, so its folder must be on ``PYTHONPATH``. It is a name, never a path.

    Returns
    -------
    module
        It has the function ``collect``.

    Raises
    ------
    UserError
        For a name that is neither, and for a module that fails or that has no ``collect``.

    Example
    -------
    >>> corpus_module("folder").__name__
    'acorl_sb.corpora.folder'
    """
    known = _corpora()
    if name in known:
        return known[name]
    unknown = (
        f"unknown corpus {name!r}; known are {', '.join(sorted(known))}, and modules with the "
        f"function collect on PYTHONPATH{hint(name, sorted(known))}"
    )
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names or not all(part.isidentifier() for part in parts):
        raise UserError(unknown)
    try:
        module = importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise UserError(unknown) from None
        raise UserError(f"the corpus {name}: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "collect", None)):
        raise UserError(unknown)
    return module


def _corpora() -> dict[str, ModuleType]:
    """Name -> module of every corpus of this package."""
    package = importlib.import_module("acorl_sb.corpora")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    modules = (importlib.import_module(f"acorl_sb.corpora.{name}") for name in names)
    return {
        getattr(module, "NAME", module.__name__.rpartition(".")[2]): module
        for module in modules
        if hasattr(module, "collect")
    }


def find_corpus(
    corpus: str, data_folder: str | os.PathLike | None, options: dict[str, Any]
) -> tuple[Callable[..., Corpus], Path | None]:
    """The corpus's ``collect`` and the folder for it."""
    module = corpus_module(corpus)
    accepted = [
        name
        for name in inspect.signature(module.collect).parameters
        if name not in ("data_folder", "save_folder")
    ]
    for name in options:
        if name not in accepted:
            raise UserError(
                f"corpus {corpus}: unknown option {name!r}; "
                f"known are {', '.join(accepted) or 'none'}"
            )
    if data_folder is None and hasattr(module, "default_folder"):
        return module.collect, module.default_folder(**options)
    return module.collect, None if data_folder is None else Path(data_folder)
