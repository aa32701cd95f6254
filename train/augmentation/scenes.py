"""Scenes: a room for a few seconds, with speech and other sounds in it, and the truth about each block.

What the speech gate is trained on. Utterances (voices.py), recorded sounds (sounds.py) and sounds by formula
(noises.py) follow on each other at drawn levels, through rooms, over a steady noise, then through a channel
(channel.py).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import fftconvolve

from edge.errors import printable
from edge.features.mfcc import MfccSpec, mfcc
from edge.sound.blocks import SAMPLE_RATE_HZ
from train.augmentation import channel, noises
from train.augmentation.augment import responses
from train.augmentation.rooms import rms
from train.augmentation.sounds import Sounds, at_level
from train.augmentation.teacher import SPEECH, TEN_MS, UNCLEAR, kept, silero
from train.augmentation.voices import Voices
from train.data.clip import Clip
from train.data.features import Cache, key_of
from train.data.side_by_side import mapped

BLOCKS = 80  # 6.4 s
PER_SHARD = 100  # scenes that are kept in the cache together
VERSION = 4  # of what is drawn: raise it when the same seed gives other scenes

_LEVELS_DBFS = (-58.0, -12.0)  # of active speech, and of what sounds instead
_NOISE_BELOW_DB = (3.0, 45.0)  # a steady noise below that level; a recorded one:
_AMBIENCE_BELOW_DB = (4.0, 30.0)
_HISS_DBFS = (-105.0, -68.0)  # of the microphone, white
_ONLY_SPEECH, _MIXED = 0.38, 0.22  # shares of scenes; no speech in the others
_EARLY = 0.5  # share of scenes that begin with their first sound, as the sensor's attention does
_ROOMS = 40  # by formula
_BANDED, _CODED, _COLOURED, _FAR_TOO_LOUD = 0.4, 0.1, 0.6, 0.05  # shares of scenes
_BEGINNING, _DOUBTED, _DECAYING, _DROWNED = 0.3, 0.0, 0.15, 0.0  # what such blocks count in training
_DECAY_BLOCKS = 3
_ONSET, _ONSET_BLOCKS = 2.0, 4


class Scenes(NamedTuple):
    """frames: float16 (n, BLOCKS * block_frames, coefficients), raw. speech: int32 (n, BLOCKS), 1 where somebody
    speaks. weight: float32 (n, BLOCKS), how clear that is."""

    frames: np.ndarray
    speech: np.ndarray
    weight: np.ndarray


class Stage(NamedTuple):
    """What a scene is made of: voices, sounds that are not speech, and what rooms do to both."""

    voices: Voices
    sounds: Sounds
    simulated: np.ndarray
    others: list[np.ndarray]  # responses of rooms by formula, and of measured ones as often


def scenes(
    count: int,
    clips: Sequence[Clip],
    noise: Sequence[Path],
    spec: MfccSpec,
    cache: Cache,
    *,
    seed: int,
    tell: Callable[[int, int, str], None],
    rooms: Sequence[Path] = (),
    teacher: bool = False,
    processes: int = 1,
) -> Scenes:
    """Return so many scenes, the same ones for a seed; whole shards of them are kept in the cache.

    rooms: recorded impulse responses. teacher: whether silero-vad says where somebody speaks in unlabelled clips.
    Raises UnavailableError where one of the processes that make them was killed.
    """
    if spec.block_frames * spec.hop_samples * BLOCKS % TEN_MS:
        raise ValueError(f"blocks of {spec.block_samples} samples do not fit scenes")
    names = [[printable(path.name) for path in paths] for paths in (noise, rooms)]
    key = key_of("scenes", VERSION, spec, [clip.sha256 for clip in clips], *names, teacher)
    numbers = range(-(-count // PER_SHARD))
    keys = [key_of(key, seed, number) for number in numbers]
    missing = [number for number in numbers if cache.kept(keys[number]) is None]
    makers = mapped(
        _kept_shard, [(keys[number], seed, number, PER_SHARD) for number in missing], processes=processes,
        prepare=_set_stage, given=(clips, noise, rooms, cache, teacher, spec),
    )  # fmt: skip
    for done, _ in enumerate(makers, start=1):
        tell(min(count, (len(numbers) - len(missing) + done) * PER_SHARD), count, "")
    shards = [cache.kept(key) for key in keys]
    return _unpacked(shards, count, spec)


_stage_here: tuple["Stage", MfccSpec, Cache] | None = None  # of this process: made once, for all its shards


def _set_stage(clips, noise, rooms, cache: Cache, teacher: bool, spec: MfccSpec) -> None:
    global _stage_here
    _stage_here = _stage(clips, noise, rooms, cache, teacher=teacher), spec, cache


def _kept_shard(one: tuple[str, int, int, int]) -> None:
    """Make a shard (key, seed, number, scenes in it), and leave it in the cache."""
    (key, seed, number, count), (stage, spec, cache) = one, _stage_here
    rng = np.random.default_rng([seed, 1, number])
    cache.get(key, lambda: np.stack([_packed(*_scene(stage, spec, rng)) for _ in range(count)]))


def _stage(clips, noise, rooms, cache: Cache, *, teacher: bool) -> Stage:
    rng = np.random.default_rng(0)
    others = [channel.formula_response(rng) for _ in range(_ROOMS)]
    if measured := channel.measured_responses(rooms):
        others += [measured[number % len(measured)] for number in range(_ROOMS)]
    hears = kept(silero(), cache) if teacher else None
    return Stage(Voices(clips, hears=hears), Sounds(noise), responses(cache), others)


def _packed(frames: np.ndarray, speech: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """One array per scene, because the cache keeps arrays: float16 (BLOCKS, block_frames * coefficients + 2)."""
    rows = frames.reshape(BLOCKS, -1)
    return np.concatenate([rows, speech[:, None], weight[:, None]], axis=1).astype(np.float16)


def _unpacked(shards: Sequence[np.ndarray], count: int, spec: MfccSpec) -> Scenes:
    """Return so many scenes of the shards: each array is made once, and filled shard by shard."""
    frames = np.empty((count, BLOCKS * spec.block_frames, spec.coefficients), np.float16)
    speech, weight = np.empty((count, BLOCKS), np.int32), np.empty((count, BLOCKS), np.float32)
    for number, shard in enumerate(shards):
        those = slice(number * PER_SHARD, min(count, (number + 1) * PER_SHARD))
        packed = shard[: those.stop - those.start]
        frames[those] = packed[..., :-2].reshape(len(packed), -1, spec.coefficients)
        speech[those], weight[those] = packed[..., -2], packed[..., -1]
    return Scenes(frames, speech, weight)


def _scene(stage: Stage, spec: MfccSpec, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    overlap = spec.overlap_samples
    count = BLOCKS * spec.block_samples + overlap
    level_dbfs = rng.uniform(*_LEVELS_DBFS)
    steady = _steady(count, level_dbfs, stage, rng)
    kind, speech, mix, marks = rng.random(), np.zeros(count), np.zeros(count), np.zeros(count, np.int8)
    response = _response(stage, rng)  # most of what sounds in a scene sounds in one room
    at = round(SAMPLE_RATE_HZ * (rng.uniform(0, 0.25) if rng.random() < _EARLY else rng.uniform(0, 3)))
    while at < count - SAMPLE_RATE_HZ // 4:
        if kind < _ONLY_SPEECH or (kind < _ONLY_SPEECH + _MIXED and rng.random() < 0.5):
            sound, mark = stage.voices.utterance(level_dbfs + rng.uniform(-6, 6), rng)
            sound = _placed(sound, response)
            speech[at : at + len(sound)] += sound[: count - at]
            there = marks[at : at + len(mark)]
            np.maximum(there, mark[: len(there)], out=there)
            pause_s = rng.uniform(0.05, 0.4) if rng.random() < 0.4 else rng.uniform(0.4, 2.5)
        else:
            sound = _other(stage.sounds, level_dbfs + rng.uniform(-10, 10), rng)
            sound = _placed(sound, response if rng.random() < 0.5 else None)
            mix[at : at + len(sound)] += sound[: count - at]
            pause_s = rng.uniform(0, 1)
            if kind < _ONLY_SPEECH + _MIXED and rng.random() < 0.3:
                pause_s = -min(len(sound) / SAMPLE_RATE_HZ, rng.uniform(0, 3))  # somebody speaks into it
        at += max(TEN_MS, len(sound) + round(SAMPLE_RATE_HZ * pause_s))
    heard = _through_channel(speech + mix + steady, rng)
    frames = mfcc(np.clip(heard, -1, 1).astype(np.float32), spec)
    return frames, *_truth(marks[overlap:], speech[overlap:], (mix + steady)[overlap:], spec)


def _through_channel(heard: np.ndarray, rng) -> np.ndarray:
    if rng.random() < _COLOURED:
        heard = channel.coloured(heard, rng)
    if rng.random() < _FAR_TOO_LOUD:
        heard = heard * 8  # clipped
    if rng.random() < _CODED:
        heard = channel.coded(np.clip(heard, -1, 1), rng)
    if rng.random() < _BANDED:
        heard = channel.banded(heard, channel.BANDS_HZ[rng.integers(len(channel.BANDS_HZ))])
    return heard + rng.standard_normal(len(heard)) * 10 ** (rng.uniform(*_HISS_DBFS) / 20)


def _truth(marks: np.ndarray, speech: np.ndarray, others: np.ndarray, spec) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each block is speech, and how much that counts."""

    def shares(what: np.ndarray) -> np.ndarray:
        return np.mean(what.reshape(-1, spec.block_samples), axis=1)

    share, doubt = shares(marks == SPEECH), shares(marks == UNCLEAR)
    weight = np.where((share > 0) & (share < 1), _BEGINNING, 1.0)
    weight[(share > 0) & (shares(speech**2) < 0.5 * shares(others**2))] = _DROWNED
    decaying = np.zeros(len(share), bool)
    for later in range(1, _DECAY_BLOCKS + 1):
        decaying[later:] |= share[:-later] > 0
    weight[(share == 0) & decaying] = _DECAYING
    weight[(share < 0.5) & (doubt > 0.25)] = _DOUBTED
    speech = share > 0.5
    begins = speech & ~np.concatenate([[False], speech[:-1]])
    soon = np.convolve(begins, np.ones(_ONSET_BLOCKS))[: len(speech)] > 0
    weight[soon & speech & (weight == 1.0)] = _ONSET  # to be found soon
    return speech, weight


