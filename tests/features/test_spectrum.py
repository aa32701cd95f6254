"""The spectrum's shape against librosa's mel bands and numpy's own fits."""

from functools import cache

import librosa
import numpy as np
import pytest

from edge.features.mfcc import MfccSpec
from edge.features.spectrum import NAMES
from edge.features.voice import DESCRIPTORS, voice_frames
from tests.support.sounds import chirp

SPEC = MfccSpec()
FIRST = SPEC.coefficients + DESCRIPTORS.index(NAMES[0])
SOUND = chirp(seconds=2.0, seed=7)


@cache  # by whoever runs a test of these: all of librosa and numba come with it, into each process that collects them
def power() -> np.ndarray:
    return np.abs(librosa.stft(SOUND, n_fft=512, hop_length=320, center=False)).T.astype(np.float64) ** 2


def bands() -> np.ndarray:
    return np.maximum(power() @ librosa.filters.mel(sr=16_000, n_fft=512, n_mels=40).T, 1e-10)


def centres_and_widths_hz() -> tuple[np.ndarray, np.ndarray]:
    edges_hz = librosa.mel_frequencies(42, fmin=0, fmax=8_000)
    return edges_hz[1:-1], (edges_hz[2:] - edges_hz[:-2]) / 2


def shape(name: str, sound: np.ndarray = SOUND) -> np.ndarray:
    return voice_frames(sound, SPEC)[:, FIRST + NAMES.index(name)]


def decibels(of: np.ndarray) -> np.ndarray:
    return 10 * np.log10(of)


def within(low_hz: float, high_hz: float) -> np.ndarray:
    hz, _ = centres_and_widths_hz()
    return (low_hz <= hz) & (high_hz > hz)


@pytest.mark.usefixtures("compiled_librosa")
def test_ratios_of_bands():
    whole = bands() * centres_and_widths_hz()[1]
    low, high = whole[:, within(50, 1_000)].sum(axis=1), whole[:, within(1_000, 5_000)].sum(axis=1)
    np.testing.assert_allclose(shape("alpha_ratio"), decibels(low / high), atol=1e-2)
    np.testing.assert_allclose(shape("level"), decibels(np.maximum(low, high)), atol=1e-2)
    low, high = bands()[:, within(0, 2_000)].max(axis=1), bands()[:, within(2_000, 5_000)].max(axis=1)
    np.testing.assert_allclose(shape("hammarberg"), decibels(low / high), atol=1e-2)


@pytest.mark.usefixtures("compiled_librosa")
def test_bands_say_what_the_spectrum_says():
    """Of the ratio of 50 Hz to 1 kHz and 1 to 5 kHz, by librosa's lines of 31 Hz."""
    lines = librosa.fft_frequencies(sr=16_000, n_fft=512)
    low, high = (power()[:, (lines >= a) & (lines < b)].sum(axis=1) for a, b in ((50, 1_000), (1_000, 5_000)))
    assert np.corrcoef(shape("alpha_ratio"), decibels(low / high))[0, 1] > 0.98


@pytest.mark.usefixtures("compiled_librosa")
def test_slopes_are_least_squares():
    hz, _ = centres_and_widths_hz()
    for name, low, high in (("slope_low", 50, 500), ("slope_middle", 500, 1_500), ("slope_high", 1_500, 5_000)):
        those = (low <= hz) & (high >= hz)
        wanted = np.polyfit(hz[those] / 1_000, decibels(bands()[:, those]).T, 1)[0]
        np.testing.assert_allclose(shape(name), wanted, atol=2e-2, err_msg=name)


@pytest.mark.usefixtures("compiled_librosa")
def test_flux_is_the_change_of_the_magnitudes_shares():
    share = np.sqrt(bands()) / np.sqrt(bands()).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shape("flux")[1:], np.linalg.norm(np.diff(share, axis=0), axis=1), atol=1e-4)


@pytest.mark.usefixtures("compiled_librosa")
def test_flatness_is_the_geometric_over_the_arithmetic_mean_of_the_bands():
    from scipy.stats import gmean

    np.testing.assert_allclose(shape("flatness"), decibels(gmean(bands(), axis=1) / bands().mean(axis=1)), atol=1e-2)


def test_a_louder_sound_has_the_same_shape():
    for name in ("alpha_ratio", "hammarberg", "slope_low", "slope_middle", "slope_high", "flux"):
        np.testing.assert_allclose(shape(name, SOUND * 4), shape(name), atol=0.05, err_msg=name)
