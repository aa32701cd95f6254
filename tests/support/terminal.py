"""A terminal for the tests: a program on a pseudo-terminal, and what a person would see."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from types import TracebackType
from typing import Self

import pyte

from tests.support.patience import wait_until
from tests.support.sounds import ROOT

ROWS = 40
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs `roomtone ARGUMENTS` on a pseudo-terminal while the context lasts. `text`: all it wrote, without escapes."""

    def __init__(self, *arguments: str, columns: int = 120, env: dict[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", "edge", *arguments]
        self._columns = columns
        # Where they are set, as pytest-xdist does, they would be believed more than the terminal.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._env = {**inherited, "TERM": "xterm-256color", **(env or {})}
        self.raw = b""

    def __enter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, self._columns, 0, 0))
        self.process = subprocess.Popen(
            self._command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=self._env, start_new_session=True
        )
        os.close(theirs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def text(self) -> str:
        return _ESCAPES.sub("", self.raw.decode(errors="replace"))

    def screen(self) -> list[str]:
        """Return the lines that a person sees now, as an emulator of a terminal has them."""
        seen = pyte.Screen(self._columns, ROWS)
        pyte.ByteStream(seen).feed(self.raw)
        return seen.display

    def read(self, seconds: float) -> bool:
        """Take what is written within so many seconds; return whether there was anything."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._ours, 65_536)
        except OSError:  # the program ended
            return False
        self.raw += data
        return bool(data)

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._ours, f"{text}\n".encode())

    def wait_for(self, what: str) -> str:
        """Return the text as soon as it contains `what`, as a regular expression."""

        def found() -> bool:
            self.read(0.05)
            return re.search(what, self.text) is not None

        wait_until(found, lambda: f"{what!r} in:\n{self.text}")
        return self.text
