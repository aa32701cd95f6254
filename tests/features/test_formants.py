"""Formants against vowels made with known resonances by scipy, and against librosa's linear prediction."""

import librosa
import numpy as np
import pytest
from scipy.signal import lfilter

from edge.features.mfcc import MfccSpec
from edge.features.voice import DESCRIPTORS, voice_frames

SPEC = MfccSpec()
FIRST = SPEC.coefficients + DESCRIPTORS.index("formant_1")
RATE_HZ = SPEC.sample_rate_hz
# Peterson and Barney, 1952: mean formants of men for i, a, u and of women for a.
VOWELS = {"i": (270, 2_290, 3_010), "a": (730, 1_090, 2_440), "u": (300, 870, 2_240), "a, women": (850, 1_220, 2_810)}


def vowel(formants_hz: tuple[int, ...], *, pitch_hz: float, seconds: float = 1.0) -> np.ndarray:
    """Return a train of pulses through resonances of 80 Hz, with the two above those given that a voice has."""
    pulses = np.zeros(int(seconds * RATE_HZ))
    pulses[(np.arange(0, seconds, 1 / pitch_hz) * RATE_HZ).astype(int)] = 1.0
    sound = lfilter([1.0], [1.0, -0.95], pulses)
    for hz in (*formants_hz, 3_500, 4_500):
        radius = np.exp(-np.pi * 80 / RATE_HZ)
        sound = lfilter([1.0], [1.0, -2 * radius * np.cos(2 * np.pi * hz / RATE_HZ), radius**2], sound)
    return (0.1 * sound / np.abs(sound).max()).astype(np.float32)


@pytest.mark.parametrize("name", VOWELS)
def test_a_made_vowel_has_its_formants(name):
    sound = vowel(VOWELS[name], pitch_hz=110.0)
    found = np.nanmedian(voice_frames(sound, SPEC)[4:, FIRST : FIRST + 3], axis=0)
    np.testing.assert_allclose(found, VOWELS[name], rtol=0.1)


def test_agrees_with_the_roots_of_librosas_predictor():
    sound = vowel(VOWELS["a"], pitch_hz=130.0)
    narrow = librosa.resample(sound, orig_sr=RATE_HZ, target_sr=11_000)
    roots = np.roots(librosa.lpc(librosa.effects.preemphasis(narrow), order=10))
    hz = np.angle(roots[roots.imag > 0]) * 11_000 / (2 * np.pi)
    found = np.nanmedian(voice_frames(sound, SPEC)[4:, FIRST : FIRST + 3], axis=0)
    for each in found:
        assert np.abs(hz / each - 1).min() < 0.05


def test_silence_has_no_formants_and_does_no_harm():
    found = voice_frames(np.zeros(RATE_HZ, np.float32), SPEC)[:, FIRST : FIRST + 3]
    assert np.isnan(found).all()
