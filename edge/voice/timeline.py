"""The last 24 hours as runs of one label, so that a dashboard opened now has a past."""

import bisect
import logging

import msgspec

from edge.labels import QUIET
from edge.voice.payloads import Timeline, rfc3339, unix_s

log = logging.getLogger("roomtone.timeline")

SPAN_S = 86_400.0
MOST_RUNS = 1_440
INTERVAL_S = 60.0  # between two publications, at most
SOONEST_S = 5.0
_S_PER_RUN = 0.25  # from 240 runs on, some 13 kB, a change is told within a minute only
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

    def add(self, start: float, label: str, confidence: float) -> None:
        """Begin a run, at Unix time `start`."""
        self._new = True
        bisect.insort(self._runs, (start, label, confidence), key=_start)
        del self._runs[: -2 * MOST_RUNS]  # nothing is published, and thereby tidied, before the broker answers

    def recall(self, timeline: bytes | None, state: bytes | None = None) -> None:
        """Put what was published in an earlier life before the present one; rubbish is left out.

        Up to the timeline's `ts` its runs are known; from the state's `since` to its `ts`, the state's label. In
        between, and up to our own first run, nobody listened, for all that is known.
        """
        known, until = _told(timeline) if timeline is not None else ([], None)
        said = _last_said(state) if state is not None else None
        if said is not None and (until is None or said[1] > until):
            run, last = said
            if until is not None and run[0] - until > _UNTOLD_S:
                known += [(until, QUIET, 0.0), run]
            elif not known or run[1] != known[-1][1]:
                known.append(run)
            until = last
        if known:
            gap = (max(until, max(map(_start, known))), QUIET, 0.0)
            self._runs = sorted([*known, gap, *self._runs], key=_start)
            self._due_s = self._due_if_new_s = 0.0

    def due(self, monotonic_s: float, now: float) -> Timeline | None:
        """Return the timeline if it has not been published for a minute, or sooner, as above. `now` is Unix time."""
        if not self._runs or monotonic_s < (self._due_if_new_s if self._new else self._due_s):
            return None
        timeline = self.timeline(now)
        self._new = False
        self._due_s = monotonic_s + INTERVAL_S
        self._due_if_new_s = monotonic_s + min(max(_S_PER_RUN * len(timeline.runs), SOONEST_S), INTERVAL_S)
        return timeline

    def timeline(self, now: float) -> Timeline:
        """Return the runs of the day before `now`, the first beginning no earlier than that."""
        earliest = now - SPAN_S
        begun = [run for run in self._runs if run[0] < earliest]
        self._runs = [run for run in self._runs if earliest <= run[0] <= now + SPAN_S]
        if begun:
            self._runs.insert(0, (earliest, *begun[-1][1:]))
        self._runs = _merged(self._runs)[-MOST_RUNS:]
        return Timeline(
            ts=rfc3339(now), runs=[(rfc3339(start), label, round(sure, 4)) for start, label, sure in self._runs]
        )


def _start(run: Run) -> float:
    return run[0]


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
        told = msgspec.json.decode(timeline)
        runs, until = told["runs"], unix_s(told["ts"])
        return [run for run in map(_run, runs[-MOST_RUNS:]) if run is not None], until
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, OverflowError) as error:
        log.warning("what the broker has retained of the last day cannot be used (%s): it begins anew", error)
        return [], None


def _last_said(state: bytes) -> tuple[Run, float] | None:
    """Return the run that a state tells of, and until when; None where it makes no sense."""
    try:
        told = msgspec.json.decode(state)
        run = _run([told["since"], told["emotion"], told["confidence"]])
        return None if run is None else (run, max(run[0], unix_s(told["ts"])))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, OverflowError):
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
