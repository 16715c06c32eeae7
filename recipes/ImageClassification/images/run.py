"""A run: the keys of its YAML, its checks, the training of its members, its folder."""

from __future__ import annotations

import contextlib
import sys
from typing import ClassVar

from images.ensembles import outputs, table
from pydantic import Field
from speechbrain.utils.distributed import if_main_process, run_on_main

from acorl_sb.encoders.member_folder import CLASSIFIER
from acorl_sb.encoders.weights import load_weights
from acorl_sb.training.member_options import Lists
from acorl_sb.training.members import check_members, train_members
from acorl_sb.training.rehearsal import rehearse
from acorl_sb.training.settings import Settings
from acorl_sb.training.train_options import LearningKeys, TrainingRun
from acorl_sb.utils import distributed, options
from acorl_sb.utils.files import output_path, write_json, write_text
from acorl_sb.utils.hparams import in_words
from acorl_sb.utils.locks import locked
from acorl_sb.utils.logs import log_to, log_to_screen


class ImageOptions(Lists, LearningKeys):
    """All keys of ``train.py``."""

    lazy: ClassVar[tuple[str, ...]] = ("members", "references")

    output_folder: options.Text = Field(description="where everything is written")
    data: options.Factory = Field(description="of the images, see images/data.py")
    replicates: int = Field(1000, ge=100, description="of the bootstrap over test images and seeds")


def run(argv, declaration: type[ImageOptions], description: str | None, plan, report) -> int:
    """Check everything, train what is not trained yet, report.

    ``plan`` (hparams, members, settings) lists the ensembles: members, settings, folder.
    ``report`` (outputs of each ensemble's members, data, hparams, members) returns what ``measure``
    finds, a sentence about it, and what systems are compared with.
    """
    argv = sys.argv[1:] if argv is None else argv
    loaded = options.read(declaration, argv, description, TrainingRun)
    hparams, lists = loaded.hparams, loaded.lazy
    with in_words("the key 'data'"):
        data = hparams["data"]()
    keys = list(LearningKeys.model_fields)
    plain = loaded.plain([key for key in [*keys, "data"] if key != "workers"])
    settings = Settings(**{key: hparams[key] for key in keys}, plain=plain)
    rehearse(**lists, settings=settings, run_opts=loaded.run_opts, kind=data.kind)
    run_opts, device = distributed.start(loaded.run_opts)
    log_to_screen()
    folder = output_path(hparams["output_folder"])
    ensembles = plan(hparams, lists["members"], settings)
    with locked(folder) if if_main_process() else contextlib.nullcontext():
        for specs, own, name in ensembles:
            checked = (specs, lists["references"], data.kind, own, run_opts, folder / name)
            run_on_main(check_members, [*checked])
        log_to(folder / "train_log.txt")
        if if_main_process():
            write_text(folder / "hyperparams.yaml", loaded.text)
        said = []
        for specs, own, name in ensembles:
            given = (specs, lists["references"], data, own, run_opts, device, folder / name)
            said.append([])
            for member in train_members(*given).members[-len(specs) :]:  # after the references
                head = own.head(dim=member.embedding_dim, n_classes=len(data.classes))
                load_weights(head, folder / name / member.name / CLASSIFIER)
                said[-1].append(outputs(member.encoder, head, data, device))
        if if_main_process():
            results, note, base = report(said, data, hparams, lists["members"])
            page = f"{note}, 95 %.\n\n{table(results, base)}"
            write_json(folder / "results.json", results)
            write_text(folder / "results.md", page)
            print(page)
    return 0
