"""The file of lessons: JSON, numbers in it as base64 of little-endian bytes, so that anybody can see what is kept."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np

from edge.lessons.lesson import MOST_LESSONS, Lesson
from edge.lessons.personal import Usual
from edge.model.embedding import MOST_DIMENSIONS

MOST_BYTES = 8_000_000  # a full one has about one
_Halves = Annotated[bytes, msgspec.Meta(min_length=2, max_length=2 * MOST_DIMENSIONS)]
_Doubles = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8 * MOST_DIMENSIONS)]


class _Lesson(msgspec.Struct, frozen=True, kw_only=True):
    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    at: float
    embedding: _Halves
    log_probs: _Halves


class _Usual(msgspec.Struct, frozen=True, kw_only=True):
    count: Annotated[int, msgspec.Meta(ge=0)]
    mean: _Doubles
    squares: _Doubles


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the file. usual: what the room sounded like, whatever was said."""

    schema: Literal[1] = 1
    model: str
    labels: list[str]
    lessons: Annotated[list[_Lesson], msgspec.Meta(max_length=MOST_LESSONS)]
    usual: _Usual | None = None

    @classmethod
    def of(cls, model: str, labels: list[str], lessons: Sequence[Lesson], usual: Usual | None) -> "Page":
        """Return the page that holds these."""
        kept = usual and _Usual(
            count=usual.count, mean=usual.mean.astype("<f8").tobytes(), squares=usual.squares.astype("<f8").tobytes()
        )
        rows = [
            _Lesson(
                event_id=each.event_id,
                label=each.label,
                at=each.at,
                embedding=each.embedding.astype("<f2").tobytes(),
                log_probs=each.log_probs.astype("<f2").tobytes(),
            )
            for each in lessons
        ]
        return cls(model=model, labels=labels, lessons=rows, usual=kept)

    def taught(self) -> tuple[Lesson, ...]:
        """Return the lessons."""
        return tuple(
            Lesson(each.event_id, each.label, each.at, _halves(each.embedding), _halves(each.log_probs))
            for each in self.lessons
        )

    def restore(self, usual: Usual) -> None:
        """Have the room sound as it did, where that is known."""
        if self.usual is not None:
            usual.count = self.usual.count
            usual.mean, usual.squares = _doubles(self.usual.mean), _doubles(self.usual.squares)

    def unfit(self, labels: list[str], dims: int) -> str | None:
        """Return what does not fit a model of these labels and dimensions, in words; None where all does."""
        if self.labels != labels:
            return f"its labels are {', '.join(self.labels)}"
        for lesson in self.lessons:
            if lesson.label not in labels:
                return f"{lesson.label!r} is no label of the model"
            if len(lesson.embedding) != 2 * dims or len(lesson.log_probs) != 2 * len(labels):
                return f"the lesson {lesson.event_id} has another number of dimensions"
            if not np.isfinite(_halves(lesson.embedding)).all() or not np.isfinite(_halves(lesson.log_probs)).all():
                return f"the lesson {lesson.event_id} holds what is no number"
        if self.usual is None:
            return None
        if not len(self.usual.mean) == len(self.usual.squares) == 8 * dims:
            return "what is usual has another number of dimensions"
        if not np.isfinite([_doubles(self.usual.mean), _doubles(self.usual.squares)]).all():
            return "what is usual holds what is no number"
        return None


def encode(page: Page) -> bytes:
    """Return a page as a file's bytes."""
    return msgspec.json.encode(page)


def decode(data: bytes) -> Page:
    """Return the page in a file's bytes. Raises ValueError for what is none."""
    try:
        return msgspec.json.decode(data, type=Page)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def _halves(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<f2")


def _doubles(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<f8").copy()
