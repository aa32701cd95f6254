"""How every program here begins and ends, whatever its standard streams are: closed, full, or gone."""

import argparse
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from edge.errors import OutputError, RoomtoneError, UsageError, nearest, printable

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """The words of a program's command line: what is wrong with them is said in one line, as all else is, and how to
    see those that there are."""

    _verbs: argparse.Action | None = None

    def add_subparsers(self, **settings):
        self._verbs = super().add_subparsers(**settings)
        return self._verbs

    def parse_known_args(self, args=None, namespace=None):
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            there = f"no {printable(value)} (there are {', '.join(map(str, action.choices))})"
            like = nearest(str(value), map(str, action.choices))
            raise argparse.ArgumentError(action, f"{there}{like and f'; {like}'}")

    def error(self, message: str) -> NoReturn:
        files = [one for one in self._given if one.startswith("-") and len(one) > 1 and os.path.lexists(one)]
        if not files and self._verbs is not None and message.endswith(f": {self._verbs.metavar}"):
            message = f"{message}, one of {', '.join(self._verbs.choices)}"
        help_ = f"a file is named so: write it as ./{printable(files[0])}" if files else f"help: {self.prog} --help"
        self.exit(complain(self.prog, f"{message.removeprefix('argument ')} ({help_})", UsageError.exit_status))


def concluded(program: Callable[[], int | None], *, called: str, interrupted: str = "") -> int:
    """Run a program and return its exit status; a RoomtoneError becomes one line on standard error.

    called: what that line begins with; interrupted: what is said where Ctrl-C ended it, unless the KeyboardInterrupt
    says it itself. Printing raises OutputError where standard output cannot be written; where its reader went away
    (`| head`), the program just ends.
    """
    try:
        with _streams():
            return program() or 0
    except OutputError as error:
        reader_gone = isinstance(error.__cause__, BrokenPipeError)
        return 0 if reader_gone else complain(called, str(error), error.exit_status)
    except RoomtoneError as error:
        return complain(called, str(error), error.exit_status)
    except KeyboardInterrupt as stopped:
        if said := str(stopped) or interrupted:
            _say(said)
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
