"""Up to which frequency a microphone delivers anything: a telephone's 3.4 kHz, a headset's 4 or 7, or all there is.

A speech gate and a network that were trained on whole voices are hard of hearing on half ones.
"""

import numpy as np

from edge.sound.blocks import BLOCK_SAMPLES, SAMPLE_RATE_HZ

BAND_HZ = 250
EVERY_BLOCKS = 4  # of speech: a spectrum of each would cost more than it tells
KNOWN_BLOCKS = 12  # that many spectra, so that hisses are among the vowels
MEMORY_BLOCKS = 250
NOTHING_DB = 50.0  # so far below the strongest band is nothing: speech is at -43 there, up to 7.5 kHz
NARROW_HZ = 6_500
_BINS = BAND_HZ * BLOCK_SAMPLES // SAMPLE_RATE_HZ
_LEAKED_DB = 20.0  # so far below the band before, in the highest that counts: what a filter's edge let through


class Bandwidth:
    """Follows the mean spectrum of what is spoken. every: of so many blocks one is looked at."""

    def __init__(self, *, every: int = EVERY_BLOCKS) -> None:
        self._every = every
        self._window = np.hanning(BLOCK_SAMPLES).astype(np.float32)
        self._bands = np.zeros(SAMPLE_RATE_HZ // 2 // BAND_HZ)
        self._offered = self._looked = 0

    def add(self, samples: np.ndarray) -> None:
        """Take a block (BLOCK_SAMPLES,) in which somebody speaks."""
        self._offered += 1
        if self._offered % self._every:
            return
        spectrum = np.fft.rfft(samples * self._window)[1:]
        bands = (spectrum.real**2 + spectrum.imag**2).reshape(-1, _BINS).mean(axis=1)
        self._looked += 1
        self._bands += (bands - self._bands) / min(self._looked, MEMORY_BLOCKS)

    @property
    def hz(self) -> int | None:
        """The frequency above which nothing comes, in steps of BAND_HZ up to 8000 (all); None while too little was
        spoken."""
        if self._looked < KNOWN_BLOCKS or not self._bands.max():
            return None
        level_db = 10 * np.log10(np.maximum(self._bands / self._bands.max(), 1e-20))
        highest = int(np.flatnonzero(level_db > -NOTHING_DB)[-1])
        if 0 < highest < len(level_db) - 1 and level_db[highest] < level_db[highest - 1] - _LEAKED_DB:
            highest -= 1
        # The topmost band is a resampler's edge in all sound.
        return SAMPLE_RATE_HZ // 2 if highest >= len(level_db) - 2 else (highest + 1) * BAND_HZ


def narrow(hz: int | None) -> str | None:
    """Return in words what is wrong with a microphone of this bandwidth, and what helps; None where nothing is."""
    if hz is None or hz >= NARROW_HZ:
        return None
    return (
        f"the microphone delivers nothing above {hz:,} Hz, so voices are heard badly: a headset in its telephone "
        "profile, or a source of a low sample rate? choose another microphone, or a profile of 16 kHz"
    )
