"""Reading a script's YAML and command line the SpeechBrain way, with unknown keys as errors.

HyperPyYAML resolves references and builds objects. It takes any key in a YAML and builds all
at once; what is known, inherited and built later is decided here.
"""

from __future__ import annotations

import contextlib
import copy
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ruamel.yaml
import yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references

from acorl_sb.utils import yaml_bounds
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.option_kinds import ABSENT, REQUIRED, hint
from acorl_sb.utils.packaged import find_yaml
from acorl_sb.utils.yaml_dump import ExactYAML, dump, exactly

if TYPE_CHECKING:  # importing SpeechBrain takes longer than fusing some score files
    from speechbrain.utils.run_opts import RunOptions

_MOST_REFERENCES = 10  # one to another to another
_INCLUDE = re.compile(r"!include:([^/\s][^\s,{}\[\]]*)")


class Loaded(NamedTuple):
    """``hparams`` (objects built), ``lazy`` (resolved subtrees, not built), ``run_opts``, ``text``.

    ``text`` is the resolved YAML: includes, references and overrides put in; ``path`` its file.
    """

    hparams: dict[str, Any]
    lazy: dict[str, Any]
    run_opts: RunOptions | None
    text: str
    path: Path | None = None

    def plain(self, keys: Iterable[str]) -> dict[str, Any]:
        """These keys as plain values, for a record of the run."""
        tree = ruamel.yaml.YAML().load(self.text)
        return {key: plain(tree[key]) for key in keys}


def load(
    path: Path | None,
    given: Mapping[str, Any],
    known: Mapping[str, Any],
    lazy: Iterable[str] = (),
    check: Callable[[dict[str, Any]], Any] = lambda values: None,
) -> Loaded:
    """Read a YAML, put in what is ``given`` for its keys, and build what it names.

    A YAML may begin with ``inherit: other.yaml``: its keys then replace those of the other.

    Arguments
    ---------
    path : the YAML, see ``find_yaml``; None: there is none, only what is given
    given : values in place of the YAML's
    known : the keys that the script reads, with the value where the YAML leaves one out:
        ``REQUIRED`` is none, ``ABSENT`` leaves it out. A top-level key that is not known is one
        that another place of the file refers to
    lazy : keys that are resolved but not built; see ``build``
    check : called with all values before references are resolved and before anything is built;
        what stands for an object is ``Tagged`` then

    Returns
    -------
    Loaded
        Values and objects by key, the lazy keys as trees, and the YAML with all put in as text.

    Raises
    ------
    UserError
        For a file that is missing or not YAML, an unknown or missing key, and an object that
        cannot be built.
    """
    path = path and find_yaml(path)
    where, lazy = str(path or "the command line"), set(lazy)
    with in_words(where):
        tree, referred = _read(path, known) if path else (ruamel.yaml.CommentedMap(), set())
        _check_keys(where, set(tree), {*known, *referred}, "read by this script")
        read = {key for key, value in known.items() if value is not ABSENT}
        _check_keys("the command line", set(given), {*tree, *read, *referred}, f"in {where}")
        tree.update(given)
        for key, value in known.items():
            if value is REQUIRED and key not in tree:
                raise UserError(f"{where}: the key {key!r} is missing; this script reads it")
            if value is not ABSENT:
                tree.setdefault(key, copy.deepcopy(value))
        _check_includes(Path(where), tree)
        check({key: _whole(untagged(value)) for key, value in tree.items()})
        text = _resolved(dump(tree))
        resolved = ExactYAML().load(text)
        check(untagged(resolved))
    aside = {key: resolved.pop(key) for key in lazy}
    try:
        return Loaded(build(resolved, where), aside, None, text, path)
    except UserError:
        for key, value in resolved.items():  # all over again, to say which it is
            build({key: value}, f"{where}: the key {key!r}")
        raise


def _resolved(text: str) -> str:
    """A YAML with its references resolved, also those to a key further down that is one itself."""
    for _ in range(_MOST_REFERENCES):
        with exactly():
            before, text = text, resolve_references(text).getvalue()
        if "!ref" not in text or text == before:
            break
    return text


def build(tree: Any, where: str) -> Any:
    """Build the objects of a resolved YAML subtree; every call makes new ones.

    Raises ``UserError``, naming ``where``, when one cannot be built.
    """
    with in_words(where), exactly():
        return load_hyperpyyaml(dump(tree), loader=_Loader)


class _Loader(yaml.SafeLoader):
    """PyYAML's, but 1e-3 is a number as in YAML 1.2, which the file is read by."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


@contextlib.contextmanager
def in_words(where: str) -> Iterator[None]:
    """Turn what a file or an object of the user's raises into one sentence that says where."""
    try:
        yield
    except UserError:
        raise
    except (ruamel.yaml.error.YAMLError, yaml.YAMLError) as error:
        raise UserError(f"{where}: not readable as YAML ({one_line(error)})") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply, or refers to itself") from None
    except Exception as error:
        raise UserError(f"{where}: {one_line(error)}") from error


