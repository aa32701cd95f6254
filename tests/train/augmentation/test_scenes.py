"""Scenes: the truth about made sounds, the same ones for a seed; and the noises by formula in them."""

import numpy as np
import pytest

from edge.features.mfcc import MfccSpec
from tests.support.lab import tiny_clips, tiny_config
from train.augmentation import noises
from train.augmentation import scenes as module
from train.augmentation.scenes import BLOCKS, Scenes, _truth, scenes
from train.augmentation.teacher import SPEECH, UNCLEAR
from train.data.features import Cache

SPEC = MfccSpec()
BLOCK = SPEC.block_samples


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return tiny_clips(folder, tiny_config(folder))


def made(clips, folder, *, seed: int = 0, count: int = 3, processes: int = 1) -> Scenes:
    return scenes(count, clips, [], SPEC, Cache(folder), seed=seed, tell=lambda *_: None, processes=processes)


@pytest.fixture
def of_few(monkeypatch) -> None:
    """Whoever asks for some scenes has a shard of them made: a small one is enough here."""
    monkeypatch.setattr(module, "PER_SHARD", 10)


@pytest.mark.usefixtures("of_few")
def test_the_same_seed_gives_the_same_scenes_and_another_one_others(clips, tmp_path):
    first, again, kept = (made(clips, tmp_path / name) for name in ("a", "b", "a"))
    for one, two, three in zip(first, again, kept, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    assert not np.array_equal(first.frames, made(clips, tmp_path / "a", seed=1).frames)


@pytest.mark.usefixtures("of_few")
def test_several_processes_make_the_same_scenes(clips, tmp_path):
    one, two = made(clips, tmp_path / "a", count=21), made(clips, tmp_path / "b", count=21, processes=2)
    assert len(one.frames) == 21
    for here, there in zip(one, two, strict=True):
        np.testing.assert_array_equal(here, there)


def test_scenes_hold_speech_where_they_say_so(clips, tmp_path, monkeypatch):
    """Blocks called speech are louder than the quiet ones of the same scene, and some scenes hold none."""
    monkeypatch.setattr(module, "PER_SHARD", 40)
    found = made(clips, tmp_path, count=40)
    assert found.frames.shape == (40, BLOCKS * SPEC.block_frames, SPEC.coefficients)
    assert found.frames.dtype == np.float16
    assert found.speech.shape == found.weight.shape == (40, BLOCKS)
    level = found.frames[:, :: SPEC.block_frames, 0].astype(np.float32)
    spoken = (found.speech == 1) & (found.weight >= 1.0)
    assert 0.1 < spoken.any(axis=1).mean() < 0.9
    differences = [
        level[scene][spoken[scene]].mean() - np.percentile(level[scene], 10)
        for scene in np.flatnonzero(spoken.any(axis=1))
    ]
    assert np.mean(differences) > 30  # sqrt(40) a dB


def test_the_truth_about_a_block_and_how_clear_it_is():
    marks = np.zeros(10 * BLOCK, np.int8)
    marks[2 * BLOCK + BLOCK // 4 : 5 * BLOCK] = SPEECH
    marks[9 * BLOCK :] = UNCLEAR
    voice = np.where(marks == SPEECH, 0.1, 0.0)
    voice[4 * BLOCK : 5 * BLOCK] = 1e-6
    speech, weight = _truth(marks, voice, np.full(len(voice), 0.01), SPEC)
    assert speech.tolist() == [False, False, True, True, True, False, False, False, False, False]
    begins, drowned, decays, doubted, clear, onset = 0.3, 0.0, 0.15, 0.0, 1.0, 2.0
    assert weight.tolist() == [clear, clear, begins, onset, drowned, decays, decays, decays, clear, doubted]


def test_noises_are_sound_of_power_one():
    rng = np.random.default_rng(0)
    for sound in [*(noises.event(rng) for _ in range(60)), noises.ambient(16_000, rng)]:
        assert np.isfinite(sound).all()
        assert 0.05 * 16_000 < len(sound) < 30 * 16_000
        assert np.mean(np.square(sound, dtype=np.float64)) == pytest.approx(1, abs=0.01)
