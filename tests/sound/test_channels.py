"""Several channels become one, and none is lost to another."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.sound.channels import Downmix
from edge.sound.level import level_dbfs
from edge.sound.recording import read_recording
from tests.support.ears import listening
from tests.support.sounds import chirp, to_int16
from tests.support.virtual_microphone import VirtualMicrophone

RATE_HZ = 16_000
VOICE = chirp(seconds=4.0)
NOISE = 5e-4 * np.random.default_rng(0).standard_normal((len(VOICE), 2)).astype(np.float32)


def mixed(*channels: np.ndarray, rate_hz: int = RATE_HZ) -> np.ndarray:
    return np.concatenate(list(Downmix(rate_hz).chunks([np.stack(channels, axis=1)])))


@pytest.mark.parametrize("gain", [1.0, 0.9, 0.8, 0.7])
@pytest.mark.parametrize("offsets", [(0.0, 0.0), (0.1, -0.05)])
def test_antiphase_is_heard_as_loud_as_its_louder_side(gain, offsets):
    left, right = gain * VOICE + NOISE[:, 0] + offsets[0], -VOICE + NOISE[:, 1] + offsets[1]
    both = mixed(left, right)
    both -= both.mean()
    assert level_dbfs(both) == pytest.approx(level_dbfs(VOICE), abs=1.0)


@pytest.mark.parametrize(
    "channels",
    [
        (VOICE, VOICE),
        (VOICE, np.zeros_like(VOICE)),
        (VOICE, -0.3 * VOICE),
        (VOICE, np.roll(VOICE, 8)),
        (VOICE, chirp(seconds=4.0, seed=3)),
        (NOISE[:, 0], NOISE[:, 1]),
        (VOICE, *[np.zeros_like(VOICE)] * 5),
    ],
    ids=["mono", "one dead", "echo", "spaced microphones", "two voices", "noise", "centre of six"],
)
def test_what_does_not_cancel_is_the_mean(channels):
    np.testing.assert_array_equal(mixed(*channels), np.stack(channels, axis=1).mean(axis=1))


def test_sides_do_not_change_while_both_are_alike():
    """A change of sides would turn the sound upside down in its middle."""
    wavering = 1 + 0.2 * np.sin(np.arange(len(VOICE)) / 3_000).astype(np.float32)
    both = mixed(wavering * VOICE, -VOICE / wavering)
    assert np.corrcoef(both, VOICE)[0, 1] > 0.9 or np.corrcoef(both, -VOICE)[0, 1] > 0.9


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9_000), min_size=1, max_size=30), st.sampled_from([8_000, 16_000, 44_100]))
def test_it_does_not_matter_how_the_sound_was_cut(sizes, rate_hz):
    frames = np.stack([VOICE, np.where(np.arange(len(VOICE)) > 30_000, -VOICE, VOICE)], axis=1)
    pieces = np.split(frames, np.cumsum(sizes)[np.cumsum(sizes) < len(frames)])
    cut = np.concatenate(list(Downmix(rate_hz).chunks(pieces)))
    np.testing.assert_array_equal(cut, mixed(*frames.T, rate_hz=rate_hz))
    assert len(cut) == len(frames)


def test_recordings_come_through_it(tmp_path):
    soundfile.write(tmp_path / "anti.flac", np.stack([VOICE, -VOICE], axis=1), RATE_HZ)
    heard = np.concatenate(list(read_recording(tmp_path / "anti.flac")))
    np.testing.assert_allclose(heard, VOICE, atol=1 / 32_768)


def test_microphones_come_through_it(tmp_path, monkeypatch):
    sound = to_int16(np.stack([VOICE, -VOICE], axis=1))
    with VirtualMicrophone(tmp_path / "microphone", channels=2) as microphone:
        microphone.plug_into(monkeypatch)
        with listening(keep_blocks=True) as ears:
            ears.until_block(0.0)
            microphone.play(sound)
    assert max(level_dbfs(block.samples) for block in ears.blocks) > -30
