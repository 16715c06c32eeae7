"""Docstrings have one form: NumPy's sections, as SpeechBrain names them; and they hold true.

* A public function or class with arguments has a docstring; so has a public method, unless it
  overrides one of a base class, whose docstring then holds.
* Sections are ``SECTIONS``, each with a line of hyphens below its name.
* ``Arguments`` names arguments that there are; where it stands and something is returned, so does
  ``Returns`` or ``Yields``.
* What returns a tensor or an array says its shape; what returns a tuple names its parts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "acorl_sb"
SECTIONS = ("Arguments", "Returns", "Yields", "Raises", "Attributes", "Example", "Examples")
OTHER_NAMES = re.compile(
    r"^(Args|Arguments|Parameters|Params|Returns?|Yields?|Raises|Attributes|Examples?):$|^:param ",
    re.MULTILINE,
)
HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
SHAPE = re.compile(r"\([\w*+. -]{1,12},[^()]{0,24}\)|\bscalar\b|\bshape\b|as long as")
PARTS = re.compile(r"\band\b|\([^()]+, [^()]+\)")
ARRAYS = ("Tensor", "ndarray")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST, ast.ClassDef | None]]:
    """(name, node, its class) of every public function, class and method."""
    for node in tree.body:
        if isinstance(node, (*Function.__args__, ast.ClassDef)) and node.name[0] != "_":
            yield node.name, node, None
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, Function) and part.name[0] != "_":
                        yield f"{node.name}.{part.name}", part, node


def arguments(node: Function) -> list[str]:
    every = node.args
    named = [*every.posonlyargs, *every.args, *every.kwonlyargs]
    return [
        a.arg for a in [*named, every.vararg, every.kwarg] if a and a.arg not in ("self", "cls")
    ]


def names_of(node: ast.AST) -> set[str]:
    """What a section Arguments may name: arguments, or the fields of a dataclass."""
    if isinstance(node, Function):
        return set(arguments(node))
    fields = {
        part.target.id
        for part in node.body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    inits = [p for p in node.body if isinstance(p, Function) and p.name == "__init__"]
    return fields.union(*map(arguments, inits))


def sections(text: str) -> dict[str, str]:
    """Heading -> what stands below it."""
    pieces = HEADING.split(text)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def faults(node: ast.AST, owner: ast.ClassDef | None) -> list[str]:
    """What is wrong with a docstring, in words."""
    text = ast.get_docstring(node)
    is_function = isinstance(node, Function)
    if text is None:
        has_base = owner is not None and owner.bases
        needs = arguments(node) if is_function else names_of(node)
        return ["has none"] if needs and not has_base else []
    wrong = [f"has a section written '{m.group()}'" for m in OTHER_NAMES.finditer(text)]
    found = sections(text)
    wrong += [f"has a section '{name}'" for name in found if name not in SECTIONS]
    known = names_of(node)
    for line in re.findall(r"^(\w[\w*, ]*?) : ", found.get("Arguments", ""), re.MULTILINE):
        wrong += [f"tells of '{n}'" for n in line.replace("*", "").split(", ") if n not in known]
    if is_function and node.returns is not None and not is_property(node):
        given = ast.unparse(node.returns)
        told = {"Returns", "Yields"} & found.keys()
        if any(kind in given for kind in ARRAYS) and not SHAPE.search(text):
            wrong.append(f"says no shape of its {given}")
        if "Arguments" in found and given != "None" and not told:
            wrong.append(f"has Arguments, but no section Returns for its {given}")
        if given.startswith("tuple[") and not told and not PARTS.search(text):
            wrong.append(f"does not name the parts of its {given}")
    return wrong


def is_property(node: Function) -> bool:
    return any("property" in ast.unparse(mark) for mark in node.decorator_list)


def all_faults(text: str) -> list[str]:
    """Of a module: ``name: what is wrong`` with each public docstring."""
    return [
        f"{name}: {fault}"
        for name, node, owner in definitions(ast.parse(text))
        for fault in faults(node, owner)
    ]


@pytest.mark.parametrize("room", sorted(p.name for p in PACKAGE.iterdir() if p.suffix != ".pyc"))
def test_docstrings(room):
    files = [PACKAGE / room] if room.endswith(".py") else sorted((PACKAGE / room).rglob("*.py"))
    found = {str(p): wrong for p in files if (wrong := all_faults(p.read_text(encoding="utf-8")))}
    assert found == {}


def test_the_checks_see_what_is_wrong():
    def wrong(signature, docstring):
        return all_faults(f'def f{signature}:\n    """{docstring}"""\n')

    section = "Does.\n\n    {}\n    ---------\n    x : int\n"
    assert wrong("(x)", section.format("Arguments")) == []
    assert wrong("(y)", section.format("Arguments"))
    assert wrong("(x)", section.format("Parameters"))
    assert wrong("(x) -> int", section.format("Arguments"))
    assert wrong("(x)", "Does.\n\n    Raises:\n        ValueError: always.")
    assert wrong("() -> torch.Tensor", "The scores.") and not wrong("() -> Tensor", "Scores (N,).")
    assert wrong("() -> tuple[int, int]", "Bounds.") and not wrong(
        "() -> tuple[int]", "Low and high."
    )
    assert all_faults("def f(x):\n    pass") and not all_faults("def _f(x):\n    pass")
    assert not all_faults("class C(Base):\n    def forward(self, x):\n        pass")
