"""The teacher of one model: hears what the sensor said, is told what it was, and fits the personal layer to that."""

import copy
import logging
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from edge.lessons.book import Book, FullError
from edge.lessons.lesson import MOST_LESSONS, Heard, Lesson
from edge.lessons.memory import MOST_HEARD, Memory
from edge.lessons.personal import Personal, fit

log = logging.getLogger("roomtone.lessons")

LAST = "last"  # instead of an event's id: the newest
ALL = "all"  # instead of a lesson's
LAST_S = 600.0  # what is older is not what anybody means by it


class RefusedError(Exception):
    """A lesson that cannot be taken, and why, in words."""


class Teacher:
    """Thread-safe. on_fitted: given the layer whenever it is another one; called on the thread that changed it.

    personal: that layer. of_other_models: how many lessons are kept for those. problem: why the lessons on disk are not
    as they should be, None where they are.
    """

    def __init__(self, book: Book, labels: Sequence[str], on_fitted: Callable[[Personal], None]) -> None:
        self._book, self._labels, self._on_fitted = book, list(labels), on_fitted
        self._memory, self._heard_s = Memory(), 0.0
        self._lock = threading.Lock()
        self._write_problem: str | None = None
        self._fit()
        others = book.others()
        self.of_other_models = sum(others.values())
        if not book.lessons and others:
            told = ", ".join(f"{count} of {model}" for model, count in others.items())
            log.warning("the model %s has not been taught; lessons of other models are kept for them: %s",
                        book.model, told)  # fmt: skip

    @property
    def lessons(self) -> tuple[Lesson, ...]:
        return self._book.lessons

    @property
    def problem(self) -> str | None:
        return self._book.damaged or self._write_problem

    def said(self, event_id: str, changed_at: float, embedding: np.ndarray, probs: np.ndarray) -> None:
        """The label changed at this Unix time, in an utterance that sounds so, so far: float (dims,), the model's own
        (labels,)."""
        with self._lock:
            self._memory.begin(event_id, changed_at, embedding, probs)
            self._heard_s = time.monotonic()

    def ended(self, embedding: np.ndarray, probs: np.ndarray) -> None:
        """The utterance is over."""
        with self._lock:
            self._memory.end(embedding, probs)
            self._book.usual.hear(embedding)
            self._heard_s = time.monotonic()

    def teach(self, event: str | float, label: str) -> tuple[Lesson, str | None]:
        """Take in what was said at an event: its id, its Unix time, or LAST; when this returns, it is on disk.

        Returns the lesson, and the label of the one whose place it took, where that was of another change of the same
        utterance. Raises RefusedError.
        """
        with self._lock:
            if label not in self._labels:
                raise RefusedError(f"no label of the model, which are {', '.join(self._labels)}")
            heard = self._find(event)
            if heard is not None:
                beside = self._memory.beside(heard)
            elif (heard := next((each for each in self.lessons if each.event_id == event), None)) is not None:
                beside = set()
            else:
                raise RefusedError(f"not among the last {MOST_HEARD} changes that the sensor heard since its start")
            lesson = Lesson(heard.event_id, label, time.time(), heard.embedding, heard.log_probs)
            others = beside - {lesson.event_id}
            replaced = next((each.label for each in self.lessons if each.event_id in others), None)
            self._write(lambda: self._book.add([lesson], instead_of=beside))
            return lesson, replaced

    def add(self, lessons: Sequence[Lesson]) -> None:
        """Take in lessons that were made elsewhere. Raises RefusedError."""
        with self._lock:
            self._write(lambda: self._book.add(lessons))

    def forget(self, event_id: str) -> str:
        """Forget the lesson of an event, the newest lesson (LAST), or ALL; return which. Raises RefusedError."""
        with self._lock:
            if event_id == ALL:
                self._write(self._book.clear)
                return ALL
            self._book.look()
            if event_id == LAST and self.lessons:
                event_id = max(self.lessons, key=lambda lesson: lesson.at).event_id
            if all(lesson.event_id != event_id for lesson in self.lessons):
                raise RefusedError("no such lesson")
            self._write(lambda: self._book.remove(event_id))
            return event_id

    def look(self) -> bool:
        """Take in what another process taught; return whether one did."""
        with self._lock:
            if changed := self._book.look():
                self._fit()
            return changed

    def end(self) -> None:
        """Keep what the room usually sounds like, if there are lessons."""
        with self._lock:
            try:
                self._book.save_usual()
            except OSError as error:
                log.error("%s: %s: what the room usually sounds like is not kept", self._book.path, error.strerror)

    def _find(self, event: str | float) -> Heard | None:
        if event == LAST:
            heard = self._memory.last()
            if heard is None or time.monotonic() - self._heard_s > LAST_S:
                raise RefusedError(f"nobody was heard in the last {LAST_S / 60:.0f} minutes")
            return heard
        return self._memory.find(event) if isinstance(event, str) else self._memory.at(event)

    def _write(self, change: Callable[[], None]) -> None:
        try:
            change()
        except FullError as error:
            raise RefusedError(f"there are {MOST_LESSONS} lessons already: forget some") from error
        except OSError as error:
            self._write_problem = f"{self._book.path}: {error.strerror}"
            log.error("%s: nothing was taught or forgotten", self._write_problem)
            raise RefusedError(f"cannot be kept: {self._write_problem}") from error
        self._write_problem = None
        self._fit()

    def _fit(self) -> None:
        # Of a copy: the room goes on being heard, and what was fitted must not move meanwhile.
        self.personal = fit(self._book.lessons, self._labels, copy.deepcopy(self._book.usual))
        self._on_fitted(self.personal)
