"""What others send may not take more than a small share of a core: whoever reads it slowly is sent it slowly."""

import time

SHARE = 0.025  # of a core
_BURST_S = 0.1  # of work, at once: some hundred commands
_SLEEP_S = 0.05  # at a time: what this sensor says itself goes out in between, and a waking costs as much as a command


class Throttle:
    """Of one thread, which calls `rest` after each message that it took in."""

    def __init__(self) -> None:
        self._owed_s = self._worked_s = self._rested_s = 0.0

    def rest(self) -> None:
        """Sleep where this thread worked too much lately."""
        worked_s, now_s = time.thread_time(), time.monotonic()
        earned_s = SHARE * (now_s - self._rested_s)
        self._owed_s = max(0.0, self._owed_s + (worked_s - self._worked_s) - earned_s)
        self._worked_s, self._rested_s = worked_s, now_s
        if self._owed_s > _BURST_S:
            time.sleep(_SLEEP_S)
