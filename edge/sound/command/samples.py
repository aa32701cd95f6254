"""What a command writes, as interleaved int16 of at most two channels: what stands in the ring (edge/sound/child.py).

numpy and libsndfile are loaded only where they are needed: a process that hands on plain samples takes 12 MB.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from edge.sound.kinds import TELLING_BYTES, foreign, kind_of
from edge.sound.tape import Passing

MOST_CHANNELS = 2  # further ones are often no microphones
_READ_BYTES = 1 << 16
_WIDTHS = {"s16le": 2, "s16be": 2, "s24le": 3, "s32le": 4, "f32le": 4}


class StrangeError(Exception):
    """What came is no sound; the message says what it is."""


class Pcm(NamedTuple):
    """How raw samples stand: `format` is one of edge/config.py."""

    rate_hz: int
    channels: int
    format: str


class Sound(NamedTuple):
    """rate_hz, channels: as in `pieces`, which are bytes of int16."""

    rate_hz: int
    channels: int
    pieces: Iterator[bytes]


def sound_of(source: Passing, pcm: Pcm, tell: Callable[[str], None]) -> Iterator[Sound]:
    """Yield the sound that comes, if any does: with a header of its own, or as `pcm`.

    tell: is given a line about what is not as it should be. Raises StrangeError for what is clearly something else, and
    InputError for a file that is damaged.
    """
    head = source.await_head(TELLING_BYTES)
    if not head:
        return
    if kind_of(head):
        yield from _decoded(source, tell)
    elif strange := foreign(head, sure=True):
        raise StrangeError(f"it writes {strange[0]}")
    else:
        source.opening = False
        yield Sound(pcm.rate_hz, min(pcm.channels, MOST_CHANNELS), _raw(source, head, pcm))


def _raw(source: Passing, head: bytes, pcm: Pcm) -> Iterator[bytes]:
    frame_bytes = pcm.channels * _WIDTHS[pcm.format]
    pending = head
    while pending:
        whole = len(pending) // frame_bytes * frame_bytes
        if whole:
            yield _int16(pending[:whole], pcm)
        more = source.some(_READ_BYTES)
        pending = pending[whole:] + more if more else b""


def _int16(data: bytes, pcm: Pcm) -> bytes:
    """Return whole frames as int16 of the first channels; full scale stays full scale."""
    if pcm.format == "s16le" and pcm.channels <= MOST_CHANNELS:
        return data
    import numpy as np

    if pcm.format == "f32le":
        samples = _rounded(np.frombuffer(data, "<f4"))
    elif pcm.format == "s16be":
        samples = np.frombuffer(data, ">i2").astype("<i2")
    else:  # the two upper bytes
        width = _WIDTHS[pcm.format]
        samples = np.frombuffer(data, np.uint8).reshape(-1, width)[:, width - 2 :].copy().view("<i2")
    return samples.reshape(-1, pcm.channels)[:, :MOST_CHANNELS].tobytes()


def _decoded(source: Passing, tell: Callable[[str], None]) -> Iterator[Sound]:
    from edge.sound.decoding import decoding

    with decoding("what it writes", source, tell) as sound:
        chunks = (_rounded(chunk[:, :MOST_CHANNELS]).tobytes() for chunk in sound.chunks())
        yield Sound(sound.rate_hz, min(sound.channels, MOST_CHANNELS), chunks)


def _rounded(samples):
    """Return float32 of full scale 1 as int16; what is beyond is clipped, and what is no number is silence."""
    import numpy as np

    return np.clip(np.rint(np.nan_to_num(samples) * 32_768), -32_768, 32_767).astype("<i2")
