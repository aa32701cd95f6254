"""`seq`: one counter per device over state and event that rises across restarts, with nothing written for it."""

import os
import threading
import time
import uuid
from typing import TypeVar

import msgspec

LARGEST = 2**53 - 1  # what JSON's readers count exactly

P = TypeVar("P", bound=msgspec.Struct)


class Sequence:
    """Starts from the time in milliseconds, or above `known`, whichever is more.

    Where the clock went back while the sensor was off, the broker tells so only after numbers were given:
    `rise_above` then moves the counter, and `corrected` whatever was numbered before. Thread-safe.
    """

    def __init__(self, known: int = 0, *, now_ms: int | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        self._lock = threading.Lock()
        self._first = self._next = max(now_ms, known + 1)
        self._floor = self._shift = 0

    def next(self) -> int:
        """Return a number above all before it."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            return number

    def rise_above(self, floor: int, oldest: int | None = None) -> bool:
        """Move above `floor`, a number that the device gave in an earlier life, together with what still waits.

        oldest: the lowest number that waits to be published, if it is below this life's first. Returns whether
        anything had to move; a floor that no counter of ours can have reached is not believed.
        """
        with self._lock:
            if not self._first <= floor <= LARGEST // 2:
                return False
            self._floor, self._shift = self._next - 1, floor + 1 - min(self._first, oldest or self._first)
            self._next += self._shift
            self._first = floor + 1
            return True

    def corrected(self, payload: P) -> P:
        """Return a payload with its `seq` as it is now counted; one without a `seq` as it is."""
        seq = getattr(payload, "seq", None)
        with self._lock:
            if seq is None or seq > self._floor:
                return payload
            return msgspec.structs.replace(payload, seq=seq + self._shift)


def uuid7(unix_s: float) -> str:
    """Return a UUID of version 7 (RFC 9562, section 5.7): ordered by time, the rest random."""
    value = (int(unix_s * 1_000) & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))
