"""The documents as a site: it is built without a warning, and every link of it leads somewhere."""

from __future__ import annotations

import posixpath
import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("mkdocs")
from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
    build(config)  # a warning ends it
    return folder


def links(page):
    """What a page links to, as paths in the site with their anchors."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.S)
    return {unquote(unescape(t)) for t in re.findall(r'(?:href|src)="([^"]*)"', text)}


def test_every_document_is_a_page(site):
    for path in (ROOT / "docs").glob("*.md"):
        assert (site / path.stem / "index.html").is_file() or path.stem == "index"
    for name in ("README.md", "recipes/speechocean762/README.md"):
        assert (site / "project" / Path(name).parent / "index.html").is_file()


def test_every_link_leads_somewhere(site):
    dead = []
    for page in site.rglob("*.html"):
        for link in links(page) if page.name != "404.html" else ():
            name, _, anchor = link.partition("#")
            if re.match(r"\w+:", link):
                continue
            target = (
                site / posixpath.normpath((page.parent / name).relative_to(site)) if name else page
            )
            target = target / "index.html" if target.is_dir() else target
            there = target.is_file()
            if there and anchor and target.suffix == ".html":
                there = f'id="{anchor}"' in target.read_text(encoding="utf-8")
            if not there:
                dead.append(f"{page.relative_to(site)}: {link}")
    assert dead == []


def test_nothing_of_a_page_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]*\bsrc="(?:https?:)?//[^"]*', text)
        assert not re.findall(r'<link[^>]*rel="stylesheet"[^>]*href="(?:https?:)?//[^"]*', text)
