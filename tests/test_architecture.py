"""The flow of data runs one way: no package imports one that stands above it.

The imports are read from the source, those inside of functions too; what is only for the type
checker does not count.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "acorl_sb"
# From the ground up; packages of one floor know nothing of each other.
FLOORS = (
    ("utils", "complementarity"),
    ("data",),
    ("metrics", "corpora", "encoders"),
    ("training",),
    ("scoring",),
    ("fusion",),
    ("store", "analysis"),
    ("report", "inference"),
    ("demo",),
    ("cli",),
    ("__main__",),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
LONGEST, LONGEST_COMMAND = 300, 150


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Dotted name -> file of every module and package, ``acorl_sb`` itself left out."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found.pop(package.name, None)
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ``known`` that a file imports."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        waiting += ast.iter_child_nodes(node)
    # "from package import thing": the thing is a module, or stands in the package's own file.
    places = {name if name in known else name.rpartition(".")[0] for name in names}
    return places & known.keys()


def upward(known: dict[str, Path]) -> list[str]:
    """Imports of another package that does not stand below."""
    wrong = []
    for name, path in known.items():
        own = name.split(".")[1]
        for other in sorted(imports(path, known)):
            package = other.split(".")[1]
            if package != own and FLOOR[package] >= FLOOR[own]:
                wrong.append(f"{name} imports {other}")
    return wrong


def circle(known: dict[str, Path]) -> list[str]:
    """Modules that import each other in a circle, one after the other; none: empty."""
    graph = {name: imports(path, known) - {name} for name, path in known.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_every_package_has_its_floor():
    assert {name.split(".")[1] for name in modules()} <= FLOOR.keys()


def test_imports_run_down():
    assert upward(modules()) == []


def test_complementarity_stands_alone():
    known = modules()
    core = {n: p for n, p in known.items() if n.split(".")[1] == "complementarity"}
    assert core and all(imports(path, known) <= core.keys() for path in core.values())


def test_complementarity_and_the_ensemble_need_nothing_but_torch():
    code = (
        "import sys, acorl_sb.complementarity, acorl_sb.encoders.ensemble\n"
        "core = ('acorl_sb.complementarity', 'acorl_sb.encoders.ensemble')\n"
        "ours = {m for m in sys.modules if m.startswith('acorl_sb.')} - {'acorl_sb.encoders'}\n"
        "names = ('speechbrain', 'torchaudio', 'soundfile', 'torchvision', 'PIL', 'sklearn')\n"
        "ours = [m for m in ours if not m.startswith(core)]\n"
        "print(ours, [m for m in names if m in sys.modules])\n"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"


def test_modules_import_each_other_in_no_circle():
    assert circle(modules()) == []


def test_no_two_modules_share_a_name():
    """But the packages' own files do, and a command is named as the user types it."""
    names = Counter(
        name.split(".")[-1]
        for name, path in modules().items()
        if path.name != "__init__.py" and name.split(".")[1] != "cli"
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_files_are_short():
    long = {}
    for name, path in modules().items():
        limit = LONGEST_COMMAND if name.startswith("acorl_sb.cli.") else LONGEST
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > limit:
            long[name] = lines
    assert long == {}


@pytest.fixture
def toy(tmp_path):
    """A package of three modules, to be spoiled."""
    package = tmp_path / "acorl_sb"
    for name, text in {
        "__init__": "",
        "utils/__init__": "",
        "utils/a": "import os",
        "data/__init__": "from acorl_sb.data.b import thing",
        "data/b": "from acorl_sb.utils import a\nthing = 1",
        "fusion/__init__": "",
        "fusion/c": "from acorl_sb.data import thing",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_text(text)
    return package


def test_the_checks_see_what_is_wrong(toy):
    assert upward(modules(toy)) == [] and circle(modules(toy)) == []
    known = modules(toy)
    assert imports(known["acorl_sb.fusion.c"], known) == {"acorl_sb.data"}
    (toy / "utils" / "a.py").write_text("def f():\n    import acorl_sb.fusion.c")
    assert upward(modules(toy)) == ["acorl_sb.utils.a imports acorl_sb.fusion.c"]
    assert len(circle(modules(toy))) > 2
    (toy / "utils" / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import acorl_sb.fusion.c"
    )
    assert upward(modules(toy)) == [] and circle(modules(toy)) == []
    (toy / "data" / "b.py").write_text("from acorl_sb.data import thing")
    assert set(circle(modules(toy))) == {"acorl_sb.data", "acorl_sb.data.b"}
