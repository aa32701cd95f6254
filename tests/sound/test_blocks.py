"""Recordings and raw PCM as blocks, against soundfile, soxr and the published corpus's quirks."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import InputError
from edge.sound.blocks import BLOCK_SAMPLES, from_int16, reblock, timed_blocks
from edge.sound.recording import load_recording, read_recording, read_stream
from tests.support.sounds import CORPORA, ROOT, chirp, to_int16


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_414, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16")]
)
def test_reads_any_rate_channels_and_format_as_soxr_would(tmp_path, rate_hz, channels, container, subtype):
    path = tmp_path / "sound.wav"  # the name says nothing: libsndfile looks at the content
    sound = chirp(seconds=1.5, rate_hz=rate_hz)
    soundfile.write(path, np.stack([sound] * channels, axis=1), rate_hz, format=container, subtype=subtype)
    stored = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    expected = stored if rate_hz == 16_000 else soxr.resample(stored, rate_hz, 16_000)
    np.testing.assert_allclose(np.concatenate(list(read_recording(path))), expected, atol=1e-6)
    assert len(load_recording(path)) == len(expected)


def test_reads_the_corpus_as_published():
    quirks = {"YAF_germ_angry.wav", "YAF_neat_fear.wav", "OAF_food_fear.wav"}
    found = sorted((CORPORA / "TESS-original").glob("*/*.wav"))
    if not found:
        pytest.skip("needs the corpus TESS-original (ROOMTONE_CORPORA)")
    assert quirks <= {path.name for path in found}
    for path in found:
        info = soundfile.info(path)
        assert abs(len(load_recording(path)) - info.duration * 16_000) <= 1


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5_000), max_size=30))
def test_reblocking_keeps_every_sample_in_order(sizes):
    sound = np.arange(sum(sizes), dtype=np.float32)
    blocks = list(reblock(np.split(sound, np.cumsum(sizes)[:-1])) if sizes else [])
    assert all(len(block) == BLOCK_SAMPLES for block in blocks)
    whole = len(sound) // BLOCK_SAMPLES * BLOCK_SAMPLES
    np.testing.assert_array_equal(np.concatenate([*blocks, []]), sound[:whole])


def test_blocks_tell_the_time_of_their_last_sample():
    first, second = timed_blocks([np.zeros(2 * BLOCK_SAMPLES, np.float32)], started_at=100.0)
    assert (first.end_s, first.captured_at) == (0.08, 100.08)
    assert (second.end_s, second.captured_at) == (0.16, 100.16)


def test_int16_goes_there_and_back_unchanged():
    every = np.arange(-32_768, 32_768, dtype=np.int16)
    np.testing.assert_array_equal(to_int16(from_int16(every)), every)
    np.testing.assert_array_equal(to_int16(np.array([2.0, -2.0], np.float32)), [32_767, -32_768])
    file = io.BytesIO()
    soundfile.write(file, every, 16_000, format="WAV", subtype="PCM_16")
    file.seek(0)
    np.testing.assert_array_equal(from_int16(every), soundfile.read(file, dtype="float32")[0])


def test_raw_pcm_arrives_whole_however_it_is_cut():
    sound = to_int16(chirp(seconds=1.0))
    out, into = os.pipe()
    script = (
        "import sys, time\ndata = sys.stdin.buffer.read()\n"
        "for start in range(0, len(data), 3001):\n"
        "    sys.stdout.buffer.write(data[start:start + 3001]); sys.stdout.flush()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=into) as writer:
        os.close(into)
        writer.stdin.write(sound.astype("<i2").tobytes())
        writer.stdin.close()
        with open(out, "rb", buffering=0) as stream:
            np.testing.assert_array_equal(np.concatenate(list(read_stream(stream))), from_int16(sound))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.wav", b"this is no sound\n" * 20, "not a readable sound file"),
        ("nothing.wav", b"", "not a readable sound file"),
        ("missing.wav", None, "no such file"),
    ],
)
def test_what_is_not_sound_is_named(tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: {says}"):
        load_recording(path)


def test_folders_and_empty_recordings_are_named(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        list(read_recording(tmp_path))
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    with pytest.raises(InputError, match=r"empty\.wav: the recording is empty"):
        list(read_recording(tmp_path / "empty.wav"))


def test_raw_pcm_without_a_sample_is_an_error():
    with open(os.devnull, "rb", buffering=0) as nothing, pytest.raises(InputError, match="no samples"):
        list(read_stream(nothing))


def test_the_sensor_knows_nothing_of_the_workstation():
    """In a fresh interpreter with the workstation's packages blocked, all of edge imports."""
    script = """
import importlib, pkgutil, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'tensorflow', 'keras', 'librosa', 'numba', 'scipy', 'train', 'convert'}:
            raise ImportError(f'{name} is not on a Pi')
sys.meta_path.insert(0, Blocked())
import edge
for module in pkgutil.walk_packages(edge.__path__, 'edge.'):
    if module.name != 'edge.__main__':
        importlib.import_module(module.name)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
