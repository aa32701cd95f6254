"""Recordings, pipes and raw PCM as 16 kHz mono chunks, such as a microphone gives: the one way in for all files."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edge.errors import InputError
from edge.sound.blocks import BLOCK_SAMPLES, SAMPLE_RATE_HZ, from_int16, resample, steady_blocks
from edge.sound.channels import Downmix
from edge.sound.kinds import TELLING_BYTES, foreign, kind_of
from edge.sound.tape import Passing, Stored

LONGEST_S = 1_800.0  # of what is held in memory as a whole
_STDIN = "standard input"


def read_recording(path: str | Path) -> Iterator[np.ndarray]:
    """Yield a recording as float32 mono chunks at 16 kHz, whatever its rate, channels and format, to its real end.

    Channels become one (edge/sound/channels.py); other rates go through soxr (high quality). Formats are recognised by
    content, not by name. A pipe is heard as it comes. Memory does not depend on the length.
    Raises InputError if the file is missing, a folder, not sound, damaged, holds no samples, or samples, a rate or
    channels that no recorder gives.
    """
    with _opened(path) as source:
        yield from _heard(str(path), source)


def load_recording(path: str | Path) -> np.ndarray:
    """Return a whole recording as float32 (samples,) at 16 kHz mono, without its constant offset, as the sensor hears
    it. Raises InputError as `read_recording` does, and for one of more than LONGEST_S."""
    sound = np.empty(BLOCK_SAMPLES, np.float32)
    length = 0
    for chunk, _ in steady_blocks(read_recording(path), rest=True):
        while length + len(chunk) > len(sound):
            sound.resize(len(sound) * 3 // 2, refcheck=False)
        sound[length : length + len(chunk)] = chunk
        length += len(chunk)
        if length > LONGEST_S * SAMPLE_RATE_HZ:
            raise InputError(f"{path}: longer than {LONGEST_S / 60:.0f} minutes: cut it into pieces")
    sound.resize(length, refcheck=False)
    return sound


def read_stream(stream: BinaryIO, stopping: Callable[[], bool] = lambda: False) -> Iterator[np.ndarray]:
    """Yield float32 mono chunks at 16 kHz from a stream as it arrives, until `stopping`.

    A sound file (WAV, FLAC, Ogg, ...) is recognised by its header; all else is raw signed 16-bit little-endian mono PCM
    at 16 kHz. Raises InputError as `read_recording` does, and if the stream ends without a single sample.
    """
    source = Passing(stream.fileno(), stopping)
    head = source.await_head(TELLING_BYTES)
    chunks = _heard(_STDIN, source) if kind_of(head) or foreign(head, sure=True) else _pcm(source)
    try:
        yield from chunks
    except InputError:
        if not stopping():  # it was cut short by us
            raise


def _heard(name: str, source: Stored | Passing) -> Iterator[np.ndarray]:
    from edge.sound.decoding import decoding  # a microphone does not need it

    with decoding(name, source) as sound:
        yield from resample(Downmix(sound.rate_hz).chunks(sound.chunks()), sound.rate_hz)


def _pcm(source: Passing) -> Iterator[np.ndarray]:
    source.opening = False
    place = 0
    while data := source.at(place, BLOCK_SAMPLES * 2):
        place += len(data)
        yield from_int16(np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2"))
    if place < 2:
        raise InputError(f"{_STDIN}: no samples (expected a sound file, or 16-bit little-endian mono PCM at 16 kHz)")


@contextmanager
def _opened(path: str | Path) -> Iterator[Stored | Passing]:
    """Open what may be read as a recording, by descriptor: libsndfile would draw conclusions from a name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # the latter for a name that cannot be one
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path}: is a folder, expected a sound file")
        if os.isatty(descriptor):
            raise InputError(f"{path}: is a terminal, expected a sound file")
        yield Stored(descriptor) if stat.S_ISREG(mode) else Passing(descriptor)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    finally:
        os.close(descriptor)
