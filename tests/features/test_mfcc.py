"""MFCC against librosa, and against itself under any chunking."""

from functools import cache

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.features.mfcc import MfccExtractor, MfccSpec, dct_matrix, mel_filters, mfcc
from edge.sound.recording import load_recording
from tests.support.sounds import chirp, corpus_clips

SPEC = MfccSpec()


def librosa_mfcc(samples: np.ndarray, spec: MfccSpec = SPEC) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=spec.sample_rate_hz,
        n_fft=spec.window_samples,
        hop_length=spec.hop_samples,
        n_mels=spec.mels,
        fmin=spec.low_hz,
        fmax=spec.high_hz,
        center=False,
    )
    return librosa.feature.mfcc(S=librosa.power_to_db(power, top_db=None), n_mfcc=spec.coefficients).T


@pytest.mark.usefixtures("compiled_librosa")
def test_equals_librosa_on_made_sounds():
    dense = MfccSpec(mels=64, coefficients=13, hop_samples=160, low_hz=60, high_hz=7_600)
    apart = MfccSpec(window_samples=320, block_frames=1)
    for seed, spec in enumerate([SPEC, dense, apart]):
        sound = chirp(seconds=2.0, seed=seed)
        np.testing.assert_allclose(mfcc(sound, spec), librosa_mfcc(sound, spec), atol=1e-3)


@pytest.mark.usefixtures("compiled_librosa")
def test_equals_librosa_on_real_clips():
    for path in corpus_clips(50):
        sound = load_recording(path)
        np.testing.assert_allclose(mfcc(sound, SPEC), librosa_mfcc(sound), atol=1e-3, err_msg=str(path))


@pytest.mark.usefixtures("compiled_librosa")
def test_filters_and_transform_equal_librosa_and_scipy():
    from scipy.fft import dct

    np.testing.assert_allclose(mel_filters(SPEC), librosa.filters.mel(sr=16_000, n_fft=512, n_mels=40), atol=1e-7)
    np.testing.assert_allclose(dct_matrix(40, 40), dct(np.eye(40), type=2, norm="ortho", axis=0), atol=1e-6)


@cache
def ten_seconds() -> tuple[np.ndarray, np.ndarray]:
    """Return a sound and its features, computed whole."""
    sound = chirp(seconds=10.0, seed=3)
    return sound, MfccExtractor(SPEC).process(sound)


@settings(max_examples=60)
@given(st.data())
def test_any_chunking_gives_bit_equal_features(data):
    sound, whole = ten_seconds()
    sizes = data.draw(
        st.lists(st.one_of(st.integers(1, 40), st.integers(1, 5_000), st.integers(1, 160_000)), min_size=1, max_size=60)
    )
    extractor, start, parts = MfccExtractor(SPEC), 0, []
    for size in [*sizes, len(sound)]:
        parts.append(extractor.process(sound[start : start + size]))
        start += size
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_one_sample_at_a_time_is_bit_equal():
    sound = chirp(seconds=0.5, seed=4)
    extractor = MfccExtractor(SPEC)
    parts = [extractor.process(sound[i : i + 1]) for i in range(len(sound))]
    np.testing.assert_array_equal(np.concatenate(parts), MfccExtractor(SPEC).process(sound))


def test_history_only_shifts_the_frames():
    sound = chirp(seconds=1.0, seed=5)
    extractor = MfccExtractor(SPEC)
    extractor.reset(history=sound[:1_000])
    frames = extractor.process(sound[1_000 : 1_000 + SPEC.block_samples])
    assert len(frames) == SPEC.block_frames
    np.testing.assert_array_equal(frames, MfccExtractor(SPEC).process(sound[1_000 - SPEC.overlap_samples :])[:4])


def test_shorter_than_a_window_gives_no_frame():
    assert mfcc(np.zeros(511, np.float32), SPEC).shape == (0, 40)
    assert mfcc(np.zeros(512, np.float32), SPEC).shape == (1, 40)


@pytest.mark.parametrize(
    "wrong", [{"high_hz": 9_000.0}, {"coefficients": 41}, {"hop_samples": 600}, {"low_hz": 8_000.0}]
)
def test_impossible_specs_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        MfccSpec(**wrong)
