"""Sounds by formula that are not speech, but come where it does: knocks, hum, alarms, music, calls of animals.

Recordings teach a network the noises that are in them. These teach what speech is not: tones and glides held too long,
voices without articulation, knocks without a voice.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from edge.sound.blocks import SAMPLE_RATE_HZ

_HIGHEST_HZ = 7_800.0


def ambient(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return steady noise of power 1, white to brown, sometimes low-passed."""
    length = next_fast_len(samples, real=True)
    hz = rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    spectrum = rfft(rng.standard_normal(length)) / np.maximum(hz, 30.0) ** rng.choice([0.0, 0.5, 1.0, 1.5])
    if rng.random() < 0.4:
        corner_hz = 10 ** rng.uniform(1.7, 3.0) * rng.uniform(2, 12)
        spectrum /= 1 + (hz / corner_hz) ** 4
    return _loud(irfft(spectrum, length)[:samples])


def event(rng: np.random.Generator) -> np.ndarray:
    """Return one of the kinds below, of power 1 and 0.1 to several seconds long."""
    kinds = (_burst, _steady_tones, _engine, _glide, _knocks, _music, _modulated_noise, calls, calls, calls)
    return _loud(kinds[rng.integers(len(kinds))](rng)).astype(np.float32)


def calls(rng: np.random.Generator) -> np.ndarray:
    """Return cries as of animals and infants: voiced, with formants that stand still, held, and repeated."""
    pitch_hz, length_s = 10 ** rng.uniform(2.4, 3.1), 10 ** rng.uniform(-1.0, 0.25)
    pause_s, bend = rng.uniform(0.03, 1.0), rng.uniform(-0.5, 0.5, 3)
    formants = [(10 ** rng.uniform(2.6, 3.6), rng.uniform(80, 600)) for _ in range(rng.integers(1, 4))]
    tilt, breath = rng.uniform(0, 1.5), 10 ** rng.uniform(-3, -0.3)
    roughness = rng.uniform(0, 0.8) if rng.random() < 0.4 else 0.0
    parts = []
    for _ in range(rng.integers(1, 6)):
        count = round(SAMPLE_RATE_HZ * length_s * rng.uniform(0.7, 1.3))
        u = np.linspace(0, 1, count)
        t = u * count / SAMPLE_RATE_HZ
        curve = bend[0] * u + bend[1] * np.sin(np.pi * u) + 0.3 * bend[2] * np.sin(2 * np.pi * u)
        vibrato = 1 + 0.01 * np.sin(2 * np.pi * rng.uniform(4, 9) * t)
        voice = _harmonics(pitch_hz * rng.uniform(0.9, 1.1) * 2**curve * vibrato, formants, tilt)
        voice *= 1 + roughness * np.sin(2 * np.pi * rng.uniform(25, 90) * t)
        voice += breath * rng.standard_normal(count)
        rise, fall = rng.uniform(0.03, 0.3), rng.uniform(0.05, 0.5)
        parts.append(voice * np.clip(np.minimum(u / rise, (1 - u) / fall), 0, 1))
        parts.append(np.zeros(round(SAMPLE_RATE_HZ * pause_s * rng.uniform(0.5, 1.5))))
    return np.concatenate(parts)


def _harmonics(pitch_hz: np.ndarray, formants: list[tuple[float, float]], tilt: float) -> np.ndarray:
    """Return a voice of the given pitch (samples,) through resonances (centre and width in Hz), its peak 1."""
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    voice = np.zeros(len(pitch_hz))
    for number in range(1, 40):
        hz = pitch_hz * number
        if hz.min() > _HIGHEST_HZ:
            break
        gain = sum(1 / (1 + ((hz - centre) / width) ** 2) for centre, width in formants) + 0.02
        voice += np.where(hz < _HIGHEST_HZ, np.sin(number * phase) * gain / number**tilt, 0.0)
    return voice / (np.abs(voice).max() + 1e-9)


def _burst(rng: np.random.Generator) -> np.ndarray:
    count = _length(rng)
    return ambient(count, rng) * _envelope(count, rng)


def _steady_tones(rng: np.random.Generator) -> np.ndarray:
    """Hum and beeps."""
    count, hz = _length(rng), 10 ** rng.uniform(1.7, 3.3)
    t = np.arange(count) / SAMPLE_RATE_HZ
    tones = [number for number in range(1, rng.integers(1, 20) + 1) if hz * number < _HIGHEST_HZ]
    gains = 10 ** (-0.3 * rng.uniform(0, 1, len(tones)) * np.log2(tones))
    phases = rng.uniform(0, 2 * np.pi, len(tones))
    sound = sum(
        gain * np.sin(2 * np.pi * hz * number * t + phase)
        for number, gain, phase in zip(tones, gains, phases, strict=True)
    )
    return sound * _envelope(count, rng)


