"""From what a sensor tells of its day to minutes: how long anybody listened, how long each label held, means."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from edge.history.told.days import Day, Span
from edge.history.told.samples import HOLDS_MS, Sample
from edge.labels import QUIET

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


@dataclass(slots=True)
class Minute:
    """A minute in which anybody listened. Sums of value times milliseconds, which become means (`means`)."""

    minute: int
    heard_ms: int = 0
    label_ms: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # without quiet
    told_ms: int = 0
    voiced_ms: int = 0
    level: float = 0.0
    speech: float = 0.0
    arousal: float = 0.0
    valence: float = 0.0

    def means(self) -> tuple[int | None, ...]:
        """Return the means of level (dBFS), and of speech, arousal and valence (permille); None of what is unknown."""
        told, voiced = self.told_ms, self.voiced_ms
        return (
            round(self.level / told) if told else None,
            round(1_000 * self.speech / told) if told else None,
            round(1_000 * self.arousal / voiced) if voiced else None,
            round(1_000 * self.valence / voiced) if voiced else None,
        )


def minutes(day: Day, samples: Sequence[Sample], first: int, last: int) -> list[Minute]:
    """Return the minutes from `first` up to, but without, `last` in which anybody listened.

    samples: of these minutes and shortly before, in order. Where none is known, labels are all that is told.
    """
    made: dict[int, Minute] = {}
    bounds = first * MINUTE_MS, last * MINUTE_MS
    held = list(_held(samples))
    deaf = [(begin, end) for begin, end, sample in held if sample.deaf]
    for begin, end, label in _without(day.heard, deaf):
        for minute, ms in _split(begin, end, *bounds):
            found = made.setdefault(minute, Minute(minute))
            found.heard_ms += ms
            if label != QUIET:
                found.label_ms[label] += ms
    for begin, end, sample in held:
        if sample.deaf:
            continue
        for minute, ms in _split(begin, end, *bounds):
            if (found := made.get(minute)) is not None:
                found.told_ms += ms
                found.level += sample.level_dbfs * ms
                found.speech += sample.speech_ratio * ms
                if sample.arousal is not None and sample.valence is not None:
                    found.voiced_ms += ms
                    found.arousal += sample.arousal * ms
                    found.valence += sample.valence * ms
    return [made[minute] for minute in sorted(made)]


def _held(samples: Sequence[Sample]) -> Iterator[tuple[int, int, Sample]]:
    """Yield from when to when what each sample says holds."""
    for sample, after in zip_longest(samples, samples[1:]):
        longest = sample.ts_ms + HOLDS_MS
        end = min(each for each in (longest, after and after.ts_ms, sample.until_ms) if each is not None)
        if end > sample.ts_ms:
            yield sample.ts_ms, end, sample


def _without(spans: Iterable[Span], gaps: Sequence[tuple[int, int]]) -> Iterator[Span]:
    """Yield what is left of spans where gaps, in order, are taken out of them."""
    for begin, end, label in spans:
        for gap_begin, gap_end in gaps:
            if gap_end > begin and gap_begin < end:
                if gap_begin > begin:
                    yield begin, gap_begin, label
                begin = gap_end
        if begin < end:
            yield begin, end, label


def _split(begin: int, end: int, earliest: int, latest: int) -> Iterator[tuple[int, int]]:
    """Yield the minutes that a time touches within bounds, with how long (milliseconds)."""
    begin, end = max(begin, earliest), min(end, latest)
    while begin < end:
        minute = begin // MINUTE_MS
        border = min(end, (minute + 1) * MINUTE_MS)
        yield minute, border - begin
        begin = border
