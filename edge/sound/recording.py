"""Recordings, pipes and raw PCM as 16 kHz mono chunks, such as a microphone gives: the one way in for all files."""

import errno
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
_MEANT = {  # by names that no file has
    "": ": its name is empty",
    "-": "; standard input is heard by `roomtone run --input -`, or as /dev/stdin",
}


def read_recording(
    path: str | Path, tell: Callable[[str], None] = lambda remark: None, stopping: Callable[[], bool] = lambda: False
) -> Iterator[np.ndarray]:
    """Yield a recording as float32 mono chunks at 16 kHz, whatever its rate, channels and format, to its real end.

    Channels become one (edge/sound/channels.py); other rates go through soxr (high quality). Formats are recognised by
    content, not by name; recordings joined end to end are all heard. A pipe is heard as it comes, until `stopping`.
    Memory does not depend on the length. `tell` is given a line about what is there only in part, or waited for.
    Raises InputError if the file is missing, a folder, not sound, damaged, holds no samples, or samples, a rate or
    channels that no recorder gives.
    """
    with _unless(stopping), _opened(path, tell, stopping) as source:
        yield from _heard(str(path), source, tell, stopping)


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


def read_stream(
    stream: BinaryIO, stopping: Callable[[], bool] = lambda: False, tell: Callable[[str], None] = lambda remark: None
) -> Iterator[np.ndarray]:
    """Yield float32 mono chunks at 16 kHz from a stream as it arrives, until `stopping`.

    A sound file (WAV, FLAC, Ogg, ...) is recognised by its header; all else that is not clearly something else, such as
    text or a picture, is raw signed 16-bit little-endian mono PCM at 16 kHz. `tell` is given a line about what is there
    only in part. Raises InputError as `read_recording` does, and if the stream ends without a single sample.
    """
    if os.isatty(stream.fileno()):
        raise InputError(f"{_STDIN}: is a terminal: pipe sound in (`arecord ... | roomtone run --input -`)")
    source = Passing(stream.fileno(), stopping)
    with _unless(stopping), _read(_STDIN):
        head = source.await_head(TELLING_BYTES)
        if kind_of(head) or foreign(head, sure=True):
            yield from _heard(_STDIN, source, tell, stopping)
        else:
            yield from _pcm(source)


@contextmanager
def _unless(stopping: Callable[[], bool]) -> Iterator[None]:
    """Say nothing of what was cut short by us."""
    try:
        yield
    except InputError:
        if not stopping():
            raise


@contextmanager
def _read(name: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = "it is closed" if error.errno == errno.EBADF else error.strerror or error
        raise InputError(f"{name}: cannot be read ({why})") from error


def _heard(
    name: str, source: Stored | Passing, tell: Callable[[str], None], stopping: Callable[[], bool]
) -> Iterator[np.ndarray]:
    from edge.sound.decoding import decoding  # a microphone does not need it

    part: Stored | Passing | None = source
    while part is not None:
        with decoding(name, part, lambda remark: None if stopping() else tell(remark)) as sound:
            yield from resample(Downmix(sound.rate_hz).chunks(sound.chunks()), sound.rate_hz)
            part = sound.following


def _pcm(source: Passing) -> Iterator[np.ndarray]:
    source.opening = False
    place = 0
    while data := source.at(place, BLOCK_SAMPLES * 2):
        place += len(data)
        yield from_int16(np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2"))
    if place < 2:
        raise InputError(f"{_STDIN}: no samples (expected a sound file, or 16-bit little-endian mono PCM at 16 kHz)")


@contextmanager
def _opened(
    path: str | Path, tell: Callable[[str], None], stopping: Callable[[], bool]
) -> Iterator[Stored | Passing]:
    """Open what may be read as a recording, by descriptor: libsndfile would draw conclusions from a name."""
    try:
        # Not waiting for whoever writes into a pipe: nobody would know what is waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file{_MEANT.get(str(path), '')}") from error
    except (OSError, ValueError) as error:  # the latter for a name that cannot be one
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path}: is a folder, expected a sound file (those in it: {path}/*)")
        if os.isatty(descriptor):
            raise InputError(f"{path}: is a terminal, expected a sound file")
        with _read(path):
            if stat.S_ISREG(mode):
                yield Stored(descriptor)
            else:
                source = Passing(descriptor, stopping)
                if stat.S_ISFIFO(mode) and not source.has_writer():
                    tell(f"{path}: waiting for something to write into this pipe")
                yield source
    finally:
        os.close(descriptor)
