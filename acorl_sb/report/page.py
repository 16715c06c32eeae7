"""What a page is made of, and the one template that shows it; the content is the caller's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from acorl_sb.report.style import Picture, css
from acorl_sb.utils.markdown import code, escape
from acorl_sb.utils.tables import markdown


@dataclass(frozen=True)
class Text:
    """A paragraph, its first words ``strong``; ``look`` is p, lead, soft, warning, h3 or code."""

    text: str
    look: str = "p"
    strong: str = ""
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: Sequence[str]
    kind: ClassVar[str] = "items"


@dataclass(frozen=True)
class Table:
    """Cells of text, the first of a row its name; rows whose number is in ``best`` stand out.

    ``folded``: shown when the reader asks for it.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: frozenset[int] = frozenset()
    folded: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side where there is room."""

    pictures: Sequence[Picture]
    kind: ClassVar[str] = "pictures"


Block = Text | Items | Table | Pictures


@dataclass(frozen=True)
class Section:
    """A heading, ``key`` to link to it by, and what stands below."""

    title: str
    key: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A title, what stands before the first heading, and sections."""

    title: str
    sections: Sequence[Section]
    head: Sequence[Block] = field(default_factory=list)

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, from top to bottom."""
        blocks = [*self.head, *(block for section in self.sections for block in section.blocks)]
        return [p for block in blocks if isinstance(block, Pictures) for p in block.pictures]


def as_html(page: Page) -> str:
    """One HTML file that needs nothing else: no script, no font, no request."""
    environment = Environment(
        loader=PackageLoader("acorl_sb", "report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(page=page, colours=css())


def as_markdown(page: Page, folder: str) -> str:
    """The same as Markdown; the pictures are links to files of ``folder``."""
    parts = [f"# {escape(page.title)}", *_markdown(page.head, folder)]
    for section in page.sections:
        parts += [f"## {escape(section.title)}", *_markdown(section.blocks, folder)]
    return "\n\n".join(parts) + "\n"


def _markdown(blocks: Sequence[Block], folder: str) -> list[str]:
    marks = {"h3": "### {}", "warning": "**{}**"}
    parts: list[str] = []
    for block in blocks:
        if isinstance(block, Text):
            if block.look == "code":
                parts.append(code(block.text))
                continue
            strong = f"**{escape(block.strong)}** " if block.strong else ""
            parts.append(marks.get(block.look, "{}").format(strong + escape(block.text)))
        elif isinstance(block, Items):
            parts.append("\n".join(f"- {escape(item)}" for item in block.items))
        elif isinstance(block, Table):
            parts.append(markdown(block.header, block.rows).rstrip())
        else:
            parts += [f"![{escape(p.title)}]({folder}/{p.key}.svg)" for p in block.pictures]
    return parts
