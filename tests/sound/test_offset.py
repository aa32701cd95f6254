"""A constant offset is no sound, on the sensor and in the laboratory."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.commands.classify import classify
from edge.commands.demo import RECORDING
from edge.config import EdgeConfig
from edge.labels import QUIET
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import BLOCK_S, SAMPLE_RATE_HZ, timed_blocks
from edge.sound.offset import JUMPED_BLOCKS
from edge.sound.recording import load_recording, read_recording
from edge.sound.signal_check import SignalCheck
from tests.support.sounds import chirp, corpus_clips

ROOM = 5e-4 * np.random.default_rng(1).standard_normal(SAMPLE_RATE_HZ * 20)
SPEECH = soundfile.read(RECORDING)[0]
ARTIFACT, MODEL = load(DEFAULT_MODEL)


def blocks(sound: np.ndarray) -> list:
    return list(timed_blocks([sound.astype(np.float32)], started_at=0.0))


def without(sound: np.ndarray) -> np.ndarray:
    return np.concatenate([block.samples for block in blocks(sound)])


def told(path, sound: np.ndarray) -> list[dict]:
    soundfile.write(path, sound, SAMPLE_RATE_HZ, subtype="PCM_16")
    *events, _ = classify(path, MODEL, ARTIFACT.manifest, EdgeConfig())
    return events


@pytest.mark.parametrize("offset", [0.001, 0.003, 0.01, 0.1, 0.3, -0.3])
def test_an_empty_room_is_quiet_at_any_offset(tmp_path, offset):
    assert told(tmp_path / "room.wav", ROOM + offset) == []


@pytest.mark.parametrize("offset", [0.02, 0.1, 0.3, -0.2])
def test_speech_on_an_offset_gives_the_events_that_it_gives_without(tmp_path, offset):
    plain, moved = (told(tmp_path / "speech.wav", SPEECH + by) for by in (0.0, offset))
    assert len(plain) >= 15
    assert [(e["event_type"], e["t_s"]) for e in moved] == [(e["event_type"], e["t_s"]) for e in plain]
    assert [e["confidence"] for e in moved] == pytest.approx([e["confidence"] for e in plain], abs=0.001)


def test_speech_after_an_offset_that_came_by_itself_is_still_heard(tmp_path):
    events = told(tmp_path / "late.wav", np.concatenate([ROOM, ROOM + 0.1, SPEECH[: 12 * SAMPLE_RATE_HZ] + 0.1]))
    assert {event["event_type"] for event in events} - {QUIET}
    assert all(event["t_s"] > 2 * len(ROOM) / SAMPLE_RATE_HZ for event in events)


@pytest.mark.parametrize("tau_s", [0.05, 0.5, 3.0])
def test_a_microphone_whose_offset_settles_after_it_was_opened_does_not_speak(tmp_path, tau_s):
    settling = 0.3 * np.exp(-np.arange(len(ROOM)) / SAMPLE_RATE_HZ / tau_s)
    assert told(tmp_path / "settling.wav", ROOM + settling) == []


def test_a_jump_is_followed_within_blocks():
    sound = without(np.concatenate([ROOM, ROOM + 0.2, ROOM - 0.1]))
    for jump in (len(ROOM), 2 * len(ROOM)):
        after = jump + (JUMPED_BLOCKS + 1) * round(BLOCK_S * SAMPLE_RATE_HZ)
        assert np.abs(sound[after : after + 1_000].mean()) < 2e-4


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9_000), min_size=1, max_size=40), st.sampled_from([0.0, 0.05]))
def test_it_does_not_matter_how_the_sound_was_cut(sizes, offset):
    sound = (chirp(seconds=6.0) + offset).astype(np.float32)
    pieces = np.split(sound, np.cumsum(sizes)[np.cumsum(sizes) < len(sound)])
    cut = np.concatenate([block.samples for block in timed_blocks(pieces, started_at=0.0)])
    np.testing.assert_array_equal(cut, without(sound))


def test_the_laboratory_has_what_the_sensor_hears_and_the_tail_too(tmp_path):
    soundfile.write(tmp_path / "clip.wav", chirp(seconds=2.03) + 0.1, SAMPLE_RATE_HZ)
    clip, heard = load_recording(tmp_path / "clip.wav"), np.concatenate(list(read_recording(tmp_path / "clip.wav")))
    sensed = without(heard)
    assert len(clip) == len(heard) > len(sensed)
    np.testing.assert_array_equal(clip[: len(sensed)], sensed)
    assert np.abs(clip[len(sensed) :].mean()) < 0.01


def test_what_was_taken_is_told_so_that_what_was_captured_can_be_known():
    for block, captured in zip(blocks(ROOM + 0.25), (ROOM + 0.25).reshape(-1, 1_280), strict=True):
        assert block.offset == pytest.approx(0.25, abs=1e-3)
        np.testing.assert_allclose(block.captured, captured, atol=1e-7)


def test_real_voices_without_an_offset_stay_what_they_were():
    """Less is taken than rumbles in them below the lowest voice, where they begin most of all."""
    for path in corpus_clips(20):
        sound = np.concatenate(list(read_recording(path)))
        taken = sound - load_recording(path)
        assert np.abs(taken).max() < 0.03 * np.abs(sound).max(), path
        assert np.square(taken).mean() < 2e-3 * np.square(sound).mean(), path


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (np.zeros(len(ROOM)), "zeros"),
        (np.full(len(ROOM), 0.25), "constant"),
        (np.full(len(ROOM), -1e-3), "constant"),
        (np.concatenate([ROOM + 0.3, np.zeros(len(ROOM))]), "zeros"),
        (np.concatenate([ROOM, np.full(len(ROOM), 0.3)]), "constant"),
        (np.clip(3e3 * ROOM + 0.3, -1, 1), "clipped"),
    ],
    ids=["zeros", "constant", "hardly constant", "a room that turns to zeros", "a room that freezes", "clipped"],
)
def test_a_dead_microphone_is_still_told_for_what_it_is(sound, reason):
    check = SignalCheck()
    assert [check.process(block) for block in blocks(sound)][-1] == reason
