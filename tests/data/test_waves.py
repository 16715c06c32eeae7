"""Samples that an application hands over are what the file of them would be."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from acorl_sb.data.waves import read_wave
from acorl_sb.utils.errors import UserError


def outcome(wave):
    """The samples, or that they are refused."""
    try:
        return read_wave(wave)[0]
    except UserError:
        return "refused"


@pytest.mark.parametrize(
    ("rate", "accepted"),
    [
        *((4000, True), (8000, True), (16000, True), (44100, True), (192000, True)),
        *((3999, False), (192001, False), (16010, True), (15990, True), (16001, False)),
        *((15999, False), (22051, False)),
    ],
)
def test_samples_and_their_file_are_taken_or_refused_alike(tmp_path, rate, accepted):
    wave = np.random.default_rng(rate).uniform(-0.5, 0.5, rate // 2).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    of_file, of_samples = outcome(tmp_path / "a.wav"), outcome((wave, rate))
    np.testing.assert_array_equal(of_samples, of_file)
    assert isinstance(of_samples, np.ndarray) == accepted
    assert not accepted or len(of_samples) == -(-len(wave) * 16000 // rate)


@pytest.mark.parametrize("rate", [True, 8000.0, "8000", None, 0, -8000])
def test_what_is_no_sample_rate_is_refused(rate):
    with pytest.raises(UserError):
        read_wave((np.random.default_rng(0).uniform(-0.5, 0.5, 8000), rate))


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_view_backwards_is_the_samples_in_that_order(rate):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)
    found, expected = (read_wave((w, rate))[0] for w in (wave[::-1], wave[::-1].copy()))
    np.testing.assert_array_equal(found, expected)
    assert found.strides[0] > 0


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.dtype(">i2")])
def test_whole_numbers_as_in_a_wav_file_are_the_samples_of_that_file(tmp_path, kind):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    whole = (wave * np.iinfo(kind).max).astype(kind)
    native = whole.astype(whole.dtype.newbyteorder("="))
    soundfile.write(tmp_path / "a.wav", native, 16000, subtype=f"PCM_{8 * whole.itemsize}")
    np.testing.assert_allclose(
        read_wave((whole, 16000))[0], read_wave(tmp_path / "a.wav")[0], atol=1e-7
    )


def test_whole_numbers_of_no_known_full_scale_are_refused():
    whole = np.random.default_rng(0).integers(0, 255, 8000)
    for samples in (whole, whole.astype(np.uint8), whole.tolist()):
        with pytest.raises(UserError):
            read_wave((samples, 16000))
