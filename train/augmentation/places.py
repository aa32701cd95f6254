"""Places to listen from: what a room, its noise, a microphone and a codec make of everything that is said there."""

import zlib

import numpy as np

from train.augmentation import channel, noises
from train.augmentation.rooms import reverberant, rms

_FAR, _NOISY, _COLOURED, _NARROW, _CODED = 0.6, 0.75, 0.7, 0.35, 0.25  # shares of places
_SNR_DB = (6.0, 30.0)
_CODEC_PEAK = 0.8


class Place:
    """One place; the same name always gives the same."""

    def __init__(self, name: str) -> None:
        rng = np.random.default_rng(zlib.crc32(name.encode(errors="surrogateescape")))
        chance = rng.random(5) < (_FAR, _NOISY, _COLOURED, _NARROW, _CODED)
        far, noisy, coloured, narrow, coded = (bool(one) for one in chance)
        self._response = channel.formula_response(rng) if far else None
        self._snr_db = rng.uniform(*_SNR_DB) if noisy else None
        self._highest_hz = rng.choice(channel.BANDS_HZ) if narrow else None
        self._noise, self._colour, self._codec = (int(seed) for seed in rng.integers(2**31, size=3))
        self._is_coloured, self._is_coded = coloured, coded

    def heard(self, sound: np.ndarray) -> np.ndarray:
        """Return a sound (full scale 1.0) as it is heard there: float32, as long as it was."""
        if self._response is not None:
            sound = reverberant(sound, self._response)
        if self._snr_db is not None:
            noise = noises.ambient(len(sound), np.random.default_rng(self._noise))
            sound = sound + noise * rms(sound) / 10 ** (self._snr_db / 20)
        if self._is_coloured:
            sound = channel.coloured(sound, np.random.default_rng(self._colour))
        if self._highest_hz is not None:
            sound = channel.banded(sound, self._highest_hz)
        if self._is_coded:
            gain = _CODEC_PEAK / max(float(np.abs(sound).max()), 1e-6)
            sound = channel.coded(sound * gain, np.random.default_rng(self._codec)) / gain
        return np.asarray(sound, np.float32)