class Tagged(NamedTuple):
    """Stands for an object of the YAML that is not built yet, or a reference not resolved."""

    tag: str

    def __repr__(self) -> str:
        return self.tag


def untagged(tree: Any) -> Any:
    """A YAML subtree as dictionaries, lists and scalars; what has a tag becomes ``Tagged``."""
    tag = getattr(getattr(tree, "tag", None), "value", None)
    if tag:
        return Tagged(tag)
    if isinstance(tree, dict):
        return {key: untagged(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [untagged(value) for value in tree]
    return plain(tree) if isinstance(tree, bool | int | float | str) else tree


def _whole(value: Any) -> Any:
    """``Tagged`` for a value with references inside, which cannot be looked at before those."""

    def tags(part: Any) -> Iterator[Tagged]:
        if isinstance(part, Tagged):
            yield part
        elif isinstance(part, dict | list):
            for inner in part.values() if isinstance(part, dict) else part:
                yield from tags(inner)

    return next(tags(value), value)


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
    with in_words(str(path)):
        return _read(path)[0]


def read_resolved(path: Path) -> Any:
    """A YAML file with what it inherits, includes and refers to put in; nothing is built.

    Raises ``UserError`` as ``read_tree`` does.
    """
    return ruamel.yaml.YAML().load(_resolved(dump(read_tree(path))))


def _read(
    path: Path, known: Iterable[str] = (), chain: tuple[Path, ...] = ()
) -> tuple[Any, set[str]]:
    """The tree, and all keys that it or a file that it inherits refers to.

    ``known`` are keys that the YAML may have though one that it inherits has not; ``chain`` the
    files that led here.
    """
    if path.resolve() in chain:
        raise UserError(f"{path}: the file inherits or includes itself")
    if not path.is_file():
        raise UserError(f"{path}: no such YAML file")
    chain = (*chain, path.resolve())
    beside = path.resolve().parent
    with in_words(str(path)):
        text = yaml_bounds.read_text(path)
        text = _INCLUDE.sub(lambda found: f"!include:{find_yaml(found[1], beside)}", text)
        tree = ruamel.yaml.YAML().load(text)
        if not isinstance(tree, dict):
            raise UserError(f"{path}: a YAML of keys and values is needed")
        yaml_bounds.check_aliases(tree)
        _check_includes(path, tree, chain)
        referred = set(_referred(tree))
    parent = tree.pop("inherit", None)
    if parent is None:
        return tree, referred
    if not isinstance(parent, str):
        raise UserError(f"{path}: the key 'inherit' must be the name of a file, not {parent!r}")
    inherits = find_yaml(parent, path.parent)
    if not inherits.is_file():
        raise UserError(f"{path}: inherits {parent}: no such YAML file")
    inherited, referred_before = _read(inherits, known, chain)
    allowed = {*inherited, *referred, *known}
    _check_keys(path, set(tree), allowed, f"in {parent}, which it inherits")
    inherited.update(tree)
    return inherited, referred | referred_before


def _referred(tree: Any) -> list[str]:
    return re.findall(r"<([A-Za-z_]\w*)", dump(tree))


def _check_includes(path: Path, tree: Any, chain: tuple[Path, ...] = ()) -> None:
    """UserError for a file that includes itself, and for a key that an included one lacks."""
    tag = getattr(getattr(tree, "tag", None), "value", None) or ""
    included = Path(tag.removeprefix("!include:"))
    if tag.startswith("!include:") and included.is_file():  # a missing one is named later
        inner, _ = _read(included, chain=chain)
        keys = set(tree) if isinstance(tree, dict) else set()
        _check_keys(path, keys, set(inner), f"in {included.name}, included")
    for value in (
        tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    ):
        _check_includes(path, value, chain)


def _check_keys(where: str | Path, keys: set[str], allowed: Iterable[str], place: str) -> None:
    for key in sorted(keys - set(allowed), key=str):
        near = hint(key, sorted(map(str, allowed)))
        raise UserError(f"{where}: the key {key!r} is not {place}{near or '; remove it'}")


def one_line(error: BaseException) -> str:
    """What an exception says, on one line and cut where it is long."""
    parts = [str(part) for part in error.args] if len(error.args) > 1 else [str(error)]
    if isinstance(error, KeyError | OSError | UnicodeError) or hasattr(error, "problem"):
        parts = [str(error.args[0] if isinstance(error, KeyError) and error.args else error)]
    text = " ".join(": ".join(parts).split())
    if not text:  # as of an assertion, whose condition then says most
        line = traceback.extract_tb(error.__traceback__)[-1:]
        text = f"{type(error).__name__}{''.join(f', {frame.line}' for frame in line)}"
    return text if len(text) <= 300 else f"{text[:297]}..."
