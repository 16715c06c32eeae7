"""What the server of ``tests.commands`` imports once for all commands."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import scipy.optimize  # noqa: F401
import speechbrain.inference.speaker  # noqa: F401
import torch
import torch._dynamo  # optimizers import it, which takes seconds

torch.set_num_threads(1)
