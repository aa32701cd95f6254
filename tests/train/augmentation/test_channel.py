"""What a sound passes through: a band ends where it says, a codec delays nothing, a room has its reverberation time."""

import librosa
import numpy as np
import pytest
import soundfile
from scipy.signal import welch

from edge.sound.blocks import SAMPLE_RATE_HZ
from train.augmentation import channel


def noise(seed: int = 0, seconds: float = 2.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE_HZ))


@pytest.mark.parametrize("highest_hz", channel.BANDS_HZ)
def test_a_band_is_whole_below_its_edge_and_empty_above(highest_hz):
    hz, before = welch(noise(), SAMPLE_RATE_HZ, nperseg=1_024)
    _, after = welch(channel.banded(noise(), highest_hz), SAMPLE_RATE_HZ, nperseg=1_024)
    gain_db = 10 * np.log10(after / before)
    np.testing.assert_allclose(gain_db[(hz > 100) & (hz < highest_hz - 300)], 0, atol=0.2)
    assert gain_db[hz > highest_hz + 100].max() < -50


@pytest.mark.usefixtures("compiled_librosa")
@pytest.mark.parametrize("seed", range(8))
def test_a_codec_leaves_the_sound_as_long_and_delays_nothing(seed):
    sound = 0.3 * librosa.chirp(fmin=200, fmax=3_000, sr=SAMPLE_RATE_HZ, length=2 * SAMPLE_RATE_HZ)
    heard = channel.coded(sound, np.random.default_rng(seed))
    assert heard.shape == sound.shape
    assert not np.allclose(heard, sound, atol=1e-4)
    spectrum = np.fft.rfft(heard) * np.conj(np.fft.rfft(sound))
    lag = int(np.argmax(np.fft.irfft(spectrum)))
    assert min(lag, len(sound) - lag) <= 20  # a millisecond


def test_a_microphone_colours_by_some_decibels():
    hz, before = welch(noise(), SAMPLE_RATE_HZ, nperseg=1_024)
    colours = [channel.coloured(noise(), np.random.default_rng(seed)) for seed in range(5)]
    gains = [10 * np.log10(welch(one, SAMPLE_RATE_HZ, nperseg=1_024)[1] / before) for one in colours]
    for gain_db in gains:
        assert np.abs(gain_db[(hz > 1_000) & (hz < 7_500)]).max() < 8.5
    assert np.std(gains, axis=0).max() > 1


def test_rooms_by_formula_die_away_as_rooms_do():
    """Schroeder's backward integral falls, and by 20 dB and more within the response."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        response = channel.formula_response(rng)
        assert np.sum(response.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-3)
        left_db = 10 * np.log10(np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1] + 1e-20)
        assert left_db[-SAMPLE_RATE_HZ // 20] < -20
        assert left_db[SAMPLE_RATE_HZ // 10] > -40


def test_a_measured_response_begins_with_its_direct_sound(tmp_path):
    response = np.zeros(SAMPLE_RATE_HZ)
    response[5_000], response[6_000] = 0.5, -0.2
    path = tmp_path / "room.wav"
    soundfile.write(path, response, SAMPLE_RATE_HZ, subtype="FLOAT")
    (found,) = channel.measured_responses([path])
    assert np.argmax(np.abs(found)) == 40
    assert found[1_040] / found[40] == pytest.approx(-0.4, abs=1e-3)
    assert np.sum(found**2) == pytest.approx(1, abs=1e-3)
