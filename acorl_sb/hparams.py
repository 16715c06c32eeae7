"""Reading a script's YAML and command line the SpeechBrain way, with unknown keys as errors."""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from speechbrain.utils.run_opts import RunOptions

from acorl_sb.errors import UserError


class Loaded(NamedTuple):
    """``hparams`` (objects built), ``lazy`` (resolved subtrees, not built), ``run_opts``, ``text``.

    ``text`` is the resolved YAML: includes, references and overrides put in.
    """

    hparams: dict[str, Any]
    lazy: dict[str, Any]
    run_opts: RunOptions
    text: str

    def plain(self, keys: Iterable[str]) -> dict[str, Any]:
        """These keys as plain values, for a record of the run."""
        tree = ruamel.yaml.YAML().load(self.text)
        return {key: plain(tree[key]) for key in keys}


def load_hparams(argv: Sequence[str], known: Iterable[str], lazy: Iterable[str] = ()) -> Loaded:
    """Parse ``hparams.yaml [--key value ...]`` and build what the YAML names.

    A YAML may begin with ``inherit: other.yaml``: its keys then replace those of the other.
    A top-level key is known when the script reads it (``known`` and ``lazy``) or when another
    place of the file refers to it. The keys of ``lazy`` are resolved but not built; see ``build``.

    Raises ``UserError`` for a file that is missing or not YAML, an unknown or missing key, and
    an object that cannot be built.
    """
    path, run_opts, overrides = RunOptions.from_command_line_args(list(argv))
    known, lazy = set(known), set(lazy)
    try:
        tree, referred = _read(Path(path))
        given = ruamel.yaml.YAML().load(overrides) or {}
        if not isinstance(given, dict):
            raise UserError(f"the command line: {overrides!r} is not of the form --key value")
        allowed = known | lazy | referred
        _check_keys(path, set(tree), allowed, "read by this script")
        _check_keys("the command line", set(given), set(tree), f"in {path}")
        tree.update(given)
        text = resolve_references(dump(tree)).getvalue()
    except ruamel.yaml.error.YAMLError as error:
        raise UserError(f"{path}: not readable as YAML ({_one_line(error)})") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UserError(f"{path}: {_one_line(error)}") from None
    missing = sorted((known | lazy) - set(tree))
    if missing:
        raise UserError(f"{path}: the key {missing[0]!r} is missing; this script reads it")
    resolved = ruamel.yaml.YAML().load(text)
    aside = {key: resolved.pop(key) for key in lazy}
    return Loaded(build(resolved, path), aside, run_opts, text)


def build(tree: Any, where: str) -> Any:
    """Build the objects of a resolved YAML subtree; every call makes new ones.

    Raises ``UserError``, naming ``where``, when one cannot be built.
    """
    try:
        return load_hyperpyyaml(dump(tree))
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, ImportError, OSError) as error:
        raise UserError(f"{where}: {_one_line(error)}") from None


def plain(tree: Any) -> Any:
    """A resolved YAML subtree as dictionaries, lists and scalars; tags become a ``!tag`` entry."""
    tag = getattr(getattr(tree, "tag", None), "value", None)
    if isinstance(tree, dict):
        items = {str(key): plain(value) for key, value in tree.items()}
        return {"!tag": tag, **items} if tag else items
    if isinstance(tree, list):
        return [plain(value) for value in tree]
    if isinstance(tree, bool | int | float) or tree is None:
        return tree
    return f"{tag} {tree}" if tag else str(tree)


def read_tree(path: Path) -> Any:
    """A YAML file with what it inherits put in; references and includes are not resolved.

    Includes are made absolute, since they are relative to the file that they stand in.
    Raises ``UserError`` for a missing file and for keys that the inherited file does not have.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[Any, set[str]]:
    """The tree, and all keys that it or a file that it inherits refers to."""
    if not path.is_file():
        raise UserError(f"{path}: no such YAML file")
    beside = f"!include:{path.resolve().parent}/"
    text = re.sub(r"!include:(?=[^/\s])", lambda _: beside, path.read_text(encoding="utf-8"))
    tree = ruamel.yaml.YAML().load(text)
    if not isinstance(tree, dict):
        raise UserError(f"{path}: a YAML of keys and values is needed")
    _check_includes(path, tree)
    referred = set(_referred(tree))
    parent = tree.pop("inherit", None)
    if parent is None:
        return tree, referred
    inherited, referred_before = _read(path.parent / parent)
    _check_keys(path, set(tree), set(inherited) | referred, f"in {parent}, which it inherits")
    inherited.update(tree)
    return inherited, referred | referred_before


def dump(tree: Any) -> str:
    """A YAML tree, tags and all, as text."""
    stream = io.StringIO()
    ruamel.yaml.YAML().dump(tree, stream)
    return stream.getvalue()


def _referred(tree: Any) -> list[str]:
    return re.findall(r"<([A-Za-z_]\w*)", dump(tree))


def _check_includes(path: Path, tree: Any) -> None:
    """UserError for a key put into an included file that does not have it."""
    if not isinstance(tree, dict | list):
        return
    tag = getattr(getattr(tree, "tag", None), "value", None) or ""
    included = Path(tag.removeprefix("!include:"))
    if tag.startswith("!include:") and included.is_file():  # a missing one is named later
        _check_keys(path, set(tree), set(read_tree(included)), f"in {included.name}, included")
    for value in tree.values() if isinstance(tree, dict) else tree:
        _check_includes(path, value)


def _check_keys(where: str | Path, keys: set[str], allowed: set[str], place: str) -> None:
    for key in sorted(keys - allowed, key=str):
        near = difflib.get_close_matches(str(key), sorted(allowed), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; remove it"
        raise UserError(f"{where}: the key {key!r} is not {place}{hint}")


def _one_line(error: Exception) -> str:
    text = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(str(text).split())
