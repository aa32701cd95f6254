"""The lessons of one model on disk: a file that after a crash, a kill or a power cut is the old one or the new one.

The running sensor and `roomtone teach` may both write it. Whoever does locks the folder, reads what is there, changes
that and puts it in place of the old; the other one notices by the file's number and times. Without a lesson nothing is
written.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.errors import InputError
from edge.files import write_atomically
from edge.lessons.lesson import MOST_LESSONS, Lesson
from edge.lessons.page import MOST_BYTES, Page, decode, encode
from edge.lessons.personal import Usual

log = logging.getLogger("roomtone.lessons")


class FullError(Exception):
    """There are MOST_LESSONS of them."""


class Book:
    """Lessons of `model` (its key), whose embeddings have `dims` numbers, kept at `path`; None: in memory only.

    Not thread-safe: see edge/lessons/teacher.py. Methods that write raise OSError where that cannot be done, and then
    nothing has changed; when they return, it is on disk.
    """

    def __init__(self, path: Path | None, *, model: str, labels: Sequence[str], dims: int) -> None:
        self.path, self.model = path, model
        self._labels, self._dims = list(labels), dims
        self.lessons: tuple[Lesson, ...] = ()
        self.usual = Usual(dims)
        self.damaged: str | None = None  # what is wrong with the file
        self._seen: tuple[int, ...] | None = None
        self._read()

    def look(self) -> bool:
        """Take in what another process wrote since; return whether one did."""
        if self.path is None or _signature(self.path) == self._seen:
            return False
        self._read()
        return True

    def add(self, lessons: Sequence[Lesson], *, instead_of: set[str] = frozenset()) -> None:
        """Add lessons, in place of those with the same event ids and of those in `instead_of`.

        Raises FullError where they would be more than MOST_LESSONS.
        """
        gone = {lesson.event_id for lesson in lessons} | instead_of

        def added(known: tuple[Lesson, ...]) -> tuple[Lesson, ...]:
            kept = (*(lesson for lesson in known if lesson.event_id not in gone), *lessons)
            if len(kept) > MOST_LESSONS:
                raise FullError
            return kept

        self._change(added)

    def remove(self, event_id: str) -> None:
        """Forget one lesson."""
        self._change(lambda known: tuple(lesson for lesson in known if lesson.event_id != event_id))

    def clear(self) -> None:
        """Forget all lessons, also those in a file that is damaged."""
        self._change(lambda known: ())

    def save_usual(self) -> None:
        """Keep what the room usually sounds like, where there are lessons to be heard against it."""
        if self.lessons:
            self._change(lambda known: known)

    def exported(self) -> bytes:
        """Return the lessons as a file of their own."""
        return encode(Page.of(self.model, self._labels, self.lessons, None))

    def imported(self, data: bytes, name: str) -> tuple[Lesson, ...]:
        """Return the lessons in such a file's bytes. Raises InputError, with its name, for another model's and for what
        is no such file."""
        try:
            page = decode(data)
        except ValueError as error:
            raise InputError(f"{name}: no lessons that this version can read ({error})") from error
        if page.model != self.model:
            raise InputError(f"{name}: lessons of the model {page.model}; this sensor runs {self.model}, to which they "
                             "mean nothing: teach it anew")  # fmt: skip
        if (wrong := page.unfit(self._labels, self._dims)) is not None:
            raise InputError(f"{name}: {wrong}")
        return page.taught()

    def others(self) -> dict[str, int]:
        """Return how many lessons other models have beside this one, by their keys."""
        found: dict[str, int] = {}
        try:
            paths = sorted(self.path.parent.glob("*.json")) if self.path is not None else []
        except OSError:  # a name too long, a folder that may not be read: said by whoever writes there
            paths = []
        for path in paths:
            try:
                if path != self.path and path.stat().st_size <= MOST_BYTES:
                    page = decode(path.read_bytes())
                    found[page.model] = len(page.lessons)
            except (OSError, ValueError):
                continue
        return found

    def _change(self, change: Callable[[tuple[Lesson, ...]], tuple[Lesson, ...]]) -> None:
        if self.path is None:
            self.lessons = change(self.lessons)
            return
        if not change(()) and not self.path.exists():
            self.lessons = ()
            return  # nothing to forget
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self.path.parent) as folder:
            self.look()
            lessons = change(self.lessons)
            for left in self.path.parent.glob(f".{self.path.name}.*"):
                left.unlink()  # by whoever was killed while writing
            if lessons:
                if self.damaged is not None:
                    os.replace(self.path, self.path.with_suffix(".damaged"))
                write_atomically(self.path, encode(Page.of(self.model, self._labels, lessons, self.usual)))
            else:
                self.path.unlink(missing_ok=True)
                os.fsync(folder)
            self.lessons, self.damaged, self._seen = lessons, None, _signature(self.path)

    def _read(self) -> None:
        self.lessons, self.damaged = (), None
        if self.path is None:
            return
        self._seen = _signature(self.path)
        try:
            if self.path.stat().st_size > MOST_BYTES:
                raise ValueError(f"larger than {MOST_BYTES // 1_000_000} MB")
            page = decode(self.path.read_bytes())
            if (wrong := page.unfit(self._labels, self._dims)) is not None:
                raise ValueError(wrong)
        except FileNotFoundError:
            return
        except ValueError as error:
            self.damaged = f"{self.path}: damaged ({error}); it is put aside when something is taught"
        except OSError as error:
            self.damaged = f"{self.path}: {error.strerror}"
        else:
            self.lessons = page.taught()
            if not self.usual.count:
                page.restore(self.usual)
            return
        log.error("%s; the model answers untaught", self.damaged)


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return numbers that are others whenever the file is another one; None where there is none."""
    try:
        told = os.stat(path)
    except OSError:
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Keep other processes of ours from writing in a folder, and yield its descriptor; the kernel lets go of the lock
    with the process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
