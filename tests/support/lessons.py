"""Lessons made up for tests: embeddings in which each label lies elsewhere."""

from pathlib import Path

import numpy as np

from edge.hearing.pipeline import Pipeline
from edge.lessons.book import Book
from edge.lessons.lesson import Lesson, as_half, as_log
from edge.lessons.teacher import Teacher
from edge.model.artifact import Artifact

LABELS = ["angry", "happy", "sad"]
DIMS = 8


def probs_of(*weights: float) -> np.ndarray:
    """Return probabilities, float32 (labels,)."""
    return (np.array(weights, np.float32) / sum(weights)).astype(np.float32)


def embedding_of(label: str, seed: int, dims: int = DIMS) -> np.ndarray:
    """Return what a label sounds like, more or less: float32 (dims,)."""
    noise = np.random.default_rng(seed).normal(0.0, 0.3, dims)
    return (noise + 3.0 * (np.arange(dims) % len(LABELS) == LABELS.index(label))).astype(np.float32)


def lesson(event_id: str, label: str = "happy", *, at: float = 1.0, seed: int = 0, dims: int = DIMS) -> Lesson:
    """Return a lesson that the model, which knows nothing, took for angry."""
    return Lesson(event_id, label, at, as_half(embedding_of(label, seed, dims)), as_log(probs_of(4, 3, 3)))


def book_at(path: Path | None, *, model: str = "model-1") -> Book:
    return Book(path, model=model, labels=LABELS, dims=DIMS)


def teach_anything(artifact: Artifact, pipeline: Pipeline, count: int) -> Teacher:
    """Teach a pipeline so many lessons, in which each label lies elsewhere and the model is always wrong."""
    labels, dims = artifact.manifest.labels, artifact.manifest.embedding.dimensions
    rng, wrong = np.random.default_rng(0), np.eye(len(labels), dtype=np.float32)
    book = Book(None, model="any", labels=labels, dims=dims)
    lessons = []
    for number in range(count):
        embedding = rng.normal(0.0, 0.3, dims)
        embedding[number % len(labels) :: len(labels)] += 3.0
        book.usual.hear(embedding)
        said = as_log(wrong[(number + 1) % len(labels)])
        lessons.append(Lesson(str(number), labels[number % len(labels)], 1.0, as_half(embedding), said))
    book.add(lessons)
    teacher = Teacher(book, labels, pipeline.take_up)
    assert teacher.personal.in_use
    return teacher


def same(one: Lesson, other: Lesson) -> bool:
    return one[:3] == other[:3] and all(np.array_equal(a, b) for a, b in zip(one[3:], other[3:], strict=True))
