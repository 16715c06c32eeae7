"""What the documents name is there: links, anchors, files, modules, Python names, keys."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import pytest
from speechbrain.utils.run_opts import RunOptions

from acorl_sb.analysis.analyse_options import AnalyseOptions
from acorl_sb.analysis.group_options import GroupOptions
from acorl_sb.encoders.embed_options import EmbedOptions
from acorl_sb.fusion.evaluate_options import EvaluateOptions
from acorl_sb.fusion.fuse_options import FuseOptions
from acorl_sb.scoring.score_options import ScoreOptions
from acorl_sb.utils.option_kinds import markdown_table

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = {"results", "build", "dist", "node_modules"}
NOT_OURS = {"hyperparams.yaml", "mine.yaml", "other.yaml"}  # written by a run, or by the reader
FOLDERS = ("acorl_sb", "benchmarks", "docs", "hparams", "recipes", "tests")


def documents(root: Path = ROOT) -> list[Path]:
    """Every Markdown file of the project, hidden folders and results left out."""
    return [
        path
        for path in sorted(root.rglob("*.md"))
        if not any(p in SKIPPED or p[0] == "." for p in path.relative_to(root).parts[:-1])
    ]


def code(text: str) -> str:
    """The code of a document: fenced and indented blocks, and what stands in backticks."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"^ {4}.*$", rest, re.M)
    return "\n".join([*fenced, *indented, *re.findall(r"`([^`\n]+)`", rest)])


def anchors(text: str) -> set[str]:
    """Of every heading, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    made: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.*)$", prose, re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        made[slug] = made.get(slug, 0) + 1
    return made.keys() | {f"{slug}-{k}" for slug, n in made.items() for k in range(1, n)}


def placeholders(text: str) -> list[str]:
    return re.findall(r"@[A-Z_]+@|\b(?:TODO|FIXME|XXX|TBD)\b|\{\{.*?\}\}", text)


def dead_links(path: Path) -> list[str]:
    """Links to files of the project, and to headings, that are not there."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"\w+:", target):
            continue  # the web's are not ours to keep
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        there = other.exists()
        if there and anchor:
            there = anchor in anchors(other.read_text(encoding="utf-8"))
        if not there:
            dead.append(target)
    return dead


def missing_files(path: Path) -> list[str]:
    """Paths of ours, below a folder of the project or a script or YAML by its name alone."""
    text = code(path.read_text(encoding="utf-8"))
    named = set(re.findall(rf"(?<![\w./<-])((?:{'|'.join(FOLDERS)})/[\w./-]*[\w/])", text))
    named |= set(re.findall(r"(?<![\w./<>-])([\w-]+(?:/[\w-]+)*\.(?:py|yaml))(?![\w/])", text))
    places = (ROOT, path.parent, ROOT / "hparams", ROOT / "acorl_sb")
    return sorted(
        name
        for name in named - NOT_OURS
        if not any((place / name).exists() for place in places)
        and not ("/" not in name and any(name in names for names in ours()))
    )


@functools.cache
def ours() -> list[set[str]]:
    """File names of every folder of the project."""
    return [{path.name for path in (ROOT / folder).rglob("*.*")} for folder in FOLDERS]


def unknown_names(path: Path) -> list[str]:
    """Dotted names of our package, and modules run by ``python -m``, that cannot be found."""
    text = code(path.read_text(encoding="utf-8"))
    names = set(re.findall(r"(?<![\w./-])(acorl_sb(?:\.\w+)+)(?![\w/])", text))
    for module, imported in re.findall(r"from (acorl_sb[\w.]*) import ([\w, ]+)", text):
        names |= {f"{module}.{name.strip()}" for name in imported.split(",")}
    modules = set(re.findall(r"python3? -m (acorl_sb[\w.]*)", text))
    return sorted(
        [name for name in names if not resolves(name)]
        + [name for name in modules if importlib.util.find_spec(name) is None]
    )


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def unknown_keys(path: Path) -> list[str]:
    """``--key`` of commands with a YAML of ours, or of fusion, that nothing reads."""
    text = re.sub(r"\\\n\s*", " ", code(path.read_text(encoding="utf-8")))
    unknown = []
    for line in text.splitlines():
        if not re.match(r"(python|torchrun|acorl) ", line.strip()):
            continue
        yamls = [n for n in re.findall(r"[\w./-]+\.yaml", line) if (ROOT / n).is_file()]
        if yamls:
            known = set().union(*(keys(ROOT / name) for name in yamls))
            known |= {field.name for field in fields(RunOptions)} | {"nproc_per_node"}
            for script in re.findall(r"[\w./-]+\.py", line):
                known |= set(re.findall(r'add_argument\("--(\w+)"', (ROOT / script).read_text()))
        elif re.match(r"(python fuse\.py|acorl fuse) ", line.strip()):
            known = {*FuseOptions.model_fields, "help"}
        else:
            continue
        given = re.findall(r"(?<=\s)--(\w+)", line.split("#")[0])
        unknown += [f"{line.strip()[:60]}: {key}" for key in given if key not in known]
    return unknown


def keys(yaml: Path) -> set[str]:
    """Top-level keys of a YAML and of those that it inherits."""
    text = yaml.read_text(encoding="utf-8")
    found = set(re.findall(r"^(\w+):", text, re.M))
    for other in re.findall(r"^inherit: *(\S+)", text, re.M):
        found |= keys(yaml.parent / other)
    return found


CHECKS = {
    "placeholders": lambda path: placeholders(path.read_text(encoding="utf-8")),
    "links": dead_links,
    "files": missing_files,
    "names": unknown_names,
    "keys": unknown_keys,
}


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.parametrize("check", CHECKS)
def test_documents_name_what_is_there(path, check):
    assert CHECKS[check](path) == []


def test_each_check_finds_what_is_wrong(tmp_path):
    path = tmp_path / "wrong.md"
    path.write_text(
        "# A heading\n@SECONDS@ [a](#a-heading) [b](#nowhere) [c](gone.md) `docs/gone.md`\n"
        "`acorl_sb.metrics.eer` `acorl_sb.metrics.eeer` `hparams/score.yaml`\n"
        "```\npython train.py hparams/acorl_ecapa.yaml --lr 0.1 --device cpu \\\n    --lamda 3\n"
        "python fuse.py --dev a --tset b\npython -m acorl_sb.skore hparams/score.yaml\n```\n"
    )
    found = {name: check(path) for name, check in CHECKS.items()}
    assert found["placeholders"] == ["@SECONDS@"]
    assert found["links"] == ["#nowhere", "gone.md"]
    assert found["files"] == ["docs/gone.md"]
    assert found["names"] == ["acorl_sb.metrics.eeer", "acorl_sb.skore", "acorl_sb.skore"]
    assert [key.rsplit(": ")[-1] for key in found["keys"]] == ["lamda", "tset"]


@pytest.mark.parametrize(
    ("page", "keys"),
    [
        ("analysis.md", AnalyseOptions),
        ("embeddings.md", EmbedOptions),
        ("evaluate.md", EvaluateOptions),
        ("fusion.md", FuseOptions),
        ("groups.md", GroupOptions),
        ("scoring.md", ScoreOptions),
    ],
)
def test_tables_of_keys_are_those_of_the_declaration(page, keys):
    assert markdown_table(keys) in (ROOT / "docs" / page).read_text(encoding="utf-8")
