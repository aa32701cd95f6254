"""SIGTERM and SIGINT: a question that loops ask, and a microphone that is closed at once."""

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge.sound.microphone import Microphone

Stopping = Callable[[], bool]


@contextmanager
def stop_signal(told: queue.SimpleQueue[int] | None = None) -> Iterator[Stopping]:
    """Turn SIGTERM and SIGINT into a question that loops ask; a second signal interrupts at once.

    `told` is given the signal's number, for whoever waits.
    """
    received: list[int] = []

    def note(number: int, frame) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        if told is not None:
            told.put(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def close_when(told: queue.SimpleQueue[int], microphone: Microphone) -> None:
    """Have the microphone closed as soon as a signal comes: it may be waiting for a device that is not there.

    By a thread, because a signal's own handler must not take a lock; the queue's `put` takes none.
    """

    def close() -> None:
        number = told.get()
        microphone.close()
        told.put(number)  # for the next one, should this microphone have been replaced meanwhile

    threading.Thread(target=close, name="stop", daemon=True).start()
