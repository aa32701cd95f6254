"""Standardization against its definition, written out frame by frame in float64."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.features.normalize import Normalization, Normalizer

MEAN = [-200.0, 30.0, 5.0]
STD = [60.0, 20.0, 8.0]
GLOBAL = Normalization(kind="global", mean=MEAN, std=STD)
RUNNING = Normalization(kind="running", mean=MEAN, std=STD, prior_frames=5, horizon_frames=20)


def frames(count: int, seed: int = 0) -> np.ndarray:
    return (np.array(MEAN) + np.random.default_rng(seed).standard_normal((count, 3)) * STD).astype(np.float32)


def by_definition(settings: Normalization, sound: np.ndarray) -> np.ndarray:
    """The mean of `prior_frames` imagined training means and all frames so far; exponential beyond the horizon."""
    mean, seen, rows = np.array(settings.mean), settings.prior_frames, []
    for frame in sound.astype(np.float64):
        seen += 1
        weight = 1 / min(seen, settings.horizon_frames)
        mean = (1 - weight) * mean + weight * frame
        rows.append((frame - mean) / settings.std)
    return np.array(rows)


def test_global_is_the_training_set_s_mean_and_deviation():
    sound = frames(50)
    expected = (sound.astype(np.float64) - MEAN) / STD
    np.testing.assert_allclose(Normalizer(GLOBAL).process(sound), expected, atol=1e-5)


def test_running_is_its_definition():
    sound = frames(100)
    np.testing.assert_allclose(Normalizer(RUNNING).process(sound), by_definition(RUNNING, sound), atol=1e-4)


def test_before_the_horizon_running_is_the_mean_of_all_so_far():
    sound = frames(15)
    imagined = np.repeat([MEAN], RUNNING.prior_frames, axis=0)
    last = Normalizer(RUNNING).process(sound)[-1]
    np.testing.assert_allclose(last, (sound[-1] - np.concatenate([imagined, sound]).mean(axis=0)) / STD, atol=1e-5)


@settings(max_examples=50)
@given(st.sampled_from([GLOBAL, RUNNING]), st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_any_chunking_gives_the_same(kind, sizes):
    sound = frames(sum(sizes))
    chunked, start, normalizer = [], 0, Normalizer(kind)
    for size in sizes:
        chunked.append(normalizer.process(sound[start : start + size]))
        start += size
    np.testing.assert_array_equal(np.concatenate(chunked), Normalizer(kind).process(sound))


def test_reset_forgets_the_utterance_before():
    normalizer = Normalizer(RUNNING)
    normalizer.process(frames(30, seed=1))
    normalizer.reset()
    np.testing.assert_array_equal(normalizer.process(frames(30)), Normalizer(RUNNING).process(frames(30)))


def test_axes_between_are_independent_sounds():
    together = np.stack([frames(40, seed=seed) for seed in range(4)], axis=1)
    found = Normalizer(RUNNING).process(together)
    for index in range(4):
        np.testing.assert_array_equal(found[:, index], Normalizer(RUNNING).process(together[:, index]))


def test_frames_given_are_left_alone():
    sound = frames(10)
    kept = sound.copy()
    Normalizer(RUNNING).process(sound)
    np.testing.assert_array_equal(sound, kept)


@pytest.mark.parametrize(
    "wrong",
    [
        {"std": [0.0] * 3}, {"std": [-1.0] * 3}, {"mean": [1e300] * 3}, {"kind": "none"}, {"horizon_frames": 0},
        {"prior_frames": -1}, {"median": [0.0]},
    ],
)  # fmt: skip
def test_nonsense_is_refused(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "running", "mean": MEAN, "std": STD} | wrong, Normalization)
