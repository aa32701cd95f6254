"""Scenes: a room for a few seconds, with speech and other sounds in it, and the truth about each block.

What the speech gate is trained on. Utterances, recorded noises and sounds by formula (noises.py) follow on each
other at drawn levels, through simulated rooms and a microphone's colour, over a steady noise.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
from scipy.signal import fftconvolve

from edge.errors import printable
from edge.features.mfcc import MfccSpec, mfcc
from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from train.data import noises
from train.data.augment import responses
from train.data.features import Cache, key_of
from train.data.index import Clip
from train.data.rooms import rms

BLOCKS = 80  # 6.4 s
PER_SHARD = 100  # scenes that are kept in the cache together
VERSION = 2  # of what is drawn: raise it when the same seed gives other scenes

_LEVELS_DBFS = (-45.0, -12.0)  # of active speech, and of what sounds instead
_NOISE_BELOW_DB = (8.0, 45.0)  # a steady noise below that level; a recorded one:
_AMBIENCE_BELOW_DB = (5.0, 30.0)
_SPEED = (0.85, 1.15)
_ONLY_SPEECH, _MIXED = 0.45, 0.10  # shares of scenes; no speech in the others
_EARLY = 0.5  # share of scenes that begin with their first sound, as the sensor's attention does
_ACTIVE_BELOW_PEAK = 1e-3  # speech is what lies within 30 dB of a clip's loudest 10 ms ...
_SHORTEST_PAUSE = 20  # ... and pauses shorter than so many of these
_TEN_MS = SAMPLE_RATE_HZ // 100
_UNCLEAR, _DECAYING, _DROWNED = 0.3, 0.15, 0.0  # what such blocks count in training
_DECAY_BLOCKS = 3
_COLOUR_HZ, _COLOUR_DB = (30.0, 150.0, 500.0, 1_500.0, 4_000.0, 8_000.0), 6.0


class Scenes(NamedTuple):
    """frames: float32 (n, BLOCKS * block_frames, coefficients), raw. speech: int32 (n, BLOCKS), 1 where somebody
    speaks. weight: float32 (n, BLOCKS), how clear that is."""

    frames: np.ndarray
    speech: np.ndarray
    weight: np.ndarray


def scenes(
    count: int,
    clips: Sequence[Clip],
    noise: Sequence[Path],
    spec: MfccSpec,
    cache: Cache,
    *,
    seed: int,
    tell: Callable[[int, int, str], None],
) -> Scenes:
    """Return so many scenes, the same ones for a seed; whole shards of them are kept in the cache."""
    if spec.block_frames * spec.hop_samples * BLOCKS % _TEN_MS:
        raise ValueError(f"blocks of {spec.block_samples} samples do not fit scenes")
    shards = []
    key = key_of("scenes", VERSION, spec, [clip.sha256 for clip in clips], [printable(path.name) for path in noise])
    rooms = responses(cache)
    for shard in range(-(-count // PER_SHARD)):

        def made(shard: int = shard) -> np.ndarray:
            rng = np.random.default_rng([seed, 1, shard])
            return np.stack([_packed(*_scene(clips, noise, rooms, spec, rng)) for _ in range(PER_SHARD)])

        shards.append(cache.get(key_of(key, seed, shard), made))
        tell(min(count, (shard + 1) * PER_SHARD), count, "")
    return _unpacked(np.concatenate(shards)[:count], spec)


def _packed(frames: np.ndarray, speech: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """One array per scene, because the cache keeps arrays: float16 (BLOCKS, block_frames * coefficients + 2)."""
    rows = frames.reshape(BLOCKS, -1)
    return np.concatenate([rows, speech[:, None], weight[:, None]], axis=1).astype(np.float16)


def _unpacked(packed: np.ndarray, spec: MfccSpec) -> Scenes:
    frames = packed[..., :-2].astype(np.float32).reshape(len(packed), -1, spec.coefficients)
    return Scenes(frames, packed[..., -2].astype(np.int32), packed[..., -1].astype(np.float32))


def _scene(
    clips: Sequence[Clip], noise: Sequence[Path], rooms: np.ndarray, spec: MfccSpec, rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    overlap = spec.overlap_samples
    count = BLOCKS * spec.block_samples + overlap
    level_dbfs = rng.uniform(*_LEVELS_DBFS)
    steady = _steady(count, level_dbfs, noise, rng)
    kind, mix, spoken = rng.random(), np.zeros(count), np.zeros(count, bool)
    at = round(SAMPLE_RATE_HZ * (rng.uniform(0, 0.25) if rng.random() < _EARLY else rng.uniform(0, 3)))
    while at < count - SAMPLE_RATE_HZ // 4:
        if kind < _ONLY_SPEECH or (kind < _ONLY_SPEECH + _MIXED and rng.random() < 0.5):
            sound, active = _utterance(_any(_corpus(clips, rng), rng), level_dbfs + rng.uniform(-6, 6), rng)
            sound = fftconvolve(sound, _any(rooms, rng)) if rng.random() < 0.6 else sound
            spoken[at : at + len(active)] |= active[: count - at]
            pause_s = rng.uniform(0.05, 0.4) if rng.random() < 0.4 else rng.uniform(0.4, 2.5)
        else:
            sound = _other(noise, level_dbfs + rng.uniform(-10, 10), rng)
            sound = fftconvolve(sound, _any(rooms, rng)) if rng.random() < 0.4 else sound
            pause_s = rng.uniform(0, 1)
        mix[at : at + len(sound)] += sound[: count - at]
        at += len(sound) + round(SAMPLE_RATE_HZ * pause_s)
    heard = mix + steady
    if rng.random() < 0.5:
        heard = _coloured(heard, rng)
    if rng.random() < 0.05:
        heard = heard * 8  # far too loud: clipped
    frames = mfcc(np.clip(heard, -1, 1).astype(np.float32), spec)
    return frames, *_truth(spoken[overlap:], mix[overlap:], steady[overlap:], spec)


def _truth(spoken: np.ndarray, mix: np.ndarray, steady: np.ndarray, spec: MfccSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each block is speech, and how much that counts."""

    def powers(sound: np.ndarray) -> np.ndarray:
        return np.mean(sound.reshape(-1, spec.block_samples) ** 2, axis=1)

    share = spoken.reshape(-1, spec.block_samples).mean(axis=1)
    weight = np.where((share > 0) & (share < 1), _UNCLEAR, 1.0)
    weight[(share > 0) & (powers(mix) < 0.5 * powers(steady))] = _DROWNED
    decaying = np.zeros(len(share), bool)
    for later in range(1, _DECAY_BLOCKS + 1):
        decaying[later:] |= share[:-later] > 0
    weight[(share == 0) & decaying] = _DECAYING
    return share > 0.5, weight


