"""Hooks of mkdocs.yml: pages link to files outside of docs/ as they do on GitHub.

Those files, the README and the YAMLs among them, become part of the site under ``project/``, and
links are rewritten to lead there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OUTSIDE = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "hparams/**/*.yaml"),
    "acorl_sb/models/*/*.md",
    *("recipes/**/*.md", "recipes/**/*.yaml", "recipes/**/*.svg", "recipes/**/*.png"),
)
_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^()\s#]+)")


def on_config(config):
    """Anchors of headings are GitHub's."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    return config


def slug(text: str, separator: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", separator)


def on_files(files, config):
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            if "results" not in path.parts:
                files.append(File.generated(config, in_site(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    here = Path(page.file.abs_src_path).parent

    def lead(link: re.Match) -> str:
        target = (here / link[1]).resolve()
        if not target.is_relative_to(ROOT) or not target.is_file():
            return link[0]  # mkdocs says so
        return posixpath.relpath(in_site(target), posixpath.dirname(page.file.src_uri) or ".")

    return _LINK.sub(lead, markdown)


def in_site(path: Path) -> str:
    """Where a file of the project lies in the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return f"project/{path.relative_to(ROOT).as_posix()}"
