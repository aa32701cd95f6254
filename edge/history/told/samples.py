"""What states say besides their labels, until the minutes that they are of are kept."""

from collections import deque
from collections.abc import MutableSequence
from dataclasses import dataclass, replace

from edge.history.told.days import unix_ms
from edge.voice.payloads import State, decoded

HOLDS_MS = 75_000  # what a state says holds until the next one, which comes within a minute, but no longer than this
_MOST_OF_ONE, _MOST = 4_000, 200_000  # samples of a room, between two timelines: an hour of speech; and of all rooms


@dataclass(frozen=True, slots=True)
class Sample:
    """What a state says besides its label, from `ts_ms` on. deaf: the microphone delivers nothing of worth. until_ms:
    from when on nothing was heard of the sensor."""

    ts_ms: int
    level_dbfs: float
    speech_ratio: float
    arousal: float | None
    valence: float | None
    deaf: bool
    until_ms: int | None = None


class Samples:
    """What each room's states said since its minutes were kept; of too many, a room's oldest goes."""

    def __init__(self) -> None:
        self._of: dict[str, deque[Sample]] = {}
        self._count = 0

    def admit(self, name: str, most: int) -> bool:
        """Return whether a room is one of so many, the first ones."""
        if name not in self._of and len(self._of) >= most:
            return False
        self._of.setdefault(name, deque())
        return True

    def of(self, name: str) -> deque[Sample]:
        return self._of[name]

    def take(self, name: str, sample: Sample) -> None:
        """Take what a state says, if it is newer than the last one."""
        samples = self.of(name)
        if samples and sample.ts_ms <= samples[-1].ts_ms:
            return
        if samples and (len(samples) >= _MOST_OF_ONE or self._count >= _MOST):
            samples.popleft()
            self._count -= 1
        samples.append(sample)
        self._count += 1

    def kept(self, name: str, until_ms: int) -> None:
        """A room's minutes are kept up to a moment: what says nothing of the time after it is let go."""
        samples = self.of(name)
        while len(samples) > 1 and samples[0].ts_ms < until_ms - 2 * HOLDS_MS:
            samples.popleft()
            self._count -= 1

    def cut_short(self, until_ms: int) -> None:
        """Nothing was heard of any sensor from a moment on."""
        for samples in self._of.values():
            cut_short(samples, until_ms)


def sample_of(payload: bytes) -> Sample | None:
    """Return what a state says, None where it makes no sense."""
    try:
        told = decoded(payload, State)
        at_ms = unix_ms(told.ts)
    except (ValueError, OverflowError):
        return None
    level = min(max(told.level_dbfs, -200.0), 200.0)
    return Sample(at_ms, level, told.speech_ratio, told.arousal, told.valence, told.microphone != "ok")


def cut_short(samples: MutableSequence[Sample], until_ms: int) -> None:
    """Have the last state say nothing of the time from a moment on; a microphone that is deaf stays so meanwhile."""
    if samples and samples[-1].until_ms is None and not samples[-1].deaf:
        samples[-1] = replace(samples[-1], until_ms=until_ms)
