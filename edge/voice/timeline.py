"""The last 24 hours as runs of one label, so that a dashboard opened now has a past."""

import bisect
import logging
from datetime import datetime

import msgspec

from edge.labels import QUIET
from edge.voice.payloads import Timeline, rfc3339

log = logging.getLogger("roomtone.timeline")

SPAN_S = 86_400.0
MOST_RUNS = 1_440
INTERVAL_S = 60.0  # between two publications
_LONGEST_LABEL = 64

Run = tuple[float, str, float]  # start in Unix seconds, label, confidence


class TimelineRecorder:
    """Collects runs `(start, label, confidence)`; a run lasts until the next begins.

    A run of `quiet` with confidence 0 stands for a time in which nobody listened. Where the clock steps, runs stay
    sorted by their start, within a day to both sides of now.
    """

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._changed = False
        self._due_s = 0.0

    def add(self, start: float, label: str, confidence: float) -> None:
        """Begin a run, at Unix time `start`."""
        bisect.insort(self._runs, (start, label, confidence), key=_start)
        del self._runs[: -2 * MOST_RUNS]  # nothing is published, and thereby tidied, before the broker answers
        self._changed = True

    def recall(self, payload: bytes) -> None:
        """Put what was published in an earlier life before the present one; rubbish is left out.

        Between that payload's `ts` and our own first run nobody listened.
        """
        try:
            told = msgspec.json.decode(payload)
            runs, until = told["runs"], _unix_s(told["ts"])
            known = [run for run in (_run(found) for found in runs[-MOST_RUNS:]) if run is not None]
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, OverflowError) as error:
            log.warning("the retained timeline cannot be used (%s)", error)
            return
        if known:
            gap = [(max(until, max(map(_start, known))), QUIET, 0.0)]
            self._runs = sorted([*known, *gap, *self._runs], key=_start)
            self._changed, self._due_s = True, 0.0

    def due(self, monotonic_s: float, now: float) -> Timeline | None:
        """Return the timeline if it changed and has not been published for a minute. `now` is Unix time."""
        if not self._changed or monotonic_s < self._due_s:
            return None
        self._changed = False
        self._due_s = monotonic_s + INTERVAL_S
        return self.timeline(now)

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


def _run(found: object) -> Run | None:
    """Return a run as published, None where it is not one."""
    match found:
        case [str(start), str(label), int() | float() as sure] if 0 < len(label) <= _LONGEST_LABEL and 0 <= sure <= 1:
            try:
                return _unix_s(start), label, float(sure)
            except (ValueError, OverflowError):
                return None
    return None


def _unix_s(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()