def _steady(count: int, level_dbfs: float, noise: Sequence[Path], rng) -> np.ndarray:
    """Return what is always there: a microphone's noise, the room's, and sometimes a recorded one."""
    sound = noises.ambient(count, rng) * 10 ** ((level_dbfs - rng.uniform(*_NOISE_BELOW_DB)) / 20)
    if noise and rng.random() < 0.25:
        recorded = _recorded(noise, rng)
        recorded = np.resize(np.roll(recorded, rng.integers(len(recorded))), count)
        sound += recorded / (rms(recorded) + 1e-6) * 10 ** ((level_dbfs - rng.uniform(*_AMBIENCE_BELOW_DB)) / 20)
    return sound + rng.standard_normal(count) * 1e-4


def _corpus(clips: Sequence[Clip], rng) -> list[Clip]:
    """Return the clips of one corpus, each corpus as often as the other."""
    names = sorted({clip.corpus for clip in clips})
    name = _any(names, rng)
    return [clip for clip in clips if clip.corpus == name]


def _utterance(clip: Clip, level_dbfs: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """Return a clip's utterance at a level and a speed, and at which of its samples somebody speaks."""
    sound = load_recording(clip.path)
    sound = sound[: len(sound) // _TEN_MS * _TEN_MS]
    power = np.mean(sound.reshape(-1, _TEN_MS).astype(np.float64) ** 2, axis=1)
    active = power > power.max() * _ACTIVE_BELOW_PEAK
    loudness = power[active].mean()
    where = np.flatnonzero(active)
    for here, following in itertools.pairwise(where):
        if following - here <= _SHORTEST_PAUSE:
            active[here:following] = True
    first, last = where[0] * _TEN_MS, (where[-1] + 1) * _TEN_MS
    active = np.repeat(active, _TEN_MS)[first:last]
    sound = sound[first : last + SAMPLE_RATE_HZ // 4] * (10 ** (level_dbfs / 20) / np.sqrt(loudness))
    if rng.random() < 0.6:
        speed = rng.uniform(*_SPEED)
        sound = soxr.resample(sound, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ)
        active = active[np.minimum((np.arange(int(len(active) / speed)) * speed).astype(int), len(active) - 1)]
    return sound, active[: len(sound)]


def _other(noise: Sequence[Path], level_dbfs: float, rng) -> np.ndarray:
    """Return a sound that is no speech, its louder fifth at a level."""
    sound = _recorded(noise, rng) if noise and rng.random() < 0.6 else noises.event(rng)
    if rng.random() < 0.5 and len(sound) > SAMPLE_RATE_HZ:
        sound = sound[rng.integers(len(sound) - SAMPLE_RATE_HZ // 2) :]
    loud = np.sqrt(np.mean(np.sort(sound.astype(np.float64) ** 2)[-max(1, len(sound) // 5) :]))
    return sound / (loud + 1e-6) * 10 ** (level_dbfs / 20)


def _recorded(noise: Sequence[Path], rng) -> np.ndarray:
    while True:
        sound = load_recording(_any(noise, rng))
        if np.abs(sound).max() > 1e-3:  # some of ESC-10 is silent in part
            return sound


def _coloured(sound: np.ndarray, rng) -> np.ndarray:
    """Return the sound through a microphone of its own."""
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)
    gain_db = np.interp(
        np.log10(np.maximum(hz, 1)), np.log10(_COLOUR_HZ), rng.uniform(-_COLOUR_DB, _COLOUR_DB, len(_COLOUR_HZ))
    )
    return np.fft.irfft(np.fft.rfft(sound) * 10 ** (gain_db / 20), len(sound))


def _any(things: Sequence, rng):
    return things[int(rng.integers(len(things)))]
