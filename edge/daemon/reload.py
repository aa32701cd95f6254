"""SIGHUP: the configuration is read again; a bad one is refused, and the one of before stays."""

import logging
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Self

from edge.config import EdgeConfig
from edge.errors import RoomtoneError

log = logging.getLogger("roomtone")


class Reload:
    """A context manager in which SIGHUP asks for a reload.

    read: returns the configuration anew. prove: raises a RoomtoneError for one with which the sensor could not start.
    config: the newest one that was proven.
    """

    def __init__(
        self, config: EdgeConfig, read: Callable[[], EdgeConfig], prove: Callable[[EdgeConfig], object]
    ) -> None:
        self.config = config
        self._read, self._prove = read, prove
        self._asked = False

    def due(self) -> bool:
        """Return whether a reload was asked for, and there is another, proven configuration."""
        if not self._asked:
            return False
        self._asked = False
        try:
            config = self._read()
            self._prove(config)
        except RoomtoneError as error:
            log.error(
                "not reloaded: %s; the sensor goes on with the configuration of before", " ".join(str(error).split())
            )
            return False
        if config == self.config:
            log.info("reloaded: the configuration has not changed")
            return False
        self.config = config
        log.info("reloaded: beginning again with the new configuration")
        return True

    def _ask(self, number: int, frame) -> None:
        self._asked = True

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGHUP, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGHUP, self._before)
