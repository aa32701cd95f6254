"""What a thousand lessons cost: memory while the sensor runs, and on disk. Time: tests/bench/guard.py."""

import tracemalloc

from edge.hearing.pipeline import Pipeline
from edge.lessons.lesson import MOST_LESSONS
from edge.lessons.page import MOST_BYTES
from edge.lessons.shelf import book_of
from edge.lessons.teacher import Teacher
from edge.model.artifact import DEFAULT_MODEL, load
from tests.support.lessons import teach_anything

MOST_MB = 2.0


def test_a_thousand_lessons_take_two_megabytes_at_most(tmp_path):
    artifact, model = load(DEFAULT_MODEL)
    pipeline = Pipeline(model, artifact.manifest)
    lessons = teach_anything(artifact, pipeline, MOST_LESSONS).lessons
    book_of(artifact, tmp_path, "room").add(lessons)
    del lessons
    path = next(tmp_path.glob("lessons-room/*.json"))
    assert path.stat().st_size < MOST_BYTES / 4
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        teacher = Teacher(book_of(artifact, tmp_path, "room"), artifact.manifest.labels, pipeline.take_up)
        taken_mb = (tracemalloc.get_traced_memory()[0] - before) / 1e6
    finally:
        tracemalloc.stop()
    assert len(teacher.lessons) == MOST_LESSONS
    assert taken_mb < MOST_MB
