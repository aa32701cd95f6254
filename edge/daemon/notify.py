"""Word to systemd (sd_notify): READY, STATUS in words, and WATCHDOG while the loop really turns."""

import os
import socket
import time

from edge import pulse

FLOWING_S = 2.0  # with sound expected, a block must have passed within this


class Notifier:
    """Speaks to the datagram socket in NOTIFY_SOCKET, if there is one, and leaves signs of life (edge/pulse.py)."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET")
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
        # Half the period, as sd_watchdog_enabled(3) advises.
        self._period_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
        self._due_s = self._beat_due_s = 0.0
        self._last_block_s = time.monotonic()
        self._status = ""

    def ready(self) -> None:
        """The golden replay passed and the loop begins."""
        self._send("READY=1")

    def status(self, words: str) -> None:
        """Say in words what the sensor does, where it changed."""
        if words != self._status:
            self._status = words
            self._send(f"STATUS={words}")

    def reloading(self) -> None:
        """A new configuration goes into effect; READY follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def turned(self, *, flowed: bool, waiting: bool) -> None:
        """The loop turned: `flowed`: a block passed; `waiting`: none is expected, and that is published.

        Feeds the watchdog only while one of the two holds, so that a sensor that hangs or is silently deaf is killed.
        """
        now_s = time.monotonic()
        if flowed or waiting:
            self._last_block_s = now_s
        if now_s - self._last_block_s > FLOWING_S:
            return
        if self._period_s and now_s >= self._due_s:
            self._due_s = now_s + self._period_s
            self._send("WATCHDOG=1")
        if now_s >= self._beat_due_s:
            self._beat_due_s = now_s + pulse.PERIOD_S
            pulse.beat(self._status)

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send(message.encode())
        except OSError:
            # systemd's socket is full or gone: sensing matters more, and a starved watchdog ends us anyway.
            self._due_s = 0.0
