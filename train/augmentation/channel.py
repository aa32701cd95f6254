"""What a sound passes through before it is heard: a distance, a bandwidth, a codec, a microphone."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording

BANDS_HZ = (3_400.0, 4_000.0, 5_500.0, 6_000.0, 7_000.0)
_EDGE_HZ = 200.0  # of a band: from whole to nothing
_COLOUR_HZ, _COLOUR_DB = (30.0, 150.0, 500.0, 1_500.0, 4_000.0, 8_000.0), 8.0
_NOTHING = 1e-6  # what a band lets through beyond its edge
_CODECS = (  # format and subtype of libsndfile, and the rate it works at; Opus is what most corpora were kept in
    ("MP3", "MPEG_LAYER_III", 16_000),
    ("OGG", "VORBIS", 16_000),
    ("WAV", "GSM610", 8_000),
)
_TAIL_S, _DIRECT_SAMPLES = 0.8, 40  # of a response: its length, and what is kept before the direct sound
_RT60_S, _DIRECT_TO_TAIL_DB = (0.2, 1.0), (-14.0, 4.0)  # of rooms by formula


def banded(sound: np.ndarray, highest_hz: float) -> np.ndarray:
    """Return the sound with nothing above a frequency, as from a slower sampling rate."""
    return _filtered(sound, lambda hz: np.clip((highest_hz - hz) / _EDGE_HZ, _NOTHING, 1))


def coloured(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the sound through a microphone of its own, which may hear nothing deep."""
    colour_db = rng.uniform(-_COLOUR_DB, _COLOUR_DB, len(_COLOUR_HZ))
    corner_hz = rng.uniform(60, 300) if rng.random() < 0.3 else 1.0

    def gain(hz: np.ndarray) -> np.ndarray:
        hz = np.maximum(hz, 1)
        gain_db = np.interp(np.log10(hz), np.log10(_COLOUR_HZ), colour_db)
        return 10 ** (gain_db / 20) / np.sqrt(1 + (corner_hz / hz) ** 6)

    return _filtered(sound, gain)


def coded(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the sound (within -1 and 1) as a lossy codec leaves it: as long, nothing delayed."""
    kind, subtype, rate_hz = _CODECS[rng.integers(len(_CODECS))]
    small = soxr.resample(sound, SAMPLE_RATE_HZ, rate_hz) if rate_hz != SAMPLE_RATE_HZ else sound
    quality = {} if subtype == "GSM610" else {"compression_level": float(rng.uniform(0.5, 0.98))}
    box = io.BytesIO()
    soundfile.write(box, np.clip(small, -1, 1), rate_hz, format=kind, subtype=subtype, **quality)
    box.seek(0)
    heard, _ = soundfile.read(box, dtype="float64")
    heard = soxr.resample(heard, rate_hz, SAMPLE_RATE_HZ) if rate_hz != SAMPLE_RATE_HZ else heard
    return np.pad(heard, (0, max(0, len(sound) - len(heard))))[: len(sound)]


def measured_responses(files: Sequence[Path]) -> list[np.ndarray]:
    """Return recorded impulse responses of rooms, from just before the direct sound: float32 (n,) of unit energy."""
    return [_from_direct(load_recording(path)) for path in files]


def formula_response(rng: np.random.Generator) -> np.ndarray:
    """Return a room by formula: a direct sound, and noise that dies away after it, darker than it began (after
    J.-D. Polack, "La transmission de l'energie sonore dans les salles", 1988): float32 (n,) of unit energy."""
    count = round(_TAIL_S * SAMPLE_RATE_HZ)
    t = np.arange(count) / SAMPLE_RATE_HZ
    slow_s, fast_s = rng.uniform(*_RT60_S), rng.uniform(0.4, 1.0)  # of low sounds, and the share of it of high ones
    low = banded(rng.standard_normal(count), rng.uniform(800, 3_000))
    high = rng.standard_normal(count)
    tail = low * 10 ** (-3 * t / slow_s) + 0.7 * high * 10 ** (-3 * t / (slow_s * fast_s))
    tail[: round(rng.uniform(0.001, 0.012) * SAMPLE_RATE_HZ)] = 0
    tail *= np.sqrt(10 ** (-rng.uniform(*_DIRECT_TO_TAIL_DB) / 10) / np.sum(tail**2))
    tail[0] = 1.0
    return (tail / np.sqrt(np.sum(tail**2))).astype(np.float32)


def _filtered(sound: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the sound with a gain for each frequency (Hz)."""
    length = next_fast_len(len(sound), real=True)
    return irfft(rfft(sound, length) * gain(rfftfreq(length, 1 / SAMPLE_RATE_HZ)), length)[: len(sound)]


def _from_direct(response: np.ndarray) -> np.ndarray:
    direct = int(np.argmax(np.abs(response)))
    part = response[max(0, direct - _DIRECT_SAMPLES) :][: round(_TAIL_S * SAMPLE_RATE_HZ)]
    return (part / np.sqrt(np.sum(part.astype(np.float64) ** 2))).astype(np.float32)
