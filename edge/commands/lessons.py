"""`roomtone lessons ...`, and what all who teach from a terminal need."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edge.commands.said import counted
from edge.config import EdgeConfig
from edge.daemon.kept import kept_preferences
from edge.daemon.run import model_path
from edge.errors import ArtifactError, ConfigError, InputError, RoomtoneError
from edge.files import contents, output, write_atomically
from edge.hearing.pipeline import Pipeline
from edge.lessons.book import Book
from edge.lessons.page import MOST_BYTES
from edge.lessons.shelf import book_of
from edge.lessons.teacher import RefusedError, Teacher
from edge.model.artifact import Artifact, load, read_artifact
from edge.state_folder import as_owner, require_state_folder

STANDARD = "-"  # standard output, or input
_FEWEST = 5  # lessons over all labels; fewer tell nothing of how much they help


@contextmanager
def classroom(config: EdgeConfig) -> Iterator[tuple[Teacher, Pipeline]]:
    """The teacher of the model that the sensor runs, and a pipeline of its own that answers as that is taught.

    Raises ArtifactError for a model that cannot be taught, ConfigError where nothing can be kept.
    """
    state = _state(config)
    artifact, model = load(model_path(config))
    with as_owner(state):
        book = _book(artifact, state, config)
        pipeline = Pipeline(
            model, artifact.manifest, gate=config.gate, decision=config.decision,
            sensitivity=kept_preferences(config).config.sensitivity,
        )  # fmt: skip
        yield Teacher(book, artifact.manifest.labels, pipeline.take_up), pipeline


def in_words(teacher: Teacher) -> Iterator[str]:
    """Yield how many lessons there are, and how much they help."""
    layer, count = teacher.personal, len(teacher.lessons)
    if not count:
        yield "no lessons"
        return
    labels = ", ".join(f"{label} {number}" for label, number in layer.per_label.items())
    yield f"{counted(count, 'lesson')}: {labels}"
    use = "the sensor answers by the lessons" if layer.in_use else "the sensor answers without the lessons so far"
    if count < _FEWEST:
        yield f"too few to tell yet whether they help; five of each label help most: {use}"
        return
    (right, chance), (right_after, chance_after) = layer.before, layer.after
    yield f"best guess right, of the {count} lessons: {right * count:.0f} before, {right_after * count:.0f} after"
    yield "(the best guess is the likeliest emotion at the utterance's end, also where the sensor says unknown;"
    yield "after: as the other lessons teach it)"
    yield f"what you said was given a chance of {100 * chance:.0f} % before, {100 * chance_after:.0f} % after: {use}"


def show(config: EdgeConfig) -> Iterator[str | RoomtoneError]:
    """Yield a line for each lesson, and the figures."""
    with _open(config) as (book, labels):
        for lesson in book.lessons:
            taken_for = labels[int(np.argmax(lesson.log_probs))]
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(lesson.at))
            yield f"{lesson.event_id}  {when}  {lesson.label:<10} best guess before: {taken_for}"
        yield from in_words(_teacher(book, labels))
        for model, count in book.others().items():
            yield f"besides, {count} of the model {model}"
        if book.damaged is not None:
            yield InputError(book.damaged)


def forget(config: EdgeConfig, event_id: str) -> Iterator[str]:
    """Forget a lesson, or all of them."""
    with _open(config) as (book, labels):
        teacher, count = _teacher(book, labels), len(book.lessons)
        with _refused(event_id, ": `roomtone lessons list` has their ids"):
            teacher.forget(event_id)
        yield f"{count - len(book.lessons)} forgotten"
        yield from in_words(teacher)


def export_to(config: EdgeConfig, file: str) -> Iterator[str]:
    """Write the lessons into a file; to standard output, and nothing else there, for `-`."""
    place = None if file == STANDARD else output(file, "lessons export", folder=False)
    with _open(config) as (book, _):
        if not book.lessons:
            raise InputError("lessons export: there are none")
        data = book.exported()
    if place is None:
        sys.stdout.write(data.decode() + "\n")
        return
    write_atomically(place, data)
    os.chmod(place, 0o600)
    yield f"{place}: {counted(len(book.lessons), 'lesson')} of the model {book.model}"


def import_from(config: EdgeConfig, file: str) -> Iterator[str]:
    """Take in the lessons of such a file, beside those that are there. Raises InputError for another model's."""
    try:
        data = sys.stdin.buffer.read(MOST_BYTES) if file == STANDARD else contents(file, most_bytes=MOST_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    with _open(config) as (book, labels):
        lessons = book.imported(data, file)
        teacher = _teacher(book, labels)
        with _refused(file):
            teacher.add(lessons)
        yield f"{file}: {counted(len(lessons), 'lesson')} taken in"
        yield from in_words(teacher)


@contextmanager
def _open(config: EdgeConfig) -> Iterator[tuple[Book, list[str]]]:
    state, artifact = _state(config), read_artifact(model_path(config))
    with as_owner(state):
        yield _book(artifact, state, config), artifact.manifest.labels


def _teacher(book: Book, labels: list[str]) -> Teacher:
    return Teacher(book, labels, lambda layer: None)  # nobody answers by it here


@contextmanager
def _refused(what: str, remedy: str = "") -> Iterator[None]:
    """Tell a refusal of the teacher's as a mistake in `what` was named."""
    try:
        yield
    except RefusedError as error:
        raise InputError(f"{what}: {error}{remedy}") from error


def _state(config: EdgeConfig) -> Path:
    if (state := require_state_folder(config.state_folder)) is None:
        raise ConfigError("edge.state_folder: there is no state folder to keep lessons in: set it")
    return state


def _book(artifact: Artifact, state: Path, config: EdgeConfig) -> Book:
    if (book := book_of(artifact, state, config.device.id)) is None:
        raise ArtifactError(f"{model_path(config)}: this model cannot be taught: it gives no embedding")
    return book
