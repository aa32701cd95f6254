"""The commands `teach` and `forget`, and what is said of lessons on `lessons`."""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from edge.delivery.brokers.first import Command
from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET
from edge.lessons.memory import MOST_HEARD, SAME_S
from edge.lessons.personal import Figures
from edge.lessons.shelf import book_of
from edge.lessons.teacher import RefusedError, Teacher
from edge.model.artifact import Artifact
from edge.voice.payloads import Event, decoded, rfc3339, unix_s
from edge.voice.teaching import Answer, Forget, Lessons, Taught, Teach

LONGEST_BYTES = 1_000  # of a command
# Each one taken costs a write and a fit: so many at once, and then one every so often.
MOST_AT_ONCE, EVERY_S = 30, 2.0
STALE_S = 60.0  # a command that says when it was given, and that long ago, is not what anybody waits for
LOOK_EVERY_S = 2.0  # whether somebody typed `roomtone teach`
RECENT = 100
_NO_TEACHER = "this model cannot be taught: it gives no embedding"
_NOBODY_SPOKE = "at that change nobody spoke any more: name the one before it, to a label"


class Teaching:
    """Obeys commands on any thread; the rest belongs to the sensor's. teacher: None where the model cannot be taught.

    publish: is given what `lessons` says whenever that is something else.
    """

    def __init__(self, teacher: Teacher | None, *, model_id: str, labels: list[str]) -> None:
        self.publish: Callable[[Lessons], None] = lambda lessons: None
        self._teacher, self._model_id, self._labels = teacher, model_id, labels
        self._lock = threading.Lock()
        self._answer: Answer | None = None
        self._left, self._filled_s = float(MOST_AT_ONCE), time.monotonic()
        self._look_due_s = 0.0
        self._silences: deque[tuple[str, float]] = deque(maxlen=MOST_HEARD)  # changes to quiet: ids, Unix times

    @classmethod
    def of(cls, artifact: Artifact, pipeline: Pipeline, state: Path | None, device: str) -> "Teaching":
        """Return the teaching of a device's model, whose pipeline answers with what was taught from now on."""
        manifest = artifact.manifest
        book = book_of(artifact, state, device)
        teacher = None if book is None else Teacher(book, manifest.labels, pipeline.take_up)
        return cls(teacher, model_id=manifest.model_id, labels=manifest.labels)

    @property
    def commands(self) -> dict[str, Command]:
        """What obeys, by topic."""
        return {"teach": self._teach, "forget": self._forget}

    def hear(self, event: Event, pipeline: Pipeline) -> None:
        """The sensor said this of what its pipeline heard last."""
        if event.event_type == QUIET:
            self._silences.append((event.event_id, unix_s(event.ts)))
        if self._teacher is None or pipeline.embedding is None:
            return
        if event.event_type == QUIET:
            self._teacher.ended(pipeline.embedding, pipeline.own_probs)
        else:
            self._teacher.said(event.event_id, unix_s(event.ts), pipeline.embedding, pipeline.own_probs)

    def turn(self) -> None:
        """Now and then, see whether somebody else taught it."""
        now_s = time.monotonic()
        if self._teacher is not None and now_s >= self._look_due_s:
            self._look_due_s = now_s + LOOK_EVERY_S
            if self._teacher.look():
                self.tell()

    def end(self) -> None:
        """The sensor ends."""
        if self._teacher is not None:
            self._teacher.end()

    def tell(self) -> None:
        """Publish what is to be said of lessons."""
        with self._lock:
            self.publish(self._said())

    def _said(self) -> Lessons:
        teacher, now = self._teacher, rfc3339(time.time())
        if teacher is None:
            return Lessons(ts=now, model=self._model_id, teachable=False, labels=self._labels, answer=self._answer)
        lessons, layer = teacher.lessons, teacher.personal
        recent = [Taught(event_id=each.event_id, label=each.label, ts=rfc3339(each.at)) for each in lessons[-RECENT:]]
        return Lessons(
            ts=now,
            model=self._model_id,
            teachable=True,
            labels=self._labels,
            per_label=dict(layer.per_label),
            count=len(lessons),
            **_told("before", layer.before),
            **_told("after", layer.after),
            in_use=bool(layer.in_use),
            recent=recent,
            of_other_models=teacher.of_other_models,
            problem=teacher.problem,
            answer=self._answer,
        )

    def _teach(self, payload: bytes) -> str | None:
        def teach(told: Teach) -> tuple[str, str | None]:
            event = _named(told.event_id)
            if any(event == name or (isinstance(event, float) and abs(event - at) <= SAME_S)
                   for name, at in tuple(self._silences)):  # fmt: skip
                raise RefusedError(_NOBODY_SPOKE)
            lesson, replaced = self._teacher.teach(event, told.label)
            return lesson.event_id, replaced

        return self._obey("teach", payload, Teach, teach)

    def _forget(self, payload: bytes) -> str | None:
        return self._obey("forget", payload, Forget, lambda told: (self._teacher.forget(told.event_id), None))

    def _obey(
        self, command: str, payload: bytes, kind: type, do: Callable[[Teach | Forget], tuple[str, str | None]]
    ) -> str | None:
        try:
            told = decoded(payload if len(payload) <= LONGEST_BYTES else b"", kind)
            late = told.ts is not None and time.time() - unix_s(told.ts) > STALE_S
        except (ValueError, OverflowError):
            return "not as the contract has it: send a JSON object with what it names"
        if not self._afford():
            return f"one of too many at once: send {MOST_AT_ONCE} at most, then one every {EVERY_S:.0f} s"
        meant, replaced, reason = told.event_id, None, None
        try:
            if self._teacher is None:
                raise RefusedError(_NO_TEACHER)
            if late:
                raise RefusedError(f"came more than {STALE_S:.0f} s after it was said")
            meant, replaced = do(told)
        except RefusedError as error:
            reason = str(error)
        with self._lock:
            self._answer = Answer(
                command=command, event_id=meant, label=getattr(told, "label", None), done=reason is None, reason=reason,
                ts=rfc3339(time.time()), instead_of=replaced,
            )  # fmt: skip
            self.publish(self._said())
        return None if reason is None else f"refused: {reason}"

    def _afford(self) -> bool:
        with self._lock:
            now_s = time.monotonic()
            self._left = min(MOST_AT_ONCE, self._left + (now_s - self._filled_s) / EVERY_S)
            self._filled_s = now_s
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True


def _named(event_id: str) -> str | float:
    """Return the Unix time of a change that is named by its time, else its id as it is."""
    try:
        return unix_s(event_id)
    except (ValueError, OverflowError):
        return event_id


def _told(when: str, figures: Figures | None) -> dict[str, float]:
    """Return figures as they are published."""
    return {} if figures is None else {f"{name}_{when}": round(share, 4) for name, share in figures._asdict().items()}
