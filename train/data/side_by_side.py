"""Many small pieces of work, a process per core: features, scenes, anything that numpy does on one core only."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from edge.errors import UnavailableError

T = TypeVar("T")
R = TypeVar("R")


def mapped(
    work: Callable[[T], R], pieces: Sequence[T], *, processes: int, prepare: Callable[..., None], given: tuple = ()
) -> Iterator[R]:
    """Yield what `work` makes of each piece, in their order, by so many processes.

    `prepare(*given)` runs first in each. With one process, or one piece, everything is done here.

    Raises UnavailableError where a process was killed.
    """
    processes = min(processes, len(pieces))
    if processes <= 1:
        prepare(*given)
        yield from map(work, pieces)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_prepared, initargs=(prepare, given))
    try:
        yield from pool.map(work, pieces)
    except BrokenProcessPool as error:
        raise UnavailableError("a process was killed (out of memory?); the same command goes on from there") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def end_with_parent() -> None:
    """End this process of a pool with the one that started it: a killed one leaves none behind that work on."""

    def wait() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _prepared(prepare: Callable[..., None], given: tuple) -> None:
    end_with_parent()
    prepare(*given)
