"""How long a test waits for what must come, and how: a condition ends the wait, and only a fault lets it run out.

What must come *soon* is measured where nothing else runs, by tests/bench/promptness.py.
"""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 120.0  # a busy core takes ten times as long as a free one, and more
TRAINING_PATIENCE_S = 5 * PATIENCE_S  # for what brings TensorFlow, or computes for long
MACHINE_PATIENCE_S = 10 * PATIENCE_S  # for what a whole machine does: boots, installs, puts a version to trial

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    seen: Callable[[], object] | str = "",
    *,
    patience_s: float = PATIENCE_S,
    every_s: float = 0.02,
) -> T:
    """Return what `condition()` gives as soon as it is true. Raises TimeoutError with what was `seen` instead."""
    deadline_s = time.monotonic() + patience_s
    while not (found := condition()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {patience_s:.0f} s: {seen() if callable(seen) else seen}")
        time.sleep(every_s)
    return found
