"""Up to which frequency a microphone delivers anything."""

import numpy as np
import pytest
import soxr
from scipy.signal import butter, sosfilt

from edge.commands.demo import RECORDING
from edge.commands.ear import judged
from edge.sound.bandwidth import BAND_HZ, KNOWN_BLOCKS, NARROW_HZ, Bandwidth, narrow
from edge.sound.blocks import SAMPLE_RATE_HZ, timed_blocks
from edge.sound.level import level_dbfs
from edge.sound.recording import load_recording
from tests.support.sounds import corpus_clips

SPEECH = load_recording(RECORDING)
LIMITS_HZ = [3_400, 4_000, 5_500, 7_000]


def resampled(sound: np.ndarray, limit_hz: int) -> np.ndarray:
    return soxr.resample(soxr.resample(sound, SAMPLE_RATE_HZ, 2 * limit_hz), 2 * limit_hz, SAMPLE_RATE_HZ)


def filtered(sound: np.ndarray, limit_hz: int) -> np.ndarray:
    return sosfilt(butter(16, limit_hz, fs=SAMPLE_RATE_HZ, output="sos"), sound)


def in_16_bits(sound: np.ndarray) -> np.ndarray:
    return (np.round(sound * 32_768) / 32_768).astype(np.float32)


def bandwidth_hz(sound: np.ndarray) -> int | None:
    found = Bandwidth()
    for block in timed_blocks([in_16_bits(sound)], started_at=0.0):
        if level_dbfs(block.samples) > -50:  # the sensor offers what its gate calls speech
            found.add(block.samples)
    return found.hz


@pytest.mark.parametrize("limit_hz", LIMITS_HZ)
@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_a_low_passed_voice_is_known_within_a_band_or_two(limit_hz, gain):
    assert bandwidth_hz(resampled(gain * SPEECH, limit_hz)) == pytest.approx(limit_hz, abs=2.1 * BAND_HZ)


@pytest.mark.parametrize("limit_hz", LIMITS_HZ[:3])
def test_a_filter_with_a_slope_ends_where_its_sound_does(limit_hz):
    assert limit_hz - BAND_HZ <= bandwidth_hz(filtered(SPEECH, limit_hz)) <= 1.3 * limit_hz


@pytest.mark.parametrize("noise_dbfs", [None, -70, -50])
def test_a_whole_voice_lacks_nothing(noise_dbfs):
    noise = 0.0 if noise_dbfs is None else 10 ** (noise_dbfs / 20)
    sound = SPEECH + noise * np.random.default_rng(0).standard_normal(len(SPEECH)).astype(np.float32)
    assert bandwidth_hz(sound) == SAMPLE_RATE_HZ // 2


@pytest.mark.parametrize("folder", ["TESS", "RAVDESS"])
@pytest.mark.parametrize("limit_hz", [None, *LIMITS_HZ])
def test_voices_of_the_corpora_too(folder, limit_hz):
    sound = np.concatenate([load_recording(path) for path in corpus_clips(16, folders=(folder,))])
    found = bandwidth_hz(sound if limit_hz is None else resampled(sound, limit_hz))
    assert found == pytest.approx(limit_hz or SAMPLE_RATE_HZ // 2, abs=2.1 * BAND_HZ)


def test_too_little_speech_and_silence_tell_nothing():
    assert bandwidth_hz(np.zeros(SAMPLE_RATE_HZ * 20)) is None
    found = Bandwidth(every=1)
    for _ in range(KNOWN_BLOCKS - 1):
        found.add(SPEECH[:1_280])
        assert found.hz is None
    silent = Bandwidth(every=1)
    for _ in range(100):
        silent.add(np.zeros(1_280, np.float32))
    assert silent.hz is None


@pytest.mark.parametrize("limit_hz", [3_400, 4_000, 5_500])
def test_a_moment_of_listening_says_what_is_missing_and_what_helps(limit_hz):
    for sound, said in ((SPEECH, ""), (resampled(SPEECH, limit_hz), "delivers nothing above")):
        heard = judged(list(timed_blocks([in_16_bits(sound)], started_at=0.0)))
        assert said in heard.trouble
        assert bool(said) == bool(heard.trouble)
        assert "up to " in heard.words
    quiet = judged(list(timed_blocks([in_16_bits(SPEECH * 0 + 1e-3)], started_at=0.0)))
    assert "speak to learn" in quiet.words


def test_what_is_wide_enough_is_not_complained_of():
    assert narrow(None) is None
    assert narrow(NARROW_HZ) is None
    assert "4,000 Hz" in narrow(4_000)
