"""How every program here begins and ends, whatever its standard streams are: closed, full, or gone."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from edge.errors import OutputError, RoomtoneError, printable

INTERRUPTED = 130


def concluded(program: Callable[[], int | None], *, called: str, interrupted: str = "") -> int:
    """Run a program and return its exit status; a RoomtoneError becomes one line on standard error.

    called: what that line begins with; interrupted: what is said where Ctrl-C ended it. Printing raises OutputError
    where standard output cannot be written; where its reader went away (`| head`), the program just ends.
    """
    try:
        with _streams():
            return program() or 0
    except OutputError as error:
        reader_gone = isinstance(error.__cause__, BrokenPipeError)
        return 0 if reader_gone else complain(called, str(error), error.exit_status)
    except RoomtoneError as error:
        return complain(called, str(error), error.exit_status)
    except KeyboardInterrupt:
        if interrupted:
            _say(interrupted)
        return INTERRUPTED


def complain(called: str, message: str, status: int) -> int:
    """Say what is wrong in one line on standard error; return the exit status."""
    _say(f"{called}: {printable(message)}")
    return status


def _say(line: str) -> None:
    with suppress(OSError):  # standard error is full or gone: the status says it, too
        print(line, file=sys.stderr, flush=True)


class _Output(io.FileIO):
    """Standard output's descriptor."""

    def write(self, data) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # or it would be tried again at the end
            why = "it is closed" if error.errno == errno.EBADF else error.strerror
            raise OutputError(f"standard output: cannot be written ({why})") from error


@contextmanager
def _streams() -> Iterator[None]:
    """Have three standard streams that take any text: a name that the terminal cannot show is no fault.

    One that was closed is opened such that using it fails: else the first file to be opened would be in its place, and
    what is printed in that file. Only errors may get lost.
    """
    for name, flags, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)  # the lowest that is free: its own
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 (for as long as the process lives)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.stdout
    if given is sys.__stdout__ or sys.__stdout__ is None:
        raw = _Output(given.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), given.encoding, given.errors, line_buffering=given.line_buffering
        )
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        finally:
            sys.stdout = given
