"""The link that a report gets to its analysis."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

import pytest

from acorl_sb.report.analysis_page import link_from


class Links(HTMLParser):
    """Where a page's links lead, and what elements it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]


@pytest.mark.parametrize(
    "name",
    ["analysis", "run #2", 'a"b', '"><b>x', "50%20", "what?", "a&amp;b", "größe", "mailto:x"],
)
def test_the_link_leads_to_the_analysis_whatever_its_folder_is_called(tmp_path, name):
    report, target = tmp_path / "report.html", tmp_path / name / "analysis.html"
    report.write_text("<main></main>")
    target.parent.mkdir()
    target.write_text("here")
    link_from(report, target)
    page = Links(report.read_text(encoding="utf-8"))
    assert page.tags == ["main", "p", "a"]
    where = urlsplit(urljoin(report.as_uri(), *page.links))
    assert where.scheme == "file" and not where.query and not where.fragment
    assert Path(url2pathname(where.path)).read_text() == "here"
