"""Many channels become one: their mean, but where they cancel each other."""

from collections.abc import Iterable, Iterator

import numpy as np

PIECES_PER_S = 50
CANCELLED = 0.1  # the mean's power against that of channels which have nothing to do with each other: -10 dB
_KEPT = 0.9  # of the powers, from piece to piece: it is a wire that is the wrong way round, not a word
_LOUDER = 4.0  # so much more power another channel must have to be taken instead of the one before


class Downmix:
    """Makes one channel of several, piece by piece of 20 ms, so that it does not matter how sound was cut.

    The mean, or, where that is far below the channels themselves (a stereo microphone of which one side is wired the
    other way round), the louder channel. Which one only changes for a much louder one: each change of sides would turn
    the sound upside down. Powers are about a channel's own mean: an offset is no sound.
    """

    def __init__(self, rate_hz: int) -> None:
        self._piece = max(1, round(rate_hz / PIECES_PER_S))
        self._chosen: int | None = None
        self._alone, self._together = np.zeros(1), 0.0  # powers of the channels, and of their mean

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
        for number, (alone, together) in enumerate(zip(pieces.var(axis=1), mean.var(axis=1), strict=True)):
            self._alone = _KEPT * self._alone + alone
            self._together = _KEPT * self._together + float(together)
            if len(alone) * self._together < CANCELLED * self._alone.mean():
                mean[number] = pieces[number, :, self._choose()]
        return mean.reshape(-1)

    def _choose(self) -> int:
        loudest = int(self._alone.argmax())
        if self._chosen is None or self._alone[loudest] > _LOUDER * self._alone[self._chosen]:
            self._chosen = loudest
        return self._chosen
