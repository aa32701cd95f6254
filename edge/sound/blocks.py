"""Sound as timed blocks of 16 kHz mono, the same from every source."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from edge.sound.offset import OffsetRemoval

SAMPLE_RATE_HZ = 16_000
BLOCK_SAMPLES = 1_280  # 80 ms: four hops of 20 ms
BLOCK_S = BLOCK_SAMPLES / SAMPLE_RATE_HZ


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """80 ms of sound.

    samples: float32 (BLOCK_SAMPLES,), full scale is 1.0, without the source's constant offset.
    offset: what was taken away; `samples + offset` is what was captured.
    end_s: seconds of sound since the source began, at the block's last sample.
    captured_at: Unix time in seconds of the block's last sample.
    """

    samples: np.ndarray
    end_s: float
    captured_at: float
    offset: float = 0.0

    @property
    def captured(self) -> np.ndarray:
        """The samples as they were captured, offset and all: float32 (BLOCK_SAMPLES,)."""
        return self.samples + np.float32(self.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Sent by a source in place of blocks, about once a second, while no sound flows.

    reason: a stable code (`absent`, `busy`, `stalled`, ...); detail: the same in words, for people.
    """

    reason: str
    detail: str


def resample(chunks: Iterable[np.ndarray], rate_hz: int) -> Iterator[np.ndarray]:
    """Yield mono float32 chunks of `rate_hz` as chunks at 16 kHz (soxr, streaming: chunking does not matter)."""
    if rate_hz == SAMPLE_RATE_HZ:
        yield from chunks
        return
    import soxr  # most microphones give 16 kHz

    stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
    for chunk in chunks:
        yield stream.resample_chunk(np.ascontiguousarray(chunk))
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def reblock(chunks: Iterable[np.ndarray], size: int = BLOCK_SAMPLES, *, rest: bool = False) -> Iterator[np.ndarray]:
    """Yield arrays of exactly `size` samples from chunks of any length; a tail shorter than `size` only with `rest`."""
    pending = np.zeros(0, np.float32)
    for chunk in chunks:
        pending = np.concatenate([pending, chunk])
        whole = len(pending) - len(pending) % size
        for start in range(0, whole, size):
            yield pending[start : start + size]
        pending = pending[whole:]
    if rest and len(pending):
        yield pending


def steady_blocks(chunks: Iterable[np.ndarray], *, rest: bool = False) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the samples of each block without the constant offset, and that offset, from 16 kHz chunks of any length.

    rest: also the tail that fills no block. All sound comes through here, the sensor's and the laboratory's.
    """
    removal = OffsetRemoval(BLOCK_SAMPLES)
    for samples in reblock(chunks, rest=rest):
        yield removal.removed(samples), removal.offset


def timed_blocks(chunks: Iterable[np.ndarray], *, started_at: float) -> Iterator[Block]:
    """Yield Blocks from 16 kHz chunks; the clock is that of the sound, counted from Unix time `started_at`."""
    for number, (samples, offset) in enumerate(steady_blocks(chunks), start=1):
        end_s = number * BLOCK_S
        yield Block(samples=samples, end_s=end_s, captured_at=started_at + end_s, offset=offset)


def paced(blocks: Iterable[Block], stopping: Callable[[], bool] = lambda: False) -> Iterator[Block]:
    """Yield blocks no sooner than their own clock says, until `stopping`: a recording played as a microphone."""
    ahead_of_monotonic_s = time.time() - time.monotonic()  # once: a clock that steps must not hold the sound up
    for block in blocks:
        while (ahead_s := block.captured_at - ahead_of_monotonic_s - time.monotonic()) > 0 and not stopping():
            time.sleep(min(ahead_s, 0.1))
        if stopping():
            return
        yield block


def from_int16(samples: np.ndarray) -> np.ndarray:
    """Return int16 samples as float32 of full scale 1.0, exactly as libsndfile reads a 16-bit file."""
    return samples.astype(np.float32) / np.float32(32_768)
