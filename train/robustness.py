"""The same clips in noise and in rooms: how fast a network's answers go wrong."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from edge.audio import SAMPLE_RATE_HZ, load_recording
from edge.errors import InputError
from edge.mfcc import MfccSpec, mfcc
from train.augment import TEST_FOLD
from train.features import Cache, clip_frames, key_of
from train.index import SUFFIXES, Clip

CLEAN = "clean"
_SILENT_RMS = 1e-3

# Rooms by name: size in m, reverberation time in s; the speaker stands 2 m from the sensor.
ROOMS = {
    "bedroom": ((4.0, 3.5, 2.5), 0.3),
    "living room": ((6.5, 5.0, 2.7), 0.6),
    "hall": ((12.0, 9.0, 4.0), 1.2),
}


def conditions(snrs_db: Sequence[float], *, noise: bool) -> list[str]:
    """Return the names of all conditions, clean first."""
    return [CLEAN, *([f"{snr:g} dB" for snr in snrs_db] if noise else []), *ROOMS]


def noise_recordings(folder: str | Path) -> dict[str, np.ndarray]:
    """Return the noises of ESC-10's fifth fold (no training hears them); all files of another folder.

    Raises InputError where there are none.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    files = [path for path in files if path.name.startswith(TEST_FOLD)] or files
    if not files:
        raise InputError(f"{folder}: no noise recordings in it")
    sounds = {path.name: load_recording(path) for path in files}
    return {name: sound for name, sound in sounds.items() if _rms(sound) > _SILENT_RMS}


def degraded(
    clips: Sequence[Clip], condition: str, noises: dict[str, np.ndarray], spec: MfccSpec, cache: Cache
) -> list[np.ndarray]:
    """Return the clips' MFCC under a condition; which noise, and from where, depends on the clip alone."""
    if condition == CLEAN:
        return [clip_frames(clip, spec, cache) for clip in clips]
    response = impulse_response(*ROOMS[condition]) if condition in ROOMS else None
    names = sorted(noises)

    def made(clip: Clip) -> np.ndarray:
        samples = load_recording(clip.path)
        if response is not None:
            return mfcc(reverberant(samples, response), spec)
        return mfcc(noisy(samples, noises, float(condition.removesuffix(" dB")), seed=clip.sha256), spec)

    room = list(ROOMS[condition]) if condition in ROOMS else names
    return [
        cache.get(key_of("degraded", clip.sha256, spec, condition, room), lambda clip=clip: made(clip))
        for clip in clips
    ]


def noisy(samples: np.ndarray, noises: dict[str, np.ndarray], snr_db: float, *, seed: str) -> np.ndarray:
    """Return the sound with one of the noises at a signal-to-noise ratio over the whole clip (powers in dB)."""
    draw = random.Random(seed)
    for _ in range(100):
        noise = noises[draw.choice(sorted(noises))]
        noise = np.roll(noise, -draw.randrange(len(noise)))
        noise = np.resize(noise, len(samples))
        if _rms(noise) > _SILENT_RMS:  # some of these recordings are silent in part
            break
    return (samples + noise * (_rms(samples) / _rms(noise) * 10 ** (-snr_db / 20))).astype(np.float32)


def impulse_response(size_m: tuple[float, float, float], rt60_s: float) -> np.ndarray:
    """Return a shoebox room's response from the speaker to the sensor, its direct sound first and of unit gain."""
    import pyroomacoustics  # compiled, and needed for this alone

    absorption, order = pyroomacoustics.inverse_sabine(rt60_s, size_m)
    room = pyroomacoustics.ShoeBox(
        size_m, fs=SAMPLE_RATE_HZ, materials=pyroomacoustics.Material(absorption), max_order=order
    )
    sensor = np.array([size_m[0] * 0.3, size_m[1] * 0.4, 1.0])
    room.add_source(np.add(sensor, (1.9, 0.4, 0.5)))
    room.add_microphone(sensor)
    room.compute_rir()
    response = room.rir[0][0]
    direct = int(np.argmax(np.abs(response)))
    return (response[max(0, direct - 40) :] / np.abs(response[direct])).astype(np.float32)


def reverberant(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return the sound as heard in a room, as long as it was and as loud."""
    wet = fftconvolve(samples, response)[: len(samples)]
    return (wet * (_rms(samples) / max(_rms(wet), 1e-9))).astype(np.float32)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
