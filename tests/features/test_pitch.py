"""Pitch and voicing against sounds of known pitch and known noise, and against librosa's pyin on real voices."""

import librosa
import numpy as np
import pytest

from edge.features.mfcc import MfccSpec
from edge.features.pitch import SEMITONES_FROM_HZ
from edge.features.voice import DESCRIPTORS, voice_frames
from edge.sound.recording import load_recording
from tests.support.sounds import corpus_clips

SPEC = MfccSpec()
RATE_HZ = SPEC.sample_rate_hz


def column(frames: np.ndarray, name: str) -> np.ndarray:
    return frames[:, SPEC.coefficients + DESCRIPTORS.index(name)]


def harmonics(pitch_hz: float, *, seconds: float = 1.0, highest_hz: float = 4_000) -> np.ndarray:
    """Return a voice that stands still: harmonics that fall by 6 dB an octave."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    numbers = range(1, int(highest_hz / pitch_hz) + 1)
    return sum(np.sin(2 * np.pi * k * pitch_hz * t + k * k) / k for k in numbers).astype(np.float32)


def lowpass(sound: np.ndarray, highest_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(len(sound), 1 / RATE_HZ) > highest_hz] = 0.0
    return np.fft.irfft(spectrum, len(sound))


def semitones(hz: np.ndarray | float) -> np.ndarray:
    return 12 * np.log2(np.asarray(hz) / SEMITONES_FROM_HZ)


@pytest.mark.parametrize("pitch_hz", [80, 95, 123, 167, 211, 290, 377, 452, 560])
def test_a_steady_voice_has_its_pitch(pitch_hz):
    frames = voice_frames(0.1 * harmonics(pitch_hz), SPEC)[4:]
    np.testing.assert_allclose(column(frames, "pitch"), semitones(pitch_hz), atol=0.1)
    assert column(frames, "voicing").min() > 0.95


@pytest.mark.parametrize("snr_db", [3, 6, 12])
def test_voicing_is_the_share_of_power_that_repeats(snr_db):
    """Below 1 kHz, where it is looked for; above, nothing repeats and nothing is heard."""
    voice = harmonics(150.0, seconds=3.0, highest_hz=900)
    noise = lowpass(np.random.default_rng(snr_db).standard_normal(len(voice)), 1_000)
    noise *= np.sqrt(np.mean(voice**2) / 10 ** (snr_db / 10) / np.mean(noise**2))
    hiss = 0.1 * np.random.default_rng(7).standard_normal(len(voice))
    hiss -= lowpass(hiss, 5_000)
    voicing = column(voice_frames((0.05 * (voice + noise + hiss)).astype(np.float32), SPEC), "voicing")[4:]
    assert 10 * np.log10(voicing / (1 - voicing)).mean() == pytest.approx(snr_db, abs=1.5)


def test_noise_and_silence_have_no_voice():
    noise = np.random.default_rng(0).standard_normal(3 * RATE_HZ).astype(np.float32)
    assert np.percentile(column(voice_frames(0.05 * noise, SPEC), "voicing"), 95) < 0.5
    silence = voice_frames(np.zeros(RATE_HZ, np.float32), SPEC)
    assert np.isfinite(column(silence, "pitch")).all()
    assert (column(silence, "voicing") == 0).all()


@pytest.mark.usefixtures("compiled_librosa")
def test_agrees_with_pyin_on_real_voices():
    """Nine in ten of the frames that pyin takes for voiced are voiced here, and six in seven have the same semitone."""
    away, voiced = [], []
    for path in corpus_clips(8):
        sound = load_recording(path)
        frames = voice_frames(sound, SPEC)
        padded = np.pad(sound, (512, 1_024))
        hz, is_voiced, _ = librosa.pyin(
            padded, fmin=70, fmax=600, sr=RATE_HZ, frame_length=1_024, hop_length=SPEC.hop_samples, center=False
        )
        both = is_voiced[: len(frames)] & ~np.isnan(hz[: len(frames)])
        away.append(np.abs(column(frames, "pitch") - semitones(np.where(both, hz[: len(frames)], 100.0)))[both])
        voiced.append(column(frames, "voicing")[both])
    assert np.mean(np.concatenate(away) < 1.0) > 0.85
    assert np.mean(np.concatenate(voiced) > 0.6) > 0.9
