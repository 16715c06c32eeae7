"""One look for every picture and page: colours for light and dark, and Matplotlib's SVG made ours.

A picture is drawn in the light colours. In its SVG each of them becomes a CSS variable, so the same
picture follows the reader's scheme, on the page and as a file of its own.
"""

from __future__ import annotations

import io
import itertools
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from acorl_sb.utils import files

COLOURS = {  # name: (light, dark); every light one is there once, since it stands for its name
    "bg": ("#ffffff", "#14171b"),
    "panel": ("#fdfdfe", "#1b1f24"),
    "ink": ("#1c2128", "#e8ecf0"),
    "soft": ("#57606a", "#a5afba"),
    "rule": ("#d5dae0", "#39414a"),
    "grid": ("#e6e9ed", "#2a3037"),
    "heat": ("#0b5cad", "#6cb6ff"),
    "heat-low": ("#000001", "#ffffff"),
    "heat-mid": ("#000002", "#000000"),
    "heat-high": ("#fffffe", "#000000"),
    "good": ("#0b6b45", "#5fd3a0"),
    "bad": ("#b42318", "#ff8f85"),
    "target": ("#0b6fb8", "#6cb6fe"),
    "nontarget": ("#c2570c", "#ff9d6b"),
    "c0": ("#0b62b8", "#6cb6ff"),
    "c1": ("#c2410c", "#ff9a62"),
    "c2": ("#0f7b53", "#5fd3a0"),
    "c3": ("#8b3fb5", "#cf9bf0"),
    "c4": ("#8f6000", "#e3b341"),
    "c5": ("#b4236b", "#ff8fc0"),
    "c6": ("#0e7490", "#56d4e8"),
    "c7": ("#5f6873", "#b3bcc6"),
}
LIGHT = {name: light for name, (light, _) in COLOURS.items()}
_NAMES = {light: name for name, light in LIGHT.items()}

MEMBER_COLOURS = tuple(LIGHT[f"c{n}"] for n in range(8))
DASHES = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1.5)))
MARKERS = "osD^vPX*<>h"
"""Colour, dash and marker of the n-th member, in every picture: any of them alone tells it."""

WIDTH = 4.0  # inches; with 9 pt letters a picture can be read at the width of a phone
RC = {
    "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "legend.fontsize": 9,
    "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "text.parse_math": False,
    "text.color": LIGHT["ink"], "axes.labelcolor": LIGHT["ink"], "axes.edgecolor": LIGHT["soft"],
    "xtick.color": LIGHT["soft"], "ytick.color": LIGHT["soft"], "axes.facecolor": "none",
    "axes.grid": True, "axes.axisbelow": True, "grid.color": LIGHT["grid"],
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "legend.handlelength": 3.2, "legend.borderpad": 0, "legend.borderaxespad": 0,
    "svg.fonttype": "none", "svg.hashsalt": "acorl_sb",
}  # fmt: skip


def css() -> str:
    """The colours as CSS variables, and what every picture's text needs."""
    light, dark = (
        "".join(f"--{name}:{pair[scheme]};" for name, pair in COLOURS.items()) for scheme in (0, 1)
    )
    return (
        f":root{{color-scheme:light dark;{light}}}"
        f"@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
        "svg.figure{display:block;width:100%;height:auto;"
        "font-family:'DejaVu Sans',Verdana,system-ui,sans-serif}"
    )


@dataclass(frozen=True)
class Picture:
    """A finished picture: ``key`` is its id and file name, ``note`` a sentence to stand below it.

    ``description`` is for those who do not see it.
    """

    key: str
    title: str
    description: str
    figure: Figure
    note: str = ""

    @cached_property
    def svg(self) -> str:
        """The ``<svg>`` element, to stand in a page that has ``css()``."""
        text = io.StringIO()
        FigureCanvasSVG(self.figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with matplotlib.rc_context(RC), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # the browser's fonts have more letters
            self.figure.savefig(text, format="svg", transparent=True, metadata=nothing)
        head, _, body = text.getvalue().partition("<svg")[2].partition(">")
        box = re.search(r'viewBox="[^"]+"', head)[0]
        body = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{self.key}-", body)  # ids once a page
        body = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", body)
        body = re.sub(r"(?<=: )#[0-9a-f]{6}(?=[;\"])", _variable, body)
        words = f"{self.description} {self.note}".strip()
        return (
            f'<svg class="figure" xmlns="http://www.w3.org/2000/svg" '
            f'xmlns:xlink="http://www.w3.org/1999/xlink" role="img" {box} '
            f'data-figure="{self.key}" aria-labelledby="{self.key}-title {self.key}-desc">'
            f'<title id="{self.key}-title">{escape(self.title)}</title>'
            f'<desc id="{self.key}-desc">{escape(words)}</desc>{body.rstrip()}'
        )


def _variable(found: re.Match) -> str:
    name = _NAMES.get(found[0])
    return f"var(--{name})" if name else found[0]


def write_pictures(folder: str | os.PathLike, pictures: Sequence[Picture]) -> list[Path]:
    """Write every picture as ``<key>.svg``, with its light and dark colours and a background."""
    paths = []
    for picture in pictures:
        head, rest = picture.svg.split(">", 1)
        ground = '<rect width="100%" height="100%" style="fill:var(--bg)"/>'
        paths.append(Path(folder) / f"{picture.key}.svg")
        files.write_text(paths[-1], f"{head}><style>{css()}</style>{ground}{rest}\n")
    return paths


def key_of(text: str, taken: Sequence[str] = ()) -> str:
    """A name that may serve as an id and a file name, and is not ``taken``."""
    key = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"
    return next(k for n in itertools.count(1) if (k := f"{key}-{n}" if n > 1 else key) not in taken)
