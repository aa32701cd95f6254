"""Lessons on disk: whole after a kill, shared by two processes, kept to one model, and only where there are some."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from edge.errors import InputError
from edge.lessons.book import Book, FullError
from edge.lessons.lesson import MOST_LESSONS
from tests.support.lessons import DIMS, LABELS, book_at, lesson, same
from tests.support.patience import wait_until
from tests.support.sounds import ROOT

KILLS = 20
# Teaches for ever, and says of each lesson that it was taken.
TAUGHT = """
import sys
from itertools import count
from pathlib import Path
from tests.support.lessons import book_at, lesson
book = book_at(Path(sys.argv[1]))
for number in count(int(sys.argv[2])):
    book.add([lesson(f"event-{number}", seed=number)])
    print(number, flush=True)
"""


def ids(book: Book) -> list[str]:
    return [each.event_id for each in book.lessons]


def test_a_lesson_comes_back_as_it_was(tmp_path):
    path = tmp_path / "lessons" / "model-1.json"
    book_at(path).add([lesson("a"), lesson("b", "sad", at=2.5, seed=4)])
    back = book_at(path)
    assert all(same(one, other) for one, other in zip(back.lessons, [lesson("a"), lesson("b", "sad", at=2.5, seed=4)],
                                                      strict=True))  # fmt: skip
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_nothing_is_written_without_a_lesson(tmp_path):
    book = book_at(tmp_path / "lessons" / "model-1.json")
    book.save_usual()
    book.clear()
    book.remove("a")
    assert not book.look()
    assert list(tmp_path.iterdir()) == []


def test_what_is_forgotten_is_gone_from_the_disk(tmp_path):
    path = tmp_path / "model-1.json"
    book = book_at(path)
    book.add([lesson("a"), lesson("b")])
    book.remove("a")
    assert ids(book_at(path)) == ["b"]
    assert b'"a"' not in path.read_bytes()
    book.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_lesson_said_anew_replaces_the_one_before(tmp_path):
    book = book_at(tmp_path / "model-1.json")
    book.add([lesson("a", "happy"), lesson("b")])
    book.add([lesson("a", "sad")], instead_of={"b"})
    assert [(each.event_id, each.label) for each in book.lessons] == [("a", "sad")]


def test_there_are_never_more_than_a_thousand(tmp_path):
    book = book_at(tmp_path / "model-1.json")
    book.add([lesson(str(number), seed=number) for number in range(MOST_LESSONS)])
    with pytest.raises(FullError):
        book.add([lesson("one more")])
    book.add([lesson("0", "sad")])  # in place of another
    assert len(book_at(tmp_path / "model-1.json").lessons) == MOST_LESSONS


def test_two_processes_lose_nothing_of_each_other(tmp_path):
    path = tmp_path / "model-1.json"
    sensor, typed = book_at(path), book_at(path)
    typed.add([lesson("typed")])
    sensor.add([lesson("said")])  # without having looked
    assert ids(sensor) == ["typed", "said"]
    assert typed.look()
    assert ids(typed) == ["typed", "said"]
    assert not typed.look()
    typed.clear()
    assert sensor.look()
    assert ids(sensor) == []


def test_what_is_usual_is_kept_with_lessons_only(tmp_path):
    path = tmp_path / "model-1.json"
    book = book_at(path)
    for number in range(5):
        book.usual.hear(lesson("x", seed=number).embedding)
    book.add([lesson("a")])
    back = book_at(path)
    assert (back.usual.standardize(lesson("x").embedding) == book.usual.standardize(lesson("x").embedding)).all()
    book.clear()
    assert not path.exists()


def test_lessons_belong_to_a_model(tmp_path):
    one, other = tmp_path / "model-1.json", tmp_path / "model-2.json"
    book_at(one).add([lesson("a"), lesson("b")])
    assert ids(book_at(other, model="model-2")) == []
    assert book_at(other, model="model-2").others() == {"model-1": 2}
    book_at(other, model="model-2").add([lesson("c")])
    assert ids(book_at(one)) == ["a", "b"], "a rollback brings them back"
    exported = book_at(one).exported()
    assert [each.event_id for each in book_at(one).imported(exported, "file")] == ["a", "b"]
    with pytest.raises(InputError, match="file: lessons of the model model-1; this sensor runs model-2"):
        book_at(other, model="model-2").imported(exported, "file")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"schema":1', b'"schema":2'),
        lambda data: data.replace(b"happy", b"merry", 2),
        lambda data: data.replace(b'"embedding":"', b'"embedding":"!!'),
        lambda data: data.replace(b'"embedding":"', b'"embedding":"AAAA'),
        lambda data: b"[" * 100_000,
        lambda data: b"\xff" + data,
    ],
)
def test_a_damaged_file_is_said_and_put_aside(tmp_path, change):
    path = tmp_path / "model-1.json"
    book_at(path).add([lesson("a")])
    damaged = change(path.read_bytes())
    path.write_bytes(damaged)
    book = book_at(path)
    assert book.lessons == ()
    assert str(path) in book.damaged
    with pytest.raises(InputError, match=r"^file: "):
        book.imported(damaged, "file")
    book.add([lesson("b")])
    assert book.damaged is None
    assert ids(book_at(path)) == ["b"]
    assert path.with_suffix(".damaged").read_bytes() == damaged


def test_numbers_that_are_none_are_no_lessons(tmp_path):
    path = tmp_path / "model-1.json"
    whole = lesson("a")
    whole.embedding[3] = float("nan")
    book_at(path).add([whole])
    assert "no number" in book_at(path).damaged


def test_a_full_disk_leaves_the_lessons_of_before(tmp_path):
    path = Path("/dev/shm") / f"roomtone-test-{os.getpid()}"
    path.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], capture_output=True)
        if mounted.returncode:
            pytest.skip("needs root, to mount a small disk")
        try:
            book = book_at(path / "model-1.json")
            with suppress(OSError):
                for number in range(MOST_LESSONS):
                    book.add([lesson(str(number), seed=number)])
            assert 10 < len(book.lessons) == len(book_at(path / "model-1.json").lessons) < MOST_LESSONS
            with pytest.raises(OSError, match="No space left"):
                book.add([lesson("one more")])
        finally:
            subprocess.run(["umount", path], check=True)
    finally:
        path.rmdir()


def test_every_lesson_that_was_acknowledged_survives_a_kill(tmp_path):
    path = tmp_path / "model-1.json"
    rng, taken = random.Random(0), -1
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", TAUGHT, str(path), str(taken + 1)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        first = child.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.03))
        child.send_signal(signal.SIGKILL)
        said = [int(line) for line in (first, *child.communicate()[0].splitlines()) if line.endswith("\n") or line]
        book = book_at(path)
        assert book.damaged is None
        kept = len(book.lessons) - 1
        assert kept >= said[-1], "an acknowledged lesson is missing"
        assert ids(book) == [f"event-{number}" for number in range(kept + 1)]
        taken = kept
        if taken > MOST_LESSONS - 300:
            book.clear()
            taken = -1
    book.add([lesson("after")])
    assert [file.name for file in tmp_path.iterdir()] == ["model-1.json"], "what kills left behind is swept up"


def test_whoever_is_killed_keeps_nobody_from_writing(tmp_path):
    path = tmp_path / "model-1.json"
    holding = (
        "import sys, time\nfrom pathlib import Path\nfrom edge.lessons.book import _locked\n"
        "with _locked(Path(sys.argv[1])):\n    print('locked', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", holding, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdout.readline() == b"locked\n"
    child.kill()
    child.wait()
    book_at(path).add([lesson("a")])
    assert wait_until(lambda: ids(book_at(path)) == ["a"])


def test_labels_and_dimensions_are_the_models(tmp_path):
    path = tmp_path / "model-1.json"
    book_at(path).add([lesson("a")])
    assert "labels" in Book(path, model="model-1", labels=[*LABELS, "fear"], dims=DIMS).damaged
    assert "dimensions" in Book(path, model="model-1", labels=LABELS, dims=DIMS + 1).damaged


def test_a_folder_that_cannot_be_is_no_reason_not_to_sense(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / ("x" * 300), tmp_path / "file"):
        book = book_at(folder / "model-1.json")
        assert (book.lessons, book.others()) == ((), {})
        with pytest.raises(OSError, match=r"File name too long|Not a directory|File exists"):
            book.add([lesson("a")])
