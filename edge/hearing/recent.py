"""Means of what was counted lately."""

from collections import deque


class Recent:
    """The mean of the last so many counts, kept as a sum (of integers, which does not drift)."""

    def __init__(self, length: int) -> None:
        self._counts: deque[int] = deque(maxlen=length)
        self._sum = 0

    def mean_with(self, count: int) -> float:
        """Take one more count; return the mean with it."""
        counts = self._counts
        if len(counts) == counts.maxlen:
            self._sum -= counts[0]
        counts.append(count)
        self._sum += count
        return self._sum / len(counts)

    def forget(self) -> None:
        """Begin anew: what comes next does not follow on what was counted."""
        self._counts.clear()
        self._sum = 0
