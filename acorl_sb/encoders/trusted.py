"""Encoders from a folder's ``hyperparams.yaml``, without running code that the folder brings.

HyperPyYAML calls whatever a YAML names, so ``!apply:os.system`` in somebody's folder would run a
command. Here such a file may name only modules of the packages in ``HOMES`` (``!new:``,
``!name:``), refer to its own keys (``!ref``, ``!copy``) and hold plain values; only the keys that
are asked for are built. Anything else needs the word of the user: ``trust``.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ruamel.yaml
from hyperpyyaml.core import parse_arithmetic
from torch import nn

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import build

HOMES = (
    "acorl_sb.encoders.encoder",
    "acorl_sb.encoders.ge2e",
    "acorl_sb.encoders.joined",
    "acorl_sb.encoders.kaldi_fbank",
    "acorl_sb.encoders.onnx_encoder",
    "acorl_sb.encoders.wavlm",
    "speechbrain.lobes.features",
    "speechbrain.lobes.models.ECAPA_TDNN",
    "speechbrain.lobes.models.ResNet",
    "speechbrain.lobes.models.Xvector",
    "speechbrain.nnet",
    "speechbrain.processing.features",
    "torch.nn.modules",
)
"""Where a class must be defined to be built from a folder. Not all of ``speechbrain.lobes``: some
of its models load pickles or download what their arguments say."""

_TRUST = "if you trust whoever made it, say trust: true (docs/trust.md)"
_REFERENCE = re.compile(r"<([^<>]*)>")
_ARITHMETIC = re.compile(r"[\d\s.eE+\-*/%()]+")
_TUPLE = re.compile(r"\(.*\)", re.DOTALL)
_MOST_BYTES = 1 << 18
_DEEPEST = 50  # brackets in brackets, which take the parser a time that grows with their square
_MOST_NODES = 20_000
_LONGEST_TEXT = 10_000


class UntrustedError(UserError):
    """A YAML names code that is run on the word of the user alone."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file of keys and values as a tree with its tags; nothing is built or included.

    Raises ``UserError`` for a file that is missing, too large, or no such YAML.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path}: more than {_MOST_BYTES} bytes; not the YAML of an encoder")
        text = path.read_text(encoding="utf-8")
        steps = (1 if c in "[{" else -1 for c in re.findall(r"[\[{}\]]", text))
        if max(itertools.accumulate(steps), default=0) > _DEEPEST:
            raise UserError(f"{path}: more than {_DEEPEST} brackets in one another")
        tree = ruamel.yaml.YAML().load(text)
    except UserError:
        raise
    except Exception as error:  # damaged input makes the parser fail in many ways
        raise UserError(f"{path}: not readable as YAML ({_reason(error)})") from None
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise UserError(f"{path}: a YAML of keys and values is needed")
    return tree


def build_keys(
    tree: Any,
    keys: Iterable[str],
    where: str,
    trust: bool = False,
    homes: Sequence[str] = HOMES,
) -> dict[str, Any]:
    """Build ``keys`` of a tree, those that it has, as far as it may name what they need.

    Arguments
    ---------
    tree : mapping of ``read_yaml``
    keys : top-level keys
    where : names the tree in messages
    trust : bool
        Build everything as HyperPyYAML does, whatever it names: this can run any code.
    homes : packages and modules whose torch modules may be built

    Returns
    -------
    dict
        What was built, by key.

    Raises
    ------
    UserError
        For a tree that names anything else, and what cannot be built.
    """
    try:
        if trust:
            made = build(tree, where)
            return {key: made[key] for key in keys if key in made}
        # What is not built does no harm as long as it is nothing but names of known packages.
        _check(tree, where, {home.partition(".")[0] for home in homes}, set())
        builder = _Builder(tree, where, homes)
        return {key: builder.make(tree[key]) for key in keys if key in tree}
    except UserError:
        raise
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    except Exception as error:  # whatever a constructor raises
        raise UserError(f"{where}: {_reason(error)}") from None


def _check(node: Any, where: str, packages: set[str], seen: set[int]) -> None:
    """Refuse a tag anywhere in the tree that a folder may not use, built or not."""
    if id(node) in seen:
        return
    seen.add(id(node))
    tag = _tag(node)
    kind, colon, name = tag.partition(":")
    if colon and kind in ("!new", "!name"):
        if not _under(name, packages):
            raise UntrustedError(
                f"{where}: it names {name!r}, which is code from elsewhere; {_TRUST}"
            )
    elif tag not in ("", "!ref", "!copy", "!tuple"):
        raise UntrustedError(
            f"{where}: the tag {tag!r}, by which code can be run or files be read; {_TRUST}"
        )
    # HyperPyYAML reads the inside of a tuple with a loader that makes any object.
    text = getattr(node, "value", node)
    if isinstance(text, str) and "!" in text and (tag == "!tuple" or _TUPLE.fullmatch(text)):
        raise UntrustedError(f"{where}: a tag in the tuple {text[:50]!r} can run code; {_TRUST}")
    if isinstance(node, dict):
        for key, value in node.items():
            _check(key, where, packages, seen)
            _check(value, where, packages, seen)
    elif isinstance(node, list):
        for value in node:
            _check(value, where, packages, seen)


