"""Many channels become one: their mean, but where they cancel each other."""

from collections.abc import Iterable, Iterator

import numpy as np

PIECES_PER_S = 50
CANCELLED = 0.02  # the mean's power against that of channels which have nothing to do with each other: -17 dB
_LOUDER = 4.0  # so much more power another channel must have to be taken instead of the one before


class Downmix:
    """Makes one channel of several, piece by piece of 20 ms, so that it does not matter how sound was cut.

    The mean, or, where it is far below the channels themselves (a stereo microphone of which one side is wired the
    other way round), the louder channel. Which one only changes for a much louder one: each change of sides would turn
    the sound upside down.
    """

    def __init__(self, rate_hz: int) -> None:
        self._piece = max(1, round(rate_hz / PIECES_PER_S))
        self._chosen: int | None = None

    def chunks(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield float32 (n,) from float32 (n, channels) of any length."""
        pending: np.ndarray | None = None
        for chunk in frames:
            if chunk.shape[1] == 1:
                yield chunk[:, 0]
                continue
            pending = chunk if pending is None else np.concatenate([pending, chunk])
            whole = len(pending) // self._piece * self._piece
            if whole:
                yield self._mixed(pending[:whole].reshape(-1, self._piece, pending.shape[1]))
                pending = pending[whole:]
        if pending is not None and len(pending):
            yield self._mixed(pending[None])

    def _mixed(self, pieces: np.ndarray) -> np.ndarray:
        """Return (pieces * samples,) of (pieces, samples, channels)."""
        mean = pieces.mean(axis=2)
        channels, alone, together = pieces.shape[2], _powers(pieces), _powers(mean[:, :, None])[:, 0]
        for number in np.flatnonzero(channels * together < CANCELLED * alone.mean(axis=1)):
            mean[number] = pieces[number, :, self._choose(alone[number])]
        return mean.reshape(-1)

    def _choose(self, powers: np.ndarray) -> int:
        loudest = int(powers.argmax())
        if self._chosen is None or powers[loudest] > _LOUDER * powers[self._chosen]:
            self._chosen = loudest
        return self._chosen


def _powers(pieces: np.ndarray) -> np.ndarray:
    """Return the power of each channel about its own mean, (pieces, channels): an offset is no sound."""
    return pieces.var(axis=1)
