"""float32 in full on a GPU, whatever SpeechBrain has allowed before."""

from __future__ import annotations

import pytest
import torch
from speechbrain.utils.quirks import allow_tf32

from acorl_sb.scoring.backends.cosine import Cosine
from acorl_sb.scoring.normalise import cohort_statistics
from acorl_sb.utils.precision import full_precision


def flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_it_holds_inside_alone_and_with_an_error_too():
    allow_tf32()
    with pytest.raises(ValueError, match="inside"), full_precision():
        assert flags() == (False, False)
        raise ValueError("inside")
    assert flags() == (True, True)
    assert full_precision()(flags)() == (False, False)
    assert flags() == (True, True)


def test_cohort_scores_have_all_their_bits(device):
    allow_tf32()
    generator = torch.Generator().manual_seed(0)
    vectors, cohort = (torch.randn(n, 192, generator=generator) for n in (40, 500))
    backend = Cosine()

    def statistics(dtype, where):
        sides = [backend.prepare(v.to(where, dtype)) for v in (vectors, cohort)]
        return cohort_statistics(backend.sides(*sides), torch.arange(40, device=where), 50)

    exact = statistics(torch.float64, "cpu")
    for found, wanted in zip(statistics(torch.float32, device), exact, strict=True):
        torch.testing.assert_close(found.cpu(), wanted, atol=1e-7, rtol=0)