class _Builder:
    """Makes the objects of a checked tree; a node that is referred to twice is made once."""

    def __init__(self, tree: Any, where: str, homes: Sequence[str]):
        self.tree, self.where, self.homes = tree, where, homes
        self.made: dict[int, Any] = {}
        self.open: set[int] = set()
        self.nodes = 0

    def make(self, node: Any) -> Any:
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise UserError(f"{self.where}: more than {_MOST_NODES} values; no encoder needs that")
        tag = _tag(node)
        if tag in ("!ref", "!copy"):
            return self._refer(node, tag == "!copy")
        if tag == "!tuple" or isinstance(node, str):
            return _scalar(str(getattr(node, "value", node)), tag == "!tuple")
        if not tag and not isinstance(node, dict | list):
            return self._plain(node)
        if id(node) not in self.made:
            with self._once(node):
                self.made[id(node)] = self._construct(node, tag)
        return self.made[id(node)]

    def _construct(self, node: Any, tag: str) -> Any:
        args: list[Any] = []
        kwargs: dict[Any, Any] = {}
        if isinstance(node, dict):
            kwargs = {self.make(key): self.make(value) for key, value in node.items()}
        elif isinstance(node, list):
            args = [self.make(value) for value in node]
        if not tag:
            return kwargs if isinstance(node, dict) else args
        kind, _, name = tag.partition(":")
        found = find_class(name, self.where, self.homes)
        if kind == "!new":
            return found(*args, **kwargs)
        return functools.partial(found, *args, **kwargs) if args or kwargs else found

    def _refer(self, node: Any, copy: bool) -> Any:
        """The object or the text, with arithmetic done, that a reference stands for."""
        text = str(node.value)
        whole = _REFERENCE.fullmatch(text)
        with self._once(node):
            if whole:
                target = self._target(whole[1])
                if not copy:
                    return self.make(target)
                kept, self.made = self.made, {}
                try:
                    return self.make(target)
                finally:
                    self.made = kept
            text = _REFERENCE.sub(lambda found: str(self.make(self._target(found[1]))), text)
        if len(text) > _LONGEST_TEXT:
            raise UserError(f"{self.where}: a reference becomes {len(text)} characters long")
        # Figures alone, and no powers: an expression must not take for ever.
        return parse_arithmetic(text) if _ARITHMETIC.fullmatch(text) and "**" not in text else text

    def _target(self, reference: str) -> Any:
        branch = self.tree
        for part in reference.split("["):
            key = part.strip("]")
            if not isinstance(branch, dict) or key not in branch:
                raise UserError(f"{self.where}: the reference <{reference}> leads nowhere")
            branch = branch[key]
        return branch

    @contextlib.contextmanager
    def _once(self, node: Any) -> Iterator[None]:
        """A block that is not entered again for the same node: it would contain itself."""
        if id(node) in self.open:
            raise UserError(f"{self.where}: a value refers to itself")
        self.open.add(id(node))
        try:
            yield
        finally:
            self.open.discard(id(node))

    def _plain(self, value: Any) -> Any:
        if isinstance(value, ruamel.yaml.scalarbool.ScalarBoolean):
            return bool(value)
        for kind in (bool, int, float):
            if isinstance(value, kind):
                return kind(value)
        if value is None or isinstance(value, datetime.date):
            return value
        raise UserError(f"{self.where}: a value of the kind {type(value).__name__} is not taken")


def find_class(name: str, where: str, homes: Sequence[str] = HOMES) -> type[nn.Module]:
    """The class of a dotted name, if it is a torch module defined in one of ``homes``.

    What is found is judged, not how it is spelt: a name may lead through imports of a module.
    """
    module, _, attribute = name.rpartition(".")
    if _under(module, (*homes, "torch.nn")):
        try:
            found = vars(importlib.import_module(module)).get(attribute)
        except ImportError:
            found = None
        if found is None:
            raise UserError(f"{where}: there is no class {name}")
        is_module = isinstance(found, type) and issubclass(found, nn.Module)
        if is_module and _under(found.__module__, homes):
            return found
    raise UserError(f"{where}: {name!r} is not among what a folder may build; {_TRUST}")


def _scalar(text: str, is_tuple: bool) -> Any:
    """A text, or the tuple that HyperPyYAML takes ``(1, 2)`` for."""
    if not is_tuple and not _TUPLE.fullmatch(text):
        return text
    return tuple(ruamel.yaml.YAML(typ="safe", pure=True).load(f"[{text[1:-1]}]"))


def _tag(node: Any) -> str:
    return getattr(getattr(node, "tag", None), "value", None) or ""


def _under(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