def _response(stage: Stage, rng) -> np.ndarray | None:
    if rng.random() < 0.3:
        return None
    return _any(stage.simulated if rng.random() < 0.5 else stage.others, rng)


def _placed(sound: np.ndarray, response: np.ndarray | None) -> np.ndarray:
    """Return the sound as heard in a room, as loud as it was: the direct sound alone of a far voice is little."""
    if response is None:
        return sound
    wet = fftconvolve(sound, response)
    return wet * (rms(sound) * np.sqrt(len(sound)) / (rms(wet) * np.sqrt(len(wet)) + 1e-9))


def _steady(count: int, level_dbfs: float, stage: Stage, rng) -> np.ndarray:
    """Return what is always there: a room's noise, and sometimes a recorded one."""
    noise = stage.voices.floor(count, rng) if rng.random() < 0.3 else noises.ambient(count, rng)
    sound = noise * 10 ** ((level_dbfs - rng.uniform(*_NOISE_BELOW_DB)) / 20)
    if stage.sounds and rng.random() < 0.35:
        recorded = stage.sounds.any(rng)
        recorded = np.resize(np.roll(recorded, rng.integers(len(recorded))), count)
        sound += recorded / (rms(recorded) + 1e-6) * 10 ** ((level_dbfs - rng.uniform(*_AMBIENCE_BELOW_DB)) / 20)
    return sound


def _other(sounds: Sounds, level_dbfs: float, rng) -> np.ndarray:
    """Return a sound that is no speech, its louder fifth at a level."""
    sound = sounds.varied(rng) if sounds and rng.random() < 0.8 else noises.event(rng)
    if rng.random() < 0.5 and len(sound) > SAMPLE_RATE_HZ:
        sound = sound[rng.integers(len(sound) - SAMPLE_RATE_HZ // 2) :]
    return at_level(sound, level_dbfs)


def _any(things: Sequence, rng):
    return things[int(rng.integers(len(things)))]
