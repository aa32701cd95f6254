"""Recordings and raw PCM as 16 kHz mono chunks, such as a microphone gives."""

import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edge.errors import InputError
from edge.sound.blocks import BLOCK_SAMPLES, from_int16, resample

_READ_S = 1.0


def read_recording(path: str | Path) -> Iterator[np.ndarray]:
    """Yield a recording as float32 mono chunks at 16 kHz, whatever its rate, channels and format.

    Channels are averaged; other rates go through soxr (high quality). Formats are recognised by content, not by name.
    Raises InputError if the file is missing, a folder, not sound, or holds no samples.
    """
    import soundfile  # a microphone does not need it

    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a sound file")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        with soundfile.SoundFile(path) as sound:
            chunks = sound.blocks(int(sound.samplerate * _READ_S), dtype="float32", always_2d=True)
            mono = (chunk[:, 0] if chunk.shape[1] == 1 else chunk.mean(axis=1) for chunk in chunks)
            empty = True
            for chunk in resample(mono, sound.samplerate):
                empty = empty and not len(chunk)
                yield chunk
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: not a readable sound file ({error.error_string.rstrip('.')})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if empty:
        raise InputError(f"{path}: the recording is empty")


def load_recording(path: str | Path) -> np.ndarray:
    """Return a whole recording as float32 (samples,) at 16 kHz mono. Raises InputError as `read_recording` does."""
    return np.concatenate(list(read_recording(path)))


def read_raw(stream: BinaryIO, stopping: Callable[[], bool] = lambda: False) -> Iterator[np.ndarray]:
    """Yield float32 chunks from raw signed 16-bit little-endian 16 kHz mono PCM, as it arrives, until `stopping`.

    Raises InputError if the stream ends without a single sample.
    """
    odd = b""
    empty = True
    while not stopping():
        if not select.select([stream], [], [], 0.25)[0]:
            continue
        data = os.read(stream.fileno(), BLOCK_SAMPLES * 2)
        if not data:
            break
        data = odd + data
        whole = len(data) - len(data) % 2
        odd = data[whole:]
        empty = empty and not whole
        yield from_int16(np.frombuffer(data[:whole], dtype="<i2"))
    if empty and not stopping():
        raise InputError("standard input: no samples (expected raw 16-bit little-endian mono PCM at 16 kHz)")