def _engine(rng: np.random.Generator) -> np.ndarray:
    """A motor that idles and revs: many harmonics of a low and rough pitch, in noise of its own."""
    count = round(SAMPLE_RATE_HZ * rng.uniform(1.0, 5.0))
    knots = rng.integers(2, 8)
    revolutions = np.interp(np.linspace(0, knots - 1, count), np.arange(knots), rng.uniform(-1, 1, knots))
    pitch_hz = 10 ** rng.uniform(1.5, 2.5) * 2 ** (rng.uniform(0, 0.8) * revolutions)
    pitch_hz *= 1 + rng.uniform(0, 0.03) * np.interp(
        np.arange(count), np.arange(0, count, 160), rng.standard_normal(-(-count // 160))
    )
    resonances = [(10 ** rng.uniform(2.0, 3.7), rng.uniform(200, 2_000)) for _ in range(rng.integers(1, 5))]
    sound = _harmonics(np.maximum(pitch_hz, 25.0), resonances, rng.uniform(0, 1))
    return _loud(sound) + ambient(count, rng) * rng.uniform(0.05, 1.0) * (1 + 0.5 * sound)


def _glide(rng: np.random.Generator) -> np.ndarray:
    """Sirens and whistles."""
    count = _length(rng)
    t = np.arange(count) / SAMPLE_RATE_HZ
    hz = np.linspace(*10 ** rng.uniform(2.7, 3.5, 2), count) * (1 + 0.02 * np.sin(2 * np.pi * rng.uniform(3, 8) * t))
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE_HZ
    sound = sum(np.sin(number * phase) / number ** rng.uniform(0, 2) for number in range(1, 6))
    return sound * _envelope(count, rng)


def _knocks(rng: np.random.Generator) -> np.ndarray:
    count = _length(rng)
    sound = np.zeros(count)
    for start in rng.integers(0, count, rng.integers(1, 12)):
        length = min(count - start, round(SAMPLE_RATE_HZ * rng.uniform(0.002, 0.05)))
        fading = np.exp(-np.arange(length) / (length / 4 + 1))
        sound[start : start + length] += rng.standard_normal(length) * fading * rng.uniform(0.2, 1)
    return sound


def _music(rng: np.random.Generator) -> np.ndarray:
    """Chords of plucked tones."""
    count, beat = _length(rng), round(SAMPLE_RATE_HZ * rng.uniform(0.1, 0.6))
    sound = np.zeros(count)
    for start in range(0, count, beat):
        t = np.arange(min(beat, count - start)) / SAMPLE_RATE_HZ
        root_hz = 110 * 2 ** (rng.integers(0, 36) / 12)
        for step in rng.choice([0, 3, 4, 7, 10, 12], 3, replace=False):
            hz = root_hz * 2 ** (step / 12)
            for number in range(1, 6):
                if hz * number < _HIGHEST_HZ:
                    tone = np.sin(2 * np.pi * hz * number * t) / number
                    sound[start : start + len(t)] += tone * np.exp(-t * rng.uniform(1, 6))
    return sound


def _modulated_noise(rng: np.random.Generator) -> np.ndarray:
    count = _length(rng)
    t = np.arange(count) / SAMPLE_RATE_HZ
    return ambient(count, rng) * (1 + 0.9 * np.sin(2 * np.pi * rng.uniform(1, 60) * t))


def _length(rng: np.random.Generator) -> int:
    return round(SAMPLE_RATE_HZ * rng.uniform(0.1, 3.0))


def _envelope(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return a knock's, a held sound's, or a pulsing one's, in [0, 1]."""
    t = np.arange(count) / SAMPLE_RATE_HZ
    kind = rng.integers(3)
    if kind == 0:
        rise_s, fall_s = rng.uniform(0.002, 0.1), rng.uniform(0.02, 0.6)
        return np.minimum(t / rise_s, 1) * np.exp(-np.maximum(t - rise_s, 0) / fall_s)
    if kind == 1:
        return np.clip(np.minimum(t, count / SAMPLE_RATE_HZ - t) / 0.02, 0, 1)
    return np.clip(0.5 + 0.6 * np.sin(2 * np.pi * rng.uniform(0.5, 12) * t + rng.uniform(0, 2 * np.pi)), 0, 1)


def _loud(sound: np.ndarray) -> np.ndarray:
    return sound / (np.sqrt(np.mean(sound**2)) + 1e-9)
