"""Rooms whose days pass quickly: real links, outboxes and timelines of sensors, which say what a script has them hear.

What they said, and when anybody listened, is known here without any code of a history's: that is its oracle.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge.config import Mqtt
from edge.delivery.link import Link
from edge.delivery.outbox import Outbox
from edge.delivery.store import Store
from edge.voice.payloads import Event, State, rfc3339
from edge.voice.sequence import Sequence, uuid7
from edge.voice.timeline import TimelineRecorder
from tests.support.broker import HOST
from tests.support.patience import wait_until

LABELS = ("angry", "happy", "neutral", "sad", "unknown")
QUIET = "quiet"
_SAVED_S = 0.5
Run = tuple[float, str, float]  # start in Unix seconds, label, confidence; quiet with confidence 0: nobody listens


@dataclass(slots=True)
class Room:
    """A sensor that says what it is told, at times of a day that is over."""

    name: str
    link: Link
    sequence: Sequence
    timeline: TimelineRecorder = field(default_factory=TimelineRecorder)
    runs: list[Run] = field(default_factory=list)
    said: dict[str, Event] = field(default_factory=dict)
    told_until: float = 0.0

    @classmethod
    def begin(cls, name: str, port: int, folder: Path) -> "Room":
        outbox = Outbox(Store(folder / f"{name}.sqlite", max_rows=50_000, max_bytes=50_000_000))
        sequence = Sequence(outbox.last_seq)
        link = Link(Mqtt(), name, host=HOST, port=port, outbox=outbox, sequence=sequence)
        link.start()
        return cls(name, link, sequence)

    def change(self, at: float, label: str, confidence: float) -> None:
        """The label changes, at Unix time `at`."""
        before = self.runs[-1] if self.runs else (at, QUIET, 1.0)
        self.runs.append((at, label, confidence))
        self.timeline.add(at, label, confidence)
        event = Event(
            event_id=uuid7(at), event_type=label, ts=rfc3339(at), previous=before[1], confidence=confidence,
            previous_duration_ms=round(1_000 * (at - before[0])), arousal=None if label == QUIET else 0.5,
            valence=None if label == QUIET else -0.25, speech_ratio=0.25, level_dbfs=-40.0, seq=self.sequence.next(),
            model="test-1",
        )  # fmt: skip
        self.said[event.event_id] = event
        self.link.event(event)

    def tell_day(self, now: float) -> None:
        """Say what the last day was, or what came since it was said, as of Unix time `now`; a minute after the last."""
        if (due := self.timeline.due(now, now)) is not None:
            self.told_until = now
            self.link.retain(*due)

    def state(self, at: float, *, microphone: str = "ok", **fields: float | None) -> None:
        """Say how it is, at Unix time `at`."""
        start, label, confidence = self.runs[-1] if self.runs else (at, QUIET, 1.0)
        heard = {"arousal": None, "valence": None, "speech_ratio": 0.0, "level_dbfs": -60.0, **fields}
        state = State(
            ts=rfc3339(at), emotion=label, confidence=confidence, since=rfc3339(start), scores={}, snr_db=None,
            clipped_ratio=0.0, microphone=microphone, model="test-1", seq=self.sequence.next(), **heard,
        )  # fmt: skip
        self.link.retain("state", state)

    def heard_ms(self) -> dict[int, dict[str, int]]:
        """Return how long each label held, by minute, as far as `tell_day` told: second by second."""
        found: dict[int, dict[str, int]] = {}
        last = int(self.told_until)
        ends = [run[0] for run in self.runs[1:]] + [last]
        for (start, label, sure), end in zip(self.runs, ends, strict=True):
            for second in range(round(start), min(round(end), last)) if (label, sure) != (QUIET, 0.0) else ():
                minute = found.setdefault(second // 60, {})
                minute[label] = minute.get(label, 0) + 1_000
        return found


class Rooms:
    """So many rooms, which speak while the context lasts; an hour passes in `hour_s`, from `begins` on (Unix time)."""

    def __init__(self, port: int, folder: Path, count: int, *, hour_s: float, begins: float) -> None:
        self._hour_s, self._begins = hour_s, float(round(begins))
        folder.mkdir(parents=True, exist_ok=True)
        self.rooms = [Room.begin(f"room-{number}", port, folder) for number in range(count)]
        self._ending, self._silent = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> "Rooms":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.hush()
        for room in self.rooms:
            room.link.stop()

    def hush(self) -> None:
        """Have them end their day: whole, with its last minutes told."""
        self._ending.set()
        self._thread.join()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Nobody says anything while this lasts, and the broker has saved all that was said when it begins.

        mosquitto acknowledges a moment before it saves: what is said in that moment is lost with a kill, to whoever
        listens.
        """
        self._silent.set()
        wait_until(self.delivered)
        time.sleep(_SAVED_S)
        try:
            yield
        finally:
            self._silent.clear()

    def delivered(self) -> bool:
        """Return whether the broker has all that they said."""
        return all(room.link.outbox.depth == 0 and room.link.problem is None for room in self.rooms)

    def _speak(self) -> None:
        dice = random.Random(25)
        due = {room.name: self._begins + dice.randrange(0, 600) for room in self.rooms}
        began_s, told_s = time.monotonic(), 0.0
        now = self._begins
        while not self._ending.wait(0.05):
            if self._silent.is_set():  # what is due comes later, at its own times
                continue
            now = min(self._begins + (time.monotonic() - began_s) * 3_600 / self._hour_s, time.time())
            for room in self.rooms:
                while due[room.name] <= now:
                    label, confidence = self._next(dice, room)
                    room.change(due[room.name], label, confidence)
                    long = (label, confidence) == (QUIET, 0.0)
                    due[room.name] += dice.randrange(600, 2_400) if long else dice.randrange(20, 600)
            if time.monotonic() - told_s > 1.0:
                told_s = time.monotonic()
                for room in self.rooms:
                    room.tell_day(float(int(now)))
        for room in self.rooms:
            room.tell_day(float(int(now)))

    @staticmethod
    def _next(dice: random.Random, room: Room) -> tuple[str, float]:
        if room.runs and room.runs[-1][1] != QUIET:
            return QUIET, dice.choice((0.0, 1.0, 1.0, 1.0))
        return dice.choice(LABELS), 0.75
