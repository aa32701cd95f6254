"""The newest status at the bottom of a terminal, while log lines scroll above it."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self, TextIO

_CLEAR = "\r\x1b[K"


class StatusLine:
    """A context manager; `show` replaces the line. Where standard error is no terminal, it does nothing."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._on = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._words = ""
        self._log = ExitStack()

    def show(self, words: str) -> None:
        """Put these words on the line."""
        if self._on and words != self._words:
            self._words = words
            self.write("")
            self.flush()

    def write(self, text: str) -> None:
        """Write text above the line: log handlers take this object for their stream."""
        columns = shutil.get_terminal_size().columns - 1
        line = "".join(character for character in self._words if character.isprintable())
        self._stream.write(f"{_CLEAR}{text}{line[:columns]}")

    def flush(self) -> None:
        self._stream.flush()

    def __enter__(self) -> Self:
        if self._on:
            self._log.enter_context(log_goes_to(self, instead_of=self._stream))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
        if self._on:
            self._stream.write("\n")
            self._stream.flush()


@contextmanager
def log_goes_to(stream: TextIO, *, instead_of: TextIO) -> Iterator[None]:
    """Have log lines written elsewhere while the context lasts, so that they do not tear what is drawn apart."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is instead_of
    ]
    for handler in handlers:
        handler.setStream(stream)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(instead_of)
