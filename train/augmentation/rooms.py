"""Simulated rooms: what walls and distance make of a sound (pyroomacoustics, image sources)."""

import numpy as np
from scipy.signal import fftconvolve

from edge.sound.blocks import SAMPLE_RATE_HZ

# Rooms by name: size in m, reverberation time in s, and how far the speaker stands from the sensor in m.
ROOMS = {
    "bedroom": ((4.0, 3.5, 2.5), 0.3, 2.0),
    "living room": ((6.5, 5.0, 2.7), 0.6, 2.0),
    "hall": ((12.0, 9.0, 4.0), 1.2, 2.0),
    "3 m": ((6.0, 4.5, 2.6), 0.4, 3.0),
}
_TOWARDS = np.array([1.9, 0.4, 0.5]) / np.linalg.norm([1.9, 0.4, 0.5])

# Rooms drawn at random: sizes in m, reverberation times in s, distances in m.
_SIZES = ((2.5, 8.0), (2.5, 6.0), (2.2, 3.5))
_RT60_S = (0.15, 0.8)
_DISTANCES_M = (0.4, 4.0)
_FROM_WALLS_M = 0.3
_MOST_REFLECTIONS = 20  # later ones are below what is left of the sound, and take seconds to compute
_LONGEST_S = 0.8


def impulse_response(size_m: tuple[float, float, float], rt60_s: float, distance_m: float) -> np.ndarray:
    """Return a room's response from the speaker to the sensor, its direct sound first and of unit gain."""
    sensor = np.array([size_m[0] * 0.3, size_m[1] * 0.4, 1.0])
    response = _simulated(size_m, rt60_s, sensor, sensor + distance_m * _TOWARDS)
    return response / np.abs(response).max()


def random_response(rng: np.random.Generator) -> np.ndarray:
    """Return a room's response, size, walls and places drawn anew: float32 (n,) of unit energy."""
    while True:
        size, rt60_s = [rng.uniform(*range_m) for range_m in _SIZES], rng.uniform(*_RT60_S)
        sensor, speaker = ([rng.uniform(_FROM_WALLS_M, side - _FROM_WALLS_M) for side in size] for _ in range(2))
        if not _DISTANCES_M[0] < np.linalg.norm(np.subtract(sensor, speaker)) < _DISTANCES_M[1]:
            continue
        try:
            response = _simulated(size, rt60_s, sensor, speaker, most_reflections=_MOST_REFLECTIONS)
        except ValueError:  # no walls absorb so much
            continue
        response = response[: round(_LONGEST_S * SAMPLE_RATE_HZ)]
        return response / np.sqrt(np.sum(response**2))


def reverberant(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return the sound as heard in a room, as long as it was and as loud."""
    wet = fftconvolve(samples, response)[: len(samples)]
    return (wet * (rms(samples) / max(rms(wet), 1e-9))).astype(np.float32)


def rms(samples: np.ndarray) -> float:
    """Return the root of the mean power."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _simulated(size_m, rt60_s: float, sensor, speaker, *, most_reflections: int | None = None) -> np.ndarray:
    """Return a shoebox room's response, from just before its direct sound: float32 (n,)."""
    import pyroomacoustics  # compiled, and needed for this alone

    absorption, reflections = pyroomacoustics.inverse_sabine(rt60_s, size_m)
    room = pyroomacoustics.ShoeBox(
        size_m,
        fs=SAMPLE_RATE_HZ,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(reflections, most_reflections or reflections),
    )
    room.add_source(np.array(speaker))
    room.add_microphone(np.array(sensor))
    room.compute_rir()
    response = room.rir[0][0]
    direct = int(np.argmax(np.abs(response)))
    return response[max(0, direct - 40) :].astype(np.float32)
