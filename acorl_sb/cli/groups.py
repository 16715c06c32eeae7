"""Error rates by group of speakers: gender, age, language, any column of a manifest or a table.

    acorl groups --run_folder results/my_run --groups gender
    acorl groups test.txt --dev dev.txt --speakers dev.csv test.csv --groups gender
    acorl groups fused_test.txt --llr --speakers test.csv --attributes accents.csv --groups accent

Writes ``groups.json``, ``groups.md``, ``groups.html`` and pictures, by default into the folder
``groups`` of the run; docs/groups.md explains them.
"""

from __future__ import annotations

import sys

from acorl_sb.analysis.group_options import GroupOptions, output_folder
from acorl_sb.analysis.group_run import measure, refuse_other_scores
from acorl_sb.report import write_pictures
from acorl_sb.report.group_page import group_markdown, group_page
from acorl_sb.report.page import as_html
from acorl_sb.utils.errors import run_cli
from acorl_sb.utils.files import write_json, write_text
from acorl_sb.utils.locks import locked
from acorl_sb.utils.options import read


def main(argv: list[str] | None = None) -> int:
    """Run the command; ``argv`` is what follows its name, None: the process's own."""
    options = read(GroupOptions, sys.argv[1:] if argv is None else argv, __doc__).hparams
    results = measure({key: options[key] for key in GroupOptions.model_fields})
    page = group_page(results)
    with locked(output_folder(options)) as folder:
        refuse_other_scores(folder / "groups.json", results["scores"])
        write_pictures(folder / "figures", page.pictures)
        write_json(folder / "groups.json", results)
        write_text(folder / "groups.md", f"# {page.title}\n\n{group_markdown(results)}")
        write_text(folder / "groups.html", as_html(page))
    print(group_markdown(results))
    print(f"written to {folder}")
    return 0


if __name__ == "__main__":
    run_cli(main)
