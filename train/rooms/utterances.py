"""Functionals of clips all along, as the sensor has them at each of its answers, at one or several places."""

from collections.abc import Callable, Sequence

import numpy as np

from edge.errors import InputError
from edge.features.functionals import Functionals, names
from edge.features.mfcc import MfccSpec, mfcc
from edge.features.voice import voice_frames
from edge.model.utterance import ANSWER_BLOCKS
from edge.sound.recording import load_recording
from train.augmentation.places import Place
from train.data.clip import Clip, LeftOut
from train.data.features import Cache, key_of, readable
from train.data.windows import speech_bounds


class Utterances:
    """`rows` of an utterance are its functionals at each answer, float32 (answers, functionals), the last ones whole;
    NaN where no frame has told of one."""

    def __init__(self, rows: Sequence[Sequence[np.ndarray]]) -> None:
        """rows: by place, then by clip."""
        self._rows = [np.concatenate(place) for place in rows]
        self._starts = [np.cumsum([0, *map(len, place)]) for place in rows]
        self.places = len(rows)

    def whole(self, clips: np.ndarray, place: int = 0) -> np.ndarray:
        """Return the functionals of whole utterances: (clips, functionals)."""
        return self._rows[place][self._starts[place][np.asarray(clips) + 1] - 1]

    def cut(self, clips: np.ndarray, place: int, rng: np.random.Generator) -> np.ndarray:
        """Return functionals up to any of their answers: half of the utterances whole, the others cut anywhere."""
        first, last = self._starts[place][clips], self._starts[place][clips + 1] - 1
        anywhere = first + np.floor(rng.random(len(clips)) * (last - first + 1)).astype(int)
        return self._rows[place][np.where(rng.random(len(clips)) < 0.5, last, anywhere)]


def utterances(
    clips: Sequence[Clip], spec: MfccSpec, cache: Cache, places: int, tell: Callable[[int, int, str], None]
) -> tuple[list[Clip], Utterances, list[LeftOut]]:
    """Return the clips that can be read, their utterances at so many places, and those that cannot.

    The first place is where they were recorded; at every other one a voice has all its clips in a room of its own.
    """
    kept, rows, unusable = readable(
        clips, lambda clip: [_along(clip, spec, cache, place) for place in range(places)], tell
    )
    return kept, Utterances(list(zip(*rows, strict=True))), unusable


def _along(clip: Clip, spec: MfccSpec, cache: Cache, place: int) -> np.ndarray:
    # What else they depend on is code: a change of it changes the names.
    key = key_of("utterance", clip.sha256, spec, names(spec), ANSWER_BLOCKS, *([clip.speaker, place] if place else []))
    return cache.of(clip.corpus).get(key, lambda: _made(clip, spec, place))


def _made(clip: Clip, spec: MfccSpec, place: int) -> np.ndarray:
    samples = load_recording(clip.path)
    frames = mfcc(samples, spec)
    if not len(frames):
        raise InputError(f"{clip.path}: shorter than one frame")
    first, last = speech_bounds(frames, spec)
    samples = of_frames(samples, first, last, spec)
    if place:
        samples = Place(f"{clip.corpus} {clip.speaker} {place}").heard(samples)
    return functionals_along(samples, spec)


def of_frames(samples: np.ndarray, first: int, last: int, spec: MfccSpec) -> np.ndarray:
    """Return the samples of frames from `first` to one before `last`."""
    return samples[first * spec.hop_samples : (last - 1) * spec.hop_samples + spec.window_samples]


def functionals_along(samples: np.ndarray, spec: MfccSpec) -> np.ndarray:
    """Return an utterance's functionals at each of the sensor's answers: float32 (answers, functionals)."""
    heard, rows = Functionals(spec), []
    frames = voice_frames(samples, spec)
    step = ANSWER_BLOCKS * spec.block_frames
    for start in range(0, len(frames), step):
        heard.process(frames[start : start + step])
        rows.append(heard.values())
    return np.array(rows)
