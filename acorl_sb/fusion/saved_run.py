"""An ensemble with its fusion as one folder, of the form of a finished run of train.py."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import cast

import torch

from acorl_sb.encoders.encoder import SpeakerEncoder
from acorl_sb.encoders.member_folder import WEIGHTS
from acorl_sb.fusion import models as fusion
from acorl_sb.fusion.finished_run import SPREAD, FinishedRun
from acorl_sb.utils.errors import UserError, cannot_write
from acorl_sb.utils.files import output_path, write_json, write_text
from acorl_sb.utils.yaml_dump import dump


def save_run(folder: str | os.PathLike, run: FinishedRun) -> None:
    """Write what ``load_run`` reads: encoders, fusion, how they were scored; no training data.

    Reference encoders become members. An ONNX file and a WavLM stay where they are, by their
    names in the encoder's YAML.

    Raises ``UserError`` for a folder that is there already and has something in it, for an
    encoder that no YAML describes, and where the disk refuses; nothing is then left behind.
    """
    folder = output_path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; name a new folder")
    texts = {member.name: _yaml(member.name, member.encoder) for member in run.ensemble.members}
    temporary = folder.absolute().with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    with cannot_write(folder):
        try:
            _write(temporary, run, texts)
            if folder.is_dir():
                folder.rmdir()
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, run: FinishedRun, texts: dict[str, str]) -> None:
    for member in run.ensemble.members:
        place = folder / "members" / member.name
        write_text(place / "hyperparams.yaml", texts[member.name])
        network = cast(SpeakerEncoder, member.encoder).embedding_model
        state = {
            key: value.detach().cpu() if torch.is_tensor(value) else value
            for key, value in network.state_dict().items()
        }
        torch.save(state, place / WEIGHTS)
    write_text(folder / "hyperparams.yaml", dump({"members": [{"name": name} for name in texts]}))
    fusion.save(folder / "fusion" / "score-logistic.json", run.model)
    if run.spread is not None:
        write_json(folder / SPREAD, {"calibrations": run.spread.state()})
    seen = run.calibrated_on and run.calibrated_on._asdict()
    scoring = {"score_seconds": run.score_seconds, "calibrated_on": seen}
    write_json(folder / "results.json", scoring)


def _yaml(name: str, encoder: torch.nn.Module) -> str:
    text = getattr(encoder, "yaml", None)
    if text is None:
        raise UserError(
            f"the member {name!r} was not built from a YAML, so that nothing could build it again"
        )
    return text
