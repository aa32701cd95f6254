"""The last 24 hours as runs of one label, so that a dashboard opened now has a past.

A short day is told whole every time. A long one, up to 66 kB, is told every quarter of an hour (`timeline`), and in
between only what came since (`recent`).
"""

import bisect
import logging

from edge.labels import QUIET
from edge.voice.payloads import Timeline, decoded, rfc3339, unix_s

log = logging.getLogger("roomtone.timeline")

SPAN_S = 86_400.0
MOST_RUNS = 1_440
INTERVAL_S = 60.0  # between two publications, at most
SOONEST_S = 5.0
SHORT_RUNS = 60  # of a day that is told whole every time
RECENT_RUNS = 240  # of what came since; beyond, the day is told whole again
WHOLE_S = 900.0  # between two whole ones of a long day, at most
OVERLAP_S = 60.0  # told twice: a change is known only some seconds after it began
_S_PER_RUN = 0.25  # from 240 runs on, some 11 kB, a change is told within a minute only
_LONGEST_LABEL = 64
_UNTOLD_S = 2.0  # between what a timeline and a state tell; a change in it belongs to the state's label

Run = tuple[float, str, float]  # start in Unix seconds, label, confidence


class TimelineRecorder:
    """Collects runs `(start, label, confidence)`; a run lasts until the next begins.

    A run of `quiet` with confidence 0 stands for a time in which nobody listened. Where the clock steps, runs stay
    sorted by their start, within a day to both sides of now. What is published is known up to its `ts`, so that it is
    published again also where no run is new. While it is short, a new run is published sooner: a page that is opened
    soon after the start has a past, too.
    """

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._due_s = 0.0
        self._due_if_new_s = 0.0
        self._new = False
        self._whole: float | None = None  # Unix time as of which the whole was told, while that still holds

    def add(self, start: float, label: str, confidence: float) -> None:
        """Begin a run, at Unix time `start`; one that took no time, of the same label, gives way to it."""
        self._new = True
        if self._runs and self._runs[-1][:2] == (start, label):
            self._runs.pop()
        bisect.insort(self._runs, (start, label, confidence), key=_start)
        if self._whole is not None and start < self._whole - OVERLAP_S:
            self._whole = None
        del self._runs[: -2 * MOST_RUNS]  # nothing is published, and thereby tidied, before the broker answers

    def silent_since(self, start: float) -> None:
        """Nobody has listened since Unix time `start`, which may be before anything that is known here."""
        if all(run[1:] == (QUIET, 0.0) for run in self._runs if run[0] >= start):
            self.add(start, QUIET, 0.0)

    def recall(self, timeline: bytes | None, state: bytes | None = None, recent: bytes | None = None) -> None:
        """Put what was published in an earlier life before the present one; rubbish is left out.

        Up to the timeline's `ts` its runs are known, and what came since up to that of `recent`; from the state's
        `since` to its `ts`, the state's label. In between, and up to our own first run, nobody listened, for all that
        is known.
        """
        known, until = _continued(*(_told(told) if told is not None else ([], None) for told in (timeline, recent)))
        said = _last_said(state) if state is not None else None
        if said is not None and (until is None or said[1] > until):
            run, last = said
            brief = run[1] == QUIET and last - run[0] < _UNTOLD_S  # and nobody listened from then on
            if until is not None and run[0] - until > _UNTOLD_S:
                known.append((until, QUIET, 0.0))
            elif known and run[1] == known[-1][1]:
                brief = True  # goes on
            known += [] if brief else [run]
            until = last
        if known:
            gap = (max(until, max(map(_start, known))), QUIET, 0.0)
            self._runs = sorted([*known, gap, *self._runs], key=_start)
            self._due_s = self._due_if_new_s = 0.0
            self._whole = None

    def due(self, monotonic_s: float, now: float) -> tuple[str, Timeline] | None:
        """Return `timeline` or `recent`, and what to publish there; None if that is not due, as above.
        `now` is Unix time."""
        if not self._runs or monotonic_s < (self._due_if_new_s if self._new else self._due_s):
            return None
        name, told = "timeline", self.timeline(now)
        if len(told.runs) > SHORT_RUNS and self._whole is not None and 0 <= now - self._whole < WHOLE_S:
            runs = _since(self._runs, self._whole - OVERLAP_S)
            if len(runs) <= RECENT_RUNS:
                name, told = "recent", _as_told(runs, now)
        if name == "timeline":
            self._whole = now
        self._new = False
        self._due_s = monotonic_s + INTERVAL_S
        self._due_if_new_s = monotonic_s + min(max(_S_PER_RUN * len(told.runs), SOONEST_S), INTERVAL_S)
        return name, told

    def timeline(self, now: float) -> Timeline:
        """Return the runs of the day before `now`, the first beginning no earlier than that."""
        runs = [run for run in self._runs if run[0] <= now + SPAN_S]
        self._runs = _merged(_since(runs, now - SPAN_S))[-MOST_RUNS:]
        return _as_told(self._runs, now)


def _start(run: Run) -> float:
    return run[0]


def _as_told(runs: list[Run], now: float) -> Timeline:
    return Timeline(ts=rfc3339(now), runs=[(rfc3339(start), label, round(sure, 4)) for start, label, sure in runs])


def _since(runs: list[Run], earliest: float) -> list[Run]:
    """Return what runs tell of the time from `earliest` on; one that began before begins with it."""
    begun = [run for run in runs if run[0] < earliest]
    kept = [run for run in runs if run[0] >= earliest]
    return [(earliest, *begun[-1][1:]), *kept] if begun else kept


def _continued(
    day: tuple[list[Run], float | None], recent: tuple[list[Run], float | None]
) -> tuple[list[Run], float | None]:
    """Return the runs of a day and of what came since, and until when they tell; where both tell, the later counts."""
    (runs, until), (later, later_until) = day, recent
    if not later or until is None or later_until <= until:
        return day if until is not None else recent
    began = min(map(_start, later))
    gap = [(until, QUIET, 0.0)] if began - until > _UNTOLD_S else []
    return [*(run for run in runs if run[0] < began), *gap, *later], later_until


def _merged(runs: list[Run]) -> list[Run]:
    """Return the runs without those that go on with the label before; the first's confidence stands for both."""
    return [
        run
        for before, run in zip([None, *runs], runs, strict=False)
        if before is None or before[1] != run[1] or (before[2] == 0) != (run[2] == 0)
    ]


def _told(timeline: bytes) -> tuple[list[Run], float | None]:
    """Return the runs of a payload, and until when it knows; nothing where it makes no sense."""
    try:
        told = decoded(timeline, dict)
        runs, until = told["runs"], unix_s(told["ts"])
        return [run for run in map(_run, runs[-MOST_RUNS:]) if run is not None], until
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        log.warning("what the broker has retained of the last day cannot be used (%s): it begins anew", error)
        return [], None


def _last_said(state: bytes) -> tuple[Run, float] | None:
    """Return the run that a state tells of, and until when; None where it makes no sense."""
    try:
        told = decoded(state, dict)
        run = _run([told["since"], told["emotion"], told["confidence"]])
        return None if run is None else (run, max(run[0], unix_s(told["ts"])))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _run(found: object) -> Run | None:
    """Return a run as published, None where it is not one."""
    match found:
        case [str(start), str(label), int() | float() as sure] if 0 < len(label) <= _LONGEST_LABEL and 0 <= sure <= 1:
            try:
                return unix_s(start), label, float(sure)
            except (ValueError, OverflowError):
                return None
    return None
