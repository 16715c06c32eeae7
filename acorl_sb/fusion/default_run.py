"""The encoder that the package brings as a run of one member, with its calibration."""

from __future__ import annotations

from pathlib import Path

from acorl_sb.data.recording_range import RecordingRange
from acorl_sb.encoders.ensemble import FrozenEnsemble
from acorl_sb.encoders.shipped import OPEN, SHIPPED, load_shipped, read_shipped
from acorl_sb.fusion.finished_run import FinishedRun
from acorl_sb.fusion.logistic import LogisticFusion


def load_default(folder: Path = SHIPPED) -> FinishedRun:
    """Encoder and calibration; raises ``UserError`` as ``load_shipped`` does."""
    model, ensemble = read_shipped(folder), FrozenEnsemble()
    ensemble.add(OPEN, load_shipped(folder))
    fitted = LogisticFusion.from_state(model["fusion"])
    seen = RecordingRange.from_json(model["calibrated_on"])
    return FinishedRun(ensemble, fitted, model["score_seconds"], seen)
