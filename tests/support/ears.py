"""Listens to a Microphone as the sensor's loop does, and keeps what it heard and when."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from edge.config import Audio
from edge.errors import UnavailableError
from edge.sound.blocks import Block, Fault
from edge.sound.microphone import Microphone
from tests.support.patience import PATIENCE_S


class Ears:
    """Iterates over a Microphone in a thread, as the sensor's loop does, and keeps when it heard what."""

    def __init__(self, settings: Audio, *, keep_blocks: bool = False) -> None:
        self.microphone = Microphone(settings)
        self.turns: list[tuple[float, str]] = []  # monotonic time of the first item of a kind: "block" or a reason
        self.faults: list[tuple[float, Fault]] = []
        self.blocks: list[Block] = []
        self.error: Exception | None = None
        self._keep = keep_blocks
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        try:
            for item in self.microphone.blocks():
                kind = "block" if isinstance(item, Block) else item.reason
                with self._changed:
                    if isinstance(item, Fault):
                        self.faults.append((time.monotonic(), item))
                    elif self._keep:
                        self.blocks.append(item)
                    if not self.turns or self.turns[-1][1] != kind:
                        self.turns.append((time.monotonic(), kind))
                    self._changed.notify_all()
        except UnavailableError as error:
            self.error = error

    def wait(self, wanted: Callable[[str], bool], since_s: float) -> tuple[float, str]:
        """Return the seconds after `since_s` at which something wanted was first heard, and what it was."""

        def found() -> tuple[float, str] | None:
            return next(((at_s - since_s, kind) for at_s, kind in self.turns if at_s >= since_s and wanted(kind)), None)

        with self._changed:
            assert self._changed.wait_for(found, PATIENCE_S), f"heard only {self.turns[-5:]}"
            return found()

    def until_block(self, since_s: float) -> float:
        return self.wait(lambda kind: kind == "block", since_s)[0]

    def until_fault(self, since_s: float, *reasons: str) -> tuple[float, str]:
        return self.wait(lambda kind: kind != "block" and (not reasons or kind in reasons), since_s)

    def heard(self) -> np.ndarray:
        """Return what was captured, its offset included."""
        return np.concatenate([block.captured for block in self.blocks])


@contextmanager
def listening(settings: Audio | None = None, *, keep_blocks: bool = False) -> Iterator[Ears]:
    ears = Ears(settings or Audio(), keep_blocks=keep_blocks)
    ears.thread.start()
    try:
        yield ears
    finally:
        ears.microphone.close()
        ears.thread.join(PATIENCE_S)
        assert not ears.thread.is_alive()
