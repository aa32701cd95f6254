"""Functionals against numpy's means and deviations over whole utterances, by masks written out here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.features.functionals import LOUD_DB, RISE_FRAMES, VOICED, Functionals, names
from edge.features.mfcc import MfccExtractor, MfccSpec
from edge.features.voice import DESCRIPTORS, VoiceExtractor, voice_frames
from tests.support.sounds import chirp

SPEC = MfccSpec()
NAMES = names(SPEC)
SOUND = chirp(seconds=3.0, seed=11)
FRAMES = voice_frames(SOUND, SPEC)


def column(name: str) -> np.ndarray:
    return FRAMES[:, SPEC.coefficients + DESCRIPTORS.index(name)].astype(np.float64)


PEAK = np.maximum.accumulate(column("level"))
LOUD = column("level") > PEAK - LOUD_DB
if len(RISEN := np.flatnonzero(PEAK[RISE_FRAMES:] - PEAK[:-RISE_FRAMES] > LOUD_DB)):
    LOUD[: RISEN[-1] + RISE_FRAMES] = False
IS_VOICED = LOUD & (column("voicing") > VOICED)


def functionals(*chunks: np.ndarray) -> np.ndarray:
    found = Functionals(SPEC)
    for chunk in chunks:
        found.process(chunk)
    return found.values()


def value(name: str) -> float:
    return functionals(FRAMES)[NAMES.index(name)]


def test_the_sound_has_what_is_masked_and_what_is_not():
    assert 0.2 < LOUD.mean() < 0.95
    assert 0.2 < IS_VOICED.mean() < LOUD.mean()


def test_means_and_deviations_are_numpys():
    for number in (0, 1, 39):
        coefficient = FRAMES[:, number].astype(np.float64)
        assert value(f"mfcc_{number}_mean") == pytest.approx(coefficient[LOUD].mean(), rel=1e-5, abs=1e-5)
        assert value(f"mfcc_{number}_deviation") == pytest.approx(coefficient[LOUD].std(), rel=1e-5)
        change = np.diff(coefficient)[LOUD[1:] & LOUD[:-1]]
        assert value(f"mfcc_{number}_change_deviation") == pytest.approx(change.std(), rel=1e-5)
    for name in ("pitch", "harmonics_to_noise", "alpha_ratio", "slope_low", "flux"):
        assert value(f"{name}_mean") == pytest.approx(column(name)[IS_VOICED].mean(), rel=1e-5)
        assert value(f"{name}_deviation") == pytest.approx(column(name)[IS_VOICED].std(), rel=1e-5)


def test_changes_are_of_frames_that_follow_on_each_other():
    three = IS_VOICED[2:] & IS_VOICED[1:-1] & IS_VOICED[:-2]
    jitter = np.minimum(np.abs(np.diff(column("pitch"), 2)), 2.0)[three]
    shimmer = np.minimum(np.abs(np.diff(column("level"), 2)), 12.0)[three]
    assert value("jitter_mean") == pytest.approx(jitter.mean(), rel=1e-4)
    assert value("shimmer_deviation") == pytest.approx(shimmer.std(), rel=1e-4)
    step = np.diff(column("pitch"))
    steady = IS_VOICED[1:] & IS_VOICED[:-1] & (np.abs(step) < 4)
    assert value("pitch_rise_mean") == pytest.approx(step[steady & (step > 0)].mean(), rel=1e-5)
    assert value("pitch_fall_mean") == pytest.approx(step[steady & (step < 0)].mean(), rel=1e-5)


def test_voiced_runs():
    edges = np.flatnonzero(np.diff(np.concatenate([[0], IS_VOICED, [0]])))
    lengths = edges[1::2] - edges[::2]
    assert value("voiced_run") == pytest.approx(np.log1p(lengths.mean()), rel=1e-5)
    assert value("voiced_share") == pytest.approx(IS_VOICED.sum() / LOUD.sum(), rel=1e-5)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 60), max_size=12))
def test_block_by_block_is_the_same_as_at_once(sizes):
    chunks = np.split(FRAMES, np.minimum(np.cumsum([0, *sizes]), len(FRAMES)))
    np.testing.assert_allclose(functionals(*chunks), functionals(FRAMES), rtol=1e-6, atol=1e-6)


def test_one_or_four_blocks_at_a_time_are_the_same_sums_where_the_peak_rises_within_them():
    """What is loud is so of its frame, whatever louder frames come with it."""
    rising = FRAMES[40:140].copy()
    rising[:, SPEC.coefficients + DESCRIPTORS.index("level")] += np.linspace(-60, 60, 100)
    by_one, by_four, frame_by_frame = (
        functionals(*(rising[start : start + size] for start in range(0, 100, size))) for size in (4, 16, 1)
    )
    np.testing.assert_allclose(by_four, by_one, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(by_four, frame_by_frame, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 1.0])
def test_the_room_before_an_utterance_is_none_of_it(seconds):
    """How much of it a gate lets through must not matter."""
    hiss = 1e-4 * np.random.default_rng(1).standard_normal(round(16_000 * seconds)).astype(np.float32)
    after = voice_frames(np.concatenate([hiss, SOUND]), SPEC)
    found, expected = functionals(after), functionals(FRAMES)
    assert np.nanmax(np.abs(found - expected) / (np.abs(expected) + 1)) < 0.25
    assert np.nanmedian(np.abs(found - expected) / (np.abs(expected) + 1)) < 0.02


def test_a_new_utterance_knows_nothing_of_the_last():
    found = Functionals(SPEC)
    found.process(FRAMES)
    found.reset()
    found.process(FRAMES[40:100])
    np.testing.assert_array_equal(found.values(), functionals(FRAMES[40:100]))


def test_what_has_no_frames_is_not_a_number():
    assert np.isnan(functionals()[: NAMES.index("voiced_run")]).all()
    noise = 0.01 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    hissed = dict(zip(NAMES, functionals(voice_frames(noise, SPEC)), strict=True))
    assert np.isfinite(hissed["mfcc_3_mean"])
    assert hissed["voiced_share"] < 0.05


def test_the_frames_are_the_extractors_of_mfcc_in_any_chunks():
    mfcc = MfccExtractor(SPEC).process(SOUND)
    np.testing.assert_array_equal(FRAMES[: len(mfcc), : SPEC.coefficients], mfcc)
    whole = VoiceExtractor(SPEC).process(SOUND)
    for size in (37, 1_280, 5_000, 5_120):
        extractor = VoiceExtractor(SPEC)
        parts = [extractor.process(SOUND[start : start + size]) for start in range(0, len(SOUND), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_history_gives_the_frames_of_the_whole_sound():
    whole = VoiceExtractor(SPEC).process(SOUND)
    cut = 10 * SPEC.block_samples + SPEC.overlap_samples
    extractor = VoiceExtractor(SPEC)
    extractor.reset(history=SOUND[:cut])
    rest = extractor.process(SOUND[cut:])
    flux = SPEC.coefficients + DESCRIPTORS.index("flux")  # of the first frame: from silence
    rest[0, flux] = whole[40, flux]
    np.testing.assert_array_equal(rest, whole[40:])


def test_samples_of_twice_the_precision_are_the_same_sound():
    np.testing.assert_allclose(voice_frames(SOUND.astype(np.float64), SPEC), FRAMES, atol=1e-3)
