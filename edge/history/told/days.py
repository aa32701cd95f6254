"""What a timeline tells, and what came since it: the times in which anybody listened."""

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge.history.taken import storable
from edge.labels import QUIET
from edge.voice.payloads import Timeline, decoded, unix_s

DAY_MS = 86_400_000  # of which a timeline tells, at most
_MOST_RUNS = 50_000  # that nobody has kept yet: so many are kept at once, not when their minute comes

Span = tuple[int, int, str]  # begin and end in Unix milliseconds, and a label


class Spans(Sequence[Span]):
    """Spans in an eighth of the memory that tuples take: a thousand sensors tell a million of them at once."""

    __slots__ = ("_begins", "_ends", "_labels")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._begins, self._ends, self._labels = array("q"), array("q"), list[str]()
        for begin, end, label in spans:
            self._begins.append(begin)
            self._ends.append(end)
            self._labels.append(sys.intern(label))

    def __len__(self) -> int:
        return len(self._begins)

    def __getitem__(self, at: int) -> Span:
        return self._begins[at], self._ends[at], self._labels[at]

    def __iter__(self) -> Iterator[Span]:
        return zip(self._begins, self._ends, self._labels, strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None


@dataclass(frozen=True, slots=True)
class Day:
    """A timeline, or part of one: the times in which anybody listened, in order, and from when until when (Unix
    milliseconds) it tells."""

    heard: Sequence[Span]
    until_ms: int
    since_ms: int = 0

    def followed_by(self, later: "Day") -> "Day":
        """Return what both tell; where both do, the later one counts."""
        if later.until_ms <= self.until_ms:
            return self
        since = later.since_ms
        before = ((begin, min(end, since), label) for begin, end, label in self.heard if begin < since)
        return Day(Spans((*before, *later.heard)), later.until_ms, min(self.since_ms, since))


class Days:
    """What sensors told of their days. untaken: by their names, what nobody has kept yet."""

    def __init__(self) -> None:
        self.untaken: dict[str, Day] = {}
        self._runs = 0  # of untaken
        self._whole: set[str] = set()  # whose day was told whole on this connection: what is recent goes on from there

    def connected(self) -> None:
        """Of what was said before this connection, only whole days tell."""
        self._whole.clear()

    @property
    def many(self) -> bool:
        """Whether so much is untaken that it is to be kept at once."""
        return self._runs >= _MOST_RUNS

    def take(self, name: str, day: Day, *, whole: bool) -> None:
        """Take a day, or what came since it was told whole."""
        before = self.untaken.get(name)
        if whole:
            self._whole.add(name)
        elif name not in self._whole:
            return
        elif before is not None:
            day = before.followed_by(day)
        self.untaken[name] = day
        self._runs += len(day.heard) - (0 if before is None else len(before.heard))

    def kept(self) -> None:
        """Nothing is untaken any more."""
        self.untaken.clear()
        self._runs = 0


def day_of(payload: bytes) -> Day | None:
    """Return what a timeline, or what came since it, tells of a day at most; None where it makes no sense."""
    try:
        told = decoded(payload, Timeline)
        until_ms = unix_ms(told.ts)
        earliest = until_ms - DAY_MS
        runs = [(max(unix_ms(start), earliest), label, sure) for start, label, sure in told.runs if storable(label)]
    except (ValueError, OverflowError):
        return None
    runs.sort(key=lambda run: run[0])  # of those that begin together the last is the one that goes on, as it was told
    ends = [*(start for start, _, _ in runs[1:]), until_ms]
    return Day(
        Spans(
            (start, min(end, until_ms), label)
            for (start, label, sure), end in zip(runs, ends, strict=False)  # without runs there is no end, either
            if (label, sure) != (QUIET, 0.0) and start < min(end, until_ms)
        ),
        until_ms,
        runs[0][0] if runs else until_ms,
    )


def unix_ms(text: str) -> int:
    """Return RFC 3339 as Unix milliseconds. Raises ValueError for what it is not."""
    return round(1_000 * unix_s(text))
